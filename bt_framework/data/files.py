"""Which files of a source are of which symbol: what readers of raw files share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from bt_framework.data.source import Progress
from bt_framework.errors import ConfigError, DataError
from bt_framework.registry import unknown_name


class SymbolFile(Protocol):
    """A file whose symbol is known."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def symbol(self) -> str:
        """What it is of."""
        ...


F = TypeVar("F", bound=SymbolFile)


def input_paths(files: Sequence[str], example: str) -> list[Path]:
    """The paths of ``data.files``.

    Raises
    ------
    ConfigError
        If none is given, or one is given twice.
    """
    paths = [Path(name).expanduser() for name in files]
    if not paths:
        raise ConfigError(f"data.files must name at least one file, was []. Example: data.files=[{example}].")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ConfigError(f"data.files must differ from each other, was {path} twice.")
        seen.add(path.resolve())
    return paths


class BytesDone:
    """Adds up how much of some files has been read, for `Progress`; call it with the bytes that are new."""

    def __init__(self, files: Iterable[Path], progress: Progress) -> None:
        self._progress = progress
        self._total = sum(path.stat().st_size for path in files if path.exists())
        self._done = 0

    def __call__(self, n_bytes: int) -> None:
        """Add `n_bytes`."""
        self._done += n_bytes
        self._progress(self._done, self._total)

    def finish(self) -> None:
        """Say that everything has been read."""
        self._progress(self._total, self._total)


def files_by_symbol(found: Iterable[F], symbols: Sequence[str]) -> dict[str, list[F]]:
    """The files of each symbol: in the order of `symbols` if given, else of the files.

    Raises
    ------
    DataError
        If a file is of another symbol than `symbols`, or one of them has none.
    """
    by_symbol: dict[str, list[F]] = {symbol: [] for symbol in symbols}
    for file in found:
        if symbols and file.symbol not in by_symbol:
            raise DataError(
                f"wrong symbol: {file.path} holds {file.symbol}, data.symbols is {', '.join(symbols)}."
                " Remove the file or add its symbol."
            )
        by_symbol.setdefault(file.symbol, []).append(file)
    for symbol, files in by_symbol.items():
        if not files:
            raise DataError(
                f"wrong symbol: data.symbols asks for {symbol}, but no file holds it."
                " Add its file or remove the symbol."
            )
    return by_symbol


def check_symbols_of(sizes: Mapping[str, Mapping[str, float]], symbols: Iterable[str]) -> None:
    """Refuse sizes of symbols that no file is of.

    Parameters
    ----------
    sizes : mapping
        Key of the configuration to sizes by symbol.

    Raises
    ------
    ConfigError
        Names key and symbol.
    """
    known = list(symbols)
    for key, by_symbol in sizes.items():
        for symbol in by_symbol:
            if symbol not in known:
                raise ConfigError(unknown_name(f"data.{key}'s symbols", symbol, known))
