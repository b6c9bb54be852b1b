"""The decorator for code that runs inside the loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from numba import config as numba_config
from numba import njit
from numba.core.registry import CPUDispatcher

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = {"nopython": True, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _KernelDispatcher(CPUDispatcher):  # type: ignore[misc]
    """Compiles without the wrappers that only Python calls need: they are most of the compile time of a loop."""

    @cached_property
    def _with_wrappers(self) -> Callable[..., Any]:
        return njit(nogil=True)(self.py_func)  # type: ignore[no-any-return]

    def __call__(self, *args: Any) -> Any:
        """Call from Python, as tests do: compiles a second time, with wrappers."""
        return self._with_wrappers(*args)


def kernel(function: F) -> F:
    """Compile `function` with numba, without the GIL, as part of whatever compiled code calls it.

    Nothing is cached here: the loop, or another `cached_kernel`, that calls it is. Division by zero raises as in
    Python. ``function.py_func`` is the plain function. With ``NUMBA_DISABLE_JIT=1`` it is returned as it is.
    """
    if numba_config.DISABLE_JIT:
        return function
    return _KernelDispatcher(py_func=function, targetoptions=dict(_OPTIONS))  # type: ignore[no-any-return]
