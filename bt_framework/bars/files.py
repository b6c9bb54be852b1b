"""Files of bars: the ones that a user names, and the symbols in their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bt_framework.errors import ConfigError, DataError

_MAGIC = set("*?[")
_PACKED = (".gz", ".bz2", ".zst", ".lz4")


def bar_files(names: Sequence[str], endings: Sequence[str]) -> list[Path]:
    """The files that `names` are: files, folders, and patterns with ``*``, ``?`` or ``[...]``.

    Of folders, files with one of `endings` count, packed ones too, at any depth. Links that lead out of a folder are
    left out.

    Raises
    ------
    ConfigError
        If `names` is empty.
    DataError
        If there is no such file, or one comes twice.
    """
    if not names:
        raise ConfigError(
            f"files must name at least one file, was []. Example: bars.files=[bars/*{endings[0]}]."
        )
    found: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        files = _matching(path) if _MAGIC & set(path.name) else [path]
        if path.is_dir():
            files = _below(path, endings)
        if path.is_dir() and not files:
            raise DataError(f"the folder {name} holds no file that ends in {' or '.join(endings)}.")
        if not files or not all(file.is_file() for file in files):
            raise DataError(
                f"no such file: {name}. Give files, folders, or patterns such as bars/*{endings[0]}."
            )
        found += files
    seen: set[Path] = set()
    for file in found:
        if file.resolve() in seen:
            raise DataError(f"the file {file} is given twice. Name it once in bars.files.")
        seen.add(file.resolve())
    return found


def _matching(pattern: Path) -> list[Path]:
    root = pattern.parent.resolve()
    files = sorted(f for f in pattern.parent.glob(pattern.name) if f.is_file())
    return [f for f in files if f.resolve().is_relative_to(root)]


def _below(folder: Path, endings: Sequence[str]) -> list[Path]:
    root = folder.resolve()
    files = (f for f in sorted(folder.rglob("*")) if f.is_file() and f.resolve().is_relative_to(root))
    return [f for f in files if bare_name(f)[1] in endings and not f.name.startswith(".")]


def bare_name(path: Path) -> tuple[str, str]:
    """Name of a file without its endings, and the ending that says what it is."""
    plain = Path(path.name.removesuffix(path.suffix)) if path.suffix in _PACKED else path
    return plain.stem, plain.suffix


def symbol_in_name(path: Path, pattern: str) -> str:
    """The symbol in a file's name, where `pattern` has ``{symbol}``.

    Raises
    ------
    ConfigError
        If the name does not fit.
    """
    before, _, after = pattern.partition("{symbol}")
    name = bare_name(path)[0]
    symbol = name[len(before) : len(name) - len(after)]
    if not (name.startswith(before) and name.endswith(after) and symbol):
        raise ConfigError(
            f"file_name must fit the names of all files, was {pattern!r}: {path.name} does not. Give bars.symbols."
        )
    return symbol
