"""Code as this process has it: what is in memory does not follow its file."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from bt_framework.jit._cache import kernel_key


def key_as_loaded(source: Path, modules: Iterable[str]) -> str:
    """Key of a source file and of modules, see `kernel_key`, taken when they are first used."""
    return _key(source, tuple(map(_Loaded, sorted(modules))))


def files_of(modules: Iterable[str]) -> list[Path]:
    """Source files of modules, sorted; those that are not imported yet are."""
    return [Path(file) for file in sorted({str(importlib.import_module(m).__file__) for m in modules})]


class _Loaded:
    """A module as it is in memory: loaded again, it is another."""

    def __init__(self, name: str) -> None:
        self.module = importlib.import_module(name)
        self._spec = self.module.__spec__

    def __hash__(self) -> int:
        return id(self._spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Loaded) and self._spec is other._spec


@lru_cache(maxsize=256)
def _key(source: Path, modules: tuple[_Loaded, ...]) -> str:
    return kernel_key([source, *(Path(file) for file in sorted({str(m.module.__file__) for m in modules}))])
