"""Which symbol a file holds and when it starts, read from its first lines."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_cache_path

from bt_framework.data.streams import decompressed_blocks
from bt_framework.errors import DataError
from bt_plugins.data.binance._messages import MalformedLine, split_line, symbol_of

PEEK_BYTES = 1 << 24
"""Text in which the first line with a symbol must lie; snapshots, first in some files, have none."""


@dataclass(frozen=True)
class Peek:
    """The first of a file: ``first_local_ts`` is its first valid line's receive time, int64 ns UTC."""

    symbol: str
    first_local_ts: int


def peek(path: Path) -> Peek:
    """Symbol and start of a file.

    What was found is remembered by path, size and time of change, so that files already in the event store
    are not opened again.

    Raises
    ------
    DataError
        If the file cannot be read, or is not a stream file.
    """
    memo = _memo_path(path)
    with suppress(OSError, ValueError, TypeError):
        return Peek(**json.loads(memo.read_bytes()))
    found = _read(path)
    with suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memo.parent, delete=False) as file:
            json.dump(asdict(found), file)
        os.replace(file.name, memo)
    return found


def _memo_path(path: Path) -> Path:
    root = os.environ.get("BT_CACHE_DIR")
    folder = (Path(root) if root else user_cache_path("bt", appauthor=False)) / "peek"
    try:
        stat = path.stat()
    except OSError:
        return folder / "missing"
    key = f"binance 1\n{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> Peek:
    first_local_ts = 0
    problem = ""
    with closing(_lines(path)) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                local_ts, stream, message = split_line(line)
            except MalformedLine as error:
                problem = problem or f"line {number}: {error}"
                continue
            first_local_ts = first_local_ts or local_ts
            symbol = symbol_of(stream, message)
            if symbol:
                return Peek(symbol, first_local_ts)
    if first_local_ts:
        raise DataError(
            f"{path} holds no message that names a symbol. Give files with depth diffs or trades."
        )
    raise DataError(
        f"{path} is not a collected Binance stream: {problem or 'it holds no line'}."
        " Each line must be a receive time, a space and a JSON message."
    )


def _lines(path: Path) -> Generator[bytes, None, None]:
    """Lines of about the first `PEEK_BYTES`."""
    done = 0
    rest = b""
    with closing(decompressed_blocks(path)) as blocks:
        for block, _ in blocks:
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
            done += len(block)
            if done > PEEK_BYTES:
                return
    if rest:
        yield rest
