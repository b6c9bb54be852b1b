"""Kernel of `bt_framework.data.merging`."""

from __future__ import annotations

from typing import Any

from bt_framework.jit import cached_kernel


@cached_kernel
def merge_rows(first: Any, second: Any, done: Any, out: Any, n_out: int) -> int:
    """Merge until one of the arrays is used up or `out` is full.

    Parameters
    ----------
    first, second : EVENT arrays of shape (n_rows,)
    done : int64 array of shape (2,)
        Rows of each that are merged; updated.
    out : EVENT array of shape (n_capacity,)
    n_out : int
        Rows in `out`.

    Returns
    -------
    int
        Rows in `out` now.
    """
    i, j = done[0], done[1]
    while n_out < len(out) and i < len(first) and j < len(second):
        if first[i]["local_ts"] <= second[j]["local_ts"]:
            out[n_out] = first[i]
            i += 1
        else:
            out[n_out] = second[j]
            j += 1
        n_out += 1
    done[0], done[1] = i, j
    return n_out
