"""Arrow arrays made of buffers.

`pyarrow.array` imports pandas, where it is installed, to see what it was given: a third of a second that a run of the
same length would pay, and a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def number_array(values: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """Copy numbers or truth values; where `missing` is true, the result is null."""
    import pyarrow as pa

    is_bool = values.dtype == np.bool_
    data = np.packbits(values, bitorder="little") if is_bool else values.copy()
    buffers = [_valid(missing), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def text_array(words: Sequence[str], missing: np.ndarray | None = None) -> pa.StringArray:
    """Copy texts; where `missing` is true, the result is null."""
    import pyarrow as pa

    encoded = [word.encode() for word in words]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    content = pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(words), pa.py_buffer(offsets), content, _valid(missing))


def array_of(values: Sequence[Any], kind: type) -> pa.Array:
    """Copy a sequence of str, int, float or bool; None becomes null, NaN does not.

    >>> array_of([2, None], int).to_pylist(), array_of(["a", None], str).to_pylist()
    ([2, None], ['a', None])
    """
    missing = np.array([value is None for value in values], np.bool_)
    filled = [kind() if value is None else value for value in values]
    if kind is str:
        return text_array(filled, missing)
    return number_array(np.array(filled, {int: np.int64, float: np.float64, bool: np.bool_}[kind]), missing)


def _valid(missing: np.ndarray | None) -> pa.Buffer | None:
    """Bits of what is there; nothing if all is."""
    import pyarrow as pa

    if missing is None or not missing.any():
        return None
    return pa.py_buffer(np.packbits(~missing, bitorder="little"))
