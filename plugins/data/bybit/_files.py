"""What a file holds, and its content whether zipped or not."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from bt_framework.data.csv_blocks import DECIMAL, SECONDS, WHOLE, Column
from bt_framework.data.streams import decompressed_blocks, first_lines
from bt_framework.errors import DataError

_BLOCK_BYTES = 1 << 18
_HEAD_BYTES = 1 << 12
_BOOK_HEAD = re.compile(rb'\s*\{\s*"topic"\s*:\s*"orderbook\.\d+\.([^"]+)"')
_CONTRACT_TRADES = ("timestamp", "symbol", "side", "size", "price")
_SPOT_TRADES = ("id", "timestamp", "price", "volume", "side")
_SPOT_NAME = re.compile(r"([A-Z0-9]+)_\d{4}-\d{2}(-\d{2})?\.csv")
_INVERSE = re.compile(r"[A-Z0-9]+USD([FGHJKMNQUVXZ]\d\d)?")

SIDES = ("Buy", "Sell", "buy", "sell")
"""An odd place is a seller."""


class Content(StrEnum):
    """What a file holds."""

    BOOK = "order book"
    CONTRACT_TRADES = "trades of a contract"
    SPOT_TRADES = "spot trades"


@dataclass(frozen=True)
class Peek:
    """What the first lines of a file say; ``first_ts`` is int64 ns UTC."""

    path: Path
    content: Content
    symbol: str
    first_ts: int


def content_of(head: bytes) -> Content | None:
    """What a file with this beginning holds; None if it is no archive of Bybit."""
    if _BOOK_HEAD.match(head):
        return Content.BOOK
    names = tuple(head.partition(b"\n")[0].decode(errors="replace").strip().split(","))
    if names[:5] == _CONTRACT_TRADES and "trdMatchID" in names:
        return Content.CONTRACT_TRADES
    if names in (_SPOT_TRADES, (*_SPOT_TRADES, "rpi")):
        return Content.SPOT_TRADES
    return None


def trade_columns(names: Sequence[str], content: Content, symbol: str) -> list[Column]:
    """How the columns of a file of trades are read."""
    kinds: dict[str, str | tuple[str, ...]] = {"price": DECIMAL, "side": SIDES}
    if content == Content.SPOT_TRADES:
        kinds |= {"timestamp": WHOLE, "volume": DECIMAL}
    else:
        kinds |= {"timestamp": SECONDS, "size": DECIMAL, "symbol": (symbol,)}
    return [Column(name, kinds.get(name, "")) for name in names]


def pays_in_base(symbol: str) -> bool:
    """Whether a contract is inverse.

    >>> pays_in_base("BTCUSD"), pays_in_base("ETHUSDH25"), pays_in_base("BTCUSDT")
    (True, True, False)
    """
    return _INVERSE.fullmatch(symbol) is not None


def text_blocks(path: Path) -> Generator[tuple[bytes, int], None, None]:
    """Content of a file, zip or as in `decompressed_blocks`, with the bytes of the file read so far.

    Raises
    ------
    DataError
        See `decompressed_blocks`; also if a zip file has no member ``*.data``.
    """
    if not _is_zip(path):
        yield from decompressed_blocks(path, _BLOCK_BYTES)
        return
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for name in _members(path, archive):
                with archive.open(name) as member:
                    while block := member.read(_BLOCK_BYTES):
                        yield block, file.tell()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is truncated or corrupt: {error}. Fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in another way
        raise DataError(f"{path} cannot be unpacked: {error}. Unpack it yourself.") from None


def zip_head(path: Path) -> bytes:
    """The beginning of a zip file's content; empty if it has none that could be ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".data"))
            return archive.open(names[0]).read(_HEAD_BYTES) if names else b""
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError):
        return b""


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # `decompressed_blocks` says why


def _members(path: Path, archive: zipfile.ZipFile) -> list[str]:
    names = sorted(name for name in archive.namelist() if name.endswith(".data"))
    if not names:
        raise DataError(f"{path} must have a member *.data, has {', '.join(archive.namelist()) or 'none'}.")
    return names


def peek(path: Path) -> Peek:
    """Content, symbol and start of a file.

    Raises
    ------
    DataError
        If the file cannot be read, or is no archive of Bybit.
    """
    lines = first_lines(path, 2, text_blocks(path))
    content = content_of(lines[0] if lines else b"")
    if content is None:
        raise DataError(
            f"{path} is no archive of Bybit: its first line is {lines[0][:80] if lines else b''!r}. Give order books"
            " (*.data.zip) or trades (*.csv.gz)."
        )
    if content == Content.BOOK:
        return _peek_book(path, lines[0])
    fields = lines[1].decode(errors="replace").split(",") if len(lines) > 1 else []
    if content == Content.CONTRACT_TRADES and len(fields) > 1 and re.fullmatch(r"\d+(\.\d+)?", fields[0]):
        whole, _, decimals = fields[0].partition(".")
        return Peek(path, content, fields[1], int(whole + decimals.ljust(9, "0")[:9]))
    name = _SPOT_NAME.match(path.name)
    if content == Content.SPOT_TRADES and len(fields) > 1 and fields[1].isdigit():
        if name is None:
            raise DataError(
                f"{path} must be named as Bybit does, SYMBOL_YYYY-MM-DD.csv.gz: nothing else tells its symbol."
                " Rename it."
            )
        return Peek(path, content, name[1], int(fields[1]) * 1_000_000)
    raise DataError(f"{path} must have a trade in line 2, has none. Remove it from data.files.")


def _peek_book(path: Path, line: bytes) -> Peek:
    match = _BOOK_HEAD.match(line)
    assert match is not None
    try:
        time_ms = int(orjson.loads(line)["ts"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} line 1 is malformed: {error!r}. Fetch the file again.") from None
    return Peek(path, Content.BOOK, match[1].decode(errors="replace"), time_ms * 1_000_000)
