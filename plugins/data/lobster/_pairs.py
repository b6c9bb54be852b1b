"""Which message file belongs to which order book file, and their text, from a folder or a zip file."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bt_framework.data.files import input_paths
from bt_framework.data.streams import decompressed_blocks
from bt_framework.errors import DataError

MESSAGE, BOOK = "message", "orderbook"

_NAME = re.compile(
    r"(?P<symbol>[^/\\]+)_(?P<date>\d{4}-\d{2}-\d{2})_(?P<start>\d+)_(?P<end>\d+)"
    r"_(?P<part>message|orderbook)_(?P<levels>[1-9]\d*)\.csv"
)
_COMPRESSED = re.compile(r"\.(gz|zst)$")
_ZIP_MAGIC = b"PK\x03\x04"
_ZIP_NAME = slice(30, 400)
_EXAMPLE = "GOOG_2012-06-21_34200000_57600000_message_10.csv"


@dataclass(frozen=True)
class Member:
    """A file: on its own, or called `name` in the zip file `path`."""

    path: Path
    name: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else str(self.path)


@dataclass(frozen=True)
class Pair:
    """One day of one symbol. ``date`` is YYYY-MM-DD in New York; ``levels`` is the number of price levels."""

    symbol: str
    date: str
    start_ms: int
    levels: int
    message: Member
    book: Member


def recognise(path: Path, head: bytes) -> bool:
    """Whether a file's name, or in a zip file a member's, and its first line are those of a pair."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(_match(name) for name in archive.namelist())
    if head.startswith(_ZIP_MAGIC):
        # The list of names is at the end, which a truncated file has not; the first one is at the start.
        return _NAME.match(head[_ZIP_NAME].decode("latin-1")) is not None
    found = _match(_COMPRESSED.sub("", path.name))
    if found is None:
        return False
    columns = 6 if found["part"] == MESSAGE else 4 * int(found["levels"])
    line = head.partition(b"\n")[0].rstrip(b"\r")
    return re.fullmatch(rb"-?\d+(\.\d+)?(,-?\d+){%d}" % (columns - 1), line) is not None


def pairs_of(names: Sequence[str]) -> list[Pair]:
    """Pairs in the files `names`, by the time at which they start.

    Raises
    ------
    ConfigError
        If no file is given or one is given twice.
    DataError
        If a file is none of LOBSTER's, lacks its other half, or is of a day that another has too.
    """
    paths = input_paths(names, "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip")
    halves: dict[tuple[Path, str], dict[str, Member]] = {}
    for path in paths:
        for member in _members(path):
            name = member.name or member.path.name
            found = _match(_COMPRESSED.sub("", name))
            if found is not None:
                key = (path if member.name else path.parent, _without_part(found))
                halves.setdefault(key, {}).setdefault(found["part"], member)
    pairs = [_pair(stem, parts) for (_, stem), parts in halves.items()]
    pairs.sort(key=lambda pair: (pair.date, pair.start_ms))
    _refuse_overlap(pairs)
    return pairs


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(name.rpartition("/")[2])


def _without_part(found: re.Match[str]) -> str:
    return f"{found['symbol']}_{found['date']}_{found['start']}_{found['end']}_PART_{found['levels']}.csv"


def _members(path: Path) -> list[Member]:
    """Members of the zip file at `path`, or the file and, if it is there, its other half."""
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == _ZIP_MAGIC
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                members = [Member(path, name) for name in archive.namelist() if _match(name)]
            if not members:
                raise DataError(
                    f"{path} must hold message and order book files, such as {_EXAMPLE}; has none."
                )
            return members
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Give a path that does in data.files.") from None
    except zipfile.BadZipFile as error:
        raise DataError(_broken(path, error)) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    found = _match(_COMPRESSED.sub("", path.name))
    if found is None:
        raise DataError(
            f"the name of {path} must be as LOBSTER gives it, such as {_EXAMPLE}: date and levels are taken from it."
        )
    other = BOOK if found["part"] == MESSAGE else MESSAGE
    start, end = found.span("part")
    partner = path.with_name(path.name[:start] + other + path.name[end:])
    return [Member(path), *([Member(partner)] if partner.exists() else [])]


def _pair(stem: str, parts: dict[str, Member]) -> Pair:
    for part, other in ((MESSAGE, BOOK), (BOOK, MESSAGE)):
        if part not in parts:
            wanted = stem.replace("_PART_", f"_{part}_")
            raise DataError(
                f"{parts[other]} lacks its other half, {wanted}. Give both; they belong in one folder or zip file."
            )
    found = _NAME.fullmatch(stem.replace("_PART_", f"_{MESSAGE}_"))
    assert found is not None
    return Pair(
        found["symbol"], found["date"], int(found["start"]), int(found["levels"]), parts[MESSAGE], parts[BOOK]
    )


def _refuse_overlap(pairs: Iterable[Pair]) -> None:
    seen: dict[tuple[str, str, int], Pair] = {}
    for pair in pairs:
        other = seen.setdefault((pair.symbol, pair.date, pair.start_ms), pair)
        if other is not pair:
            raise DataError(
                f"{pair.symbol} on {pair.date} must be given once, was in {other.message} and {pair.message}."
                " Remove one from data.files."
            )


@contextmanager
def _zip_errors(member: Member) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(_broken(member.path, error)) from None
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{member} cannot be unpacked: {error}. Unpack it yourself and give both files."
        ) from None


def _broken(path: Path, error: Exception) -> str:
    return f"{path} is truncated or corrupt: {error}. Fetch it again."


def size_bytes(member: Member) -> int:
    """Size that the second of `blocks`' numbers ends at; of a file in a zip file unpacked, else as it lies."""
    if not member.name:
        return member.path.stat().st_size if member.path.exists() else 0
    with _zip_errors(member), zipfile.ZipFile(member.path) as archive:
        return archive.getinfo(member.name).file_size


def blocks(member: Member, block_bytes: int) -> Generator[tuple[bytes, int], None, None]:
    """Text of a file in blocks of at most `block_bytes`, each with how far it reaches, see `size_bytes`.

    Raises
    ------
    DataError
        If the file is missing, empty, unreadable, truncated or corrupt. The message names it.
    """
    if not member.name:
        yield from decompressed_blocks(member.path, block_bytes)
        return
    done_bytes = 0
    with _zip_errors(member), zipfile.ZipFile(member.path) as archive, archive.open(member.name) as file:
        while block := file.read(block_bytes):
            done_bytes += len(block)
            yield block, done_bytes
