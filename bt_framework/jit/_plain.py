"""Kernels as the Python functions that they were written as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from bt_framework.jit._kernel import _KernelDispatcher


class PlainForms:
    """Turns kernels, and all kernels that they call, into plain Python functions.

    Parameters
    ----------
    replaced : mapping of object to object
        What else compiled code refers to by name and plain code needs another object for.
    """

    def __init__(self, replaced: Mapping[Any, Any] | None = None) -> None:
        self._replaced = {id(old): new for old, new in (replaced or {}).items()}
        self._keep = list(replaced or {})  # ids stay theirs
        self._done: dict[int, Callable[..., Any]] = {}

    def of(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """Return the plain form of a kernel or of a function that calls kernels."""
        function = kernel.py_func if isinstance(kernel, _KernelDispatcher) else kernel
        assert isinstance(function, FunctionType)
        if id(function) not in self._done:
            names = dict(function.__globals__)
            plain = FunctionType(
                function.__code__, names, function.__name__, function.__defaults__, function.__closure__
            )
            self._done[id(function)] = plain
            for name in function.__code__.co_names:
                if name in names:
                    names[name] = self._plain(names[name])
        return self._done[id(function)]

    def class_of(self, compiled: type) -> type:
        """Return a plain class with the methods of a `kernel_class`."""
        methods = compiled.class_type.instance_type.jit_methods  # type: ignore[attr-defined]
        return type(compiled.__name__, (), {name: self.of(method) for name, method in methods.items()})

    def _plain(self, value: Any) -> Any:
        if id(value) in self._replaced:
            return self._replaced[id(value)]
        return self.of(value) if isinstance(value, _KernelDispatcher) else value
