"""Reader of hftbacktest's own files."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from bt_framework.config.schema import param
from bt_framework.data.source import DataSource, Feed, FeedReport, FileConfig, Progress
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT

READER_VERSION = 1
_ROWS_PER_CHUNK = 1 << 15
_MEMBER = "data"
_DATE_AT_END = re.compile(r"[_.-]?\d{4}-?\d{2}-?\d{2}$")


@dataclass
class Npz(FileConfig):
    """Files of hftbacktest: ``.npz`` with an array ``data``, or ``.npy``, of its 64-byte events.

    They are taken as they are: in the engine's order, with EXCH and LOCAL flags. ``symbols`` names each
    file's symbol; without it, it is the file's name in capitals, less a date at its end. Files of the same
    symbol are joined in the order given.
    """

    name: str = param("npz", "registry name; choose another with GROUP=NAME")
    files: list[str] = param([], "files, those of one symbol in time order")
    symbols: list[str] = param([], "symbol of each file; empty: taken from the file names")
    tick_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="base")

    symbol_of_each_file: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.symbols and len(self.symbols) != len(self.files):
            raise ConfigError(
                f"data.symbols must name the symbol of each file, was {len(self.symbols)} symbols for"
                f" {len(self.files)} files."
            )
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether `path` is an array of hftbacktest's events, in a file of its own or with others."""
        try:
            with ExitStack() as stack:
                _open_array(path, stack)
        except (DataError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
            return False
        return True


def build(config: Npz) -> NpzSource:
    """Build the data source."""
    return NpzSource(config)


class NpzSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Npz) -> None:
        self.config = config

    def feeds(self) -> Sequence[NpzFeed]:
        """One feed per symbol, in the order in which the symbols first appear.

        Raises
        ------
        ConfigError
            If no file is given, or a tick or lot size is for another symbol.
        """
        from bt_framework.data.files import check_symbols_of

        config = self.config
        if not config.files:
            raise ConfigError(
                "data.files must name at least one file, was []. Example: data.files=[btcusdt.npz]."
            )
        paths = [Path(name).expanduser() for name in config.files]
        by_symbol: dict[str, list[Path]] = {}
        for symbol, path in zip(config.symbols or [_symbol_of(path) for path in paths], paths, strict=True):
            by_symbol.setdefault(symbol, []).append(path)
        check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, by_symbol)
        return [
            NpzFeed(symbol, files, config.tick_size.get(symbol), config.lot_size.get(symbol))
            for symbol, files in by_symbol.items()
        ]


def _symbol_of(path: Path) -> str:
    return (_DATE_AT_END.sub("", path.stem) or path.stem).upper()


class NpzFeed(Feed):
    """One symbol's files, one after the other."""

    ordered = True

    def __init__(
        self, symbol: str, files: Sequence[Path], tick_size: float | None, lot_size: float | None
    ) -> None:
        self.symbol = symbol
        self.files = tuple(files)
        self.tick_size = tick_size
        self.lot_size = lot_size

    def identity(self) -> Mapping[str, Any]:
        """Reader, version and symbol."""
        return {"reader": "npz", "version": READER_VERSION, "symbol": self.symbol}

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the files' events in one buffer that is reused; see `Feed.chunks`."""
        report.symbol = self.symbol
        buffer = np.empty(_ROWS_PER_CHUNK, EVENT)
        for path in self.files:
            done_rows = 0
            try:
                with ExitStack() as stack:
                    file, n_rows = _open_array(path, stack)
                    while done_rows < n_rows:
                        rows = buffer[: n_rows - done_rows]
                        _read_rows(file, rows, path, done_rows, n_rows)
                        done_rows += len(rows)
                        report.rows_read += len(rows)
                        progress(done_rows, n_rows)
                        yield rows
            except FileNotFoundError:
                raise DataError(f"{path} does not exist. Give a path that does in data.files.") from None
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise DataError(f"{path} is truncated or corrupt: {error}. Fetch it again.") from None
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_array(path: Path, stack: ExitStack) -> tuple[IO[bytes], int]:
    """The array's bytes, and how many events they are."""
    file: IO[bytes] = stack.enter_context(path.open("rb"))
    magic = file.read(4)
    file.seek(0)
    if magic == b"PK\x03\x04" or magic == b"PK\x05\x06":
        archive = stack.enter_context(zipfile.ZipFile(file))
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if _MEMBER not in names:
            raise DataError(f"{path} must have an array {_MEMBER!r}, has {', '.join(names) or 'none'}.")
        file = stack.enter_context(archive.open(f"{_MEMBER}.npy"))
    elif magic != b"\x93NUM":
        what = "is empty" if not magic else "is neither an .npz nor an .npy file"
        raise DataError(f"{path} {what}. Give files that hftbacktest wrote.")
    try:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(file)
    except ValueError as error:
        raise DataError(f"{path} has no valid array header: {error}. Fetch it again.") from None
    problem = _dtype_problem(dtype)
    if problem:
        raise DataError(
            f"{path} does not hold hftbacktest's events: {problem}. Convert it with hftbacktest 2.x."
        )
    if len(shape) != 1:
        raise DataError(f"{path} must hold an array of one dimension, was of shape {shape}.")
    return file, int(shape[0])


def _dtype_problem(dtype: np.dtype[Any]) -> str:
    """The first difference from the event record; empty if there is none."""
    if dtype.names is None:
        return f"the array is of {dtype}, not of records"
    for name in EVENT.names or ():
        if name not in dtype.names:
            return f"field {name!r} is missing"
        found, wanted = dtype[name], EVENT[name]
        if found != wanted:
            return f"field {name!r} must be {wanted}, was {found}"
    extra = [name for name in dtype.names if name not in (EVENT.names or ())]
    if extra:
        return f"field {extra[0]!r} is unknown"
    if dtype != EVENT:
        return f"its fields must lie as in {EVENT.fields}, was {dtype.fields}"
    return ""


def _read_rows(file: IO[bytes], rows: np.ndarray[Any, Any], path: Path, done_rows: int, n_rows: int) -> None:
    view = rows.view(np.uint8).data
    while len(view):
        n_bytes = file.readinto(view)  # type: ignore[attr-defined]
        if not n_bytes:
            raise DataError(
                f"{path} is truncated: its header says {n_rows:,} events, its data end after event"
                f" {done_rows:,}. Fetch it again."
            )
        view = view[n_bytes:]
