"""Compiled code on disk, keyed by content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from numba import config as numba_config
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from bt_framework.jit._sources import environment_hash, imports_changed_since_start, source_hash

F = TypeVar("F", bound=Callable[..., Any])


def cache_root() -> Path:
    """Folder of compiled code: ``$BT_CACHE_DIR/jit``, by default in the user's cache folder."""
    root = os.environ.get("BT_CACHE_DIR")
    if not root:
        from platformdirs import user_cache_dir

        root = user_cache_dir("bt", appauthor=False)
    return Path(root) / "jit"


def kernel_key(paths: list[Path]) -> str:
    """Key under which code compiled from `paths` is kept: a hash of all that decides it."""
    return hashlib.sha256(f"{environment_hash()}\n{source_hash(paths)}".encode()).hexdigest()


def has_machine_code(function: Callable[..., Any]) -> bool:
    """Whether machine code of a `cached_kernel` is on disk, and this process will use it."""
    cache = getattr(function, "_cache", None)
    folder = getattr(cache, "cache_path", None)  # None where nothing is kept in this process
    return folder is not None and any(Path(folder).glob(f"*{function.__name__}*.nbc"))


class _ContentLocator(_CacheLocator):  # type: ignore[misc]
    """Keeps a function's code under the content key of its file; the key is the stamp, so mtimes do not matter."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno
        self._key = kernel_key([Path(py_file)])

    def get_cache_path(self) -> str:
        return str(cache_root() / self._key[:32])

    def get_source_stamp(self) -> str:
        return self._key

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _ContentLocator | None:
        if imports_changed_since_start(Path(py_file)):
            return None
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator


class _ContentCacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_ContentLocator,)


class _ContentCache(FunctionCache):  # type: ignore[misc]
    """A file that cannot be read or written costs a compilation, never the run."""

    _impl_class = _ContentCacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Find compiled code; None, and away with the files, if they are damaged."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling and linking fail with whatever the damage looks like
            for path in Path(self.cache_path).glob(f"*{self._py_func.__name__}*.nb[ci]"):
                with suppress(OSError):
                    path.unlink()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code if there is room for it."""
        with suppress(OSError):
            super().save_overload(sig, data)


def cached_kernel(function: F) -> F:
    """Compile `function` as `kernel` does, and keep the machine code on disk.

    The code is found again only if the sources of `function`, of everything local that its file imports, and the
    versions of Python, numba, llvmlite, numpy and hftbacktest are the same (see `kernel_key`). Where the cache
    folder cannot be written, the function is compiled in each process.
    """
    dispatcher = njit(nogil=True)(function)
    if not numba_config.DISABLE_JIT:
        with suppress(RuntimeError):  # numba: "no locator available", the folder is read-only
            dispatcher._cache = _ContentCache(function)
    return dispatcher  # type: ignore[no-any-return]
