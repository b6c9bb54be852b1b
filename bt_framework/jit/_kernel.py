"""The decorator for code that runs inside the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function` with numba, without the GIL, as part of whatever compiled code calls it.

    Nothing is cached here: the loop, or another `cached_kernel`, that calls it is. Division by zero and
    out-of-range casts raise as in Python. ``function.py_func`` is the plain function.
    """
    return njit(nogil=True)(function)  # type: ignore[no-any-return]
