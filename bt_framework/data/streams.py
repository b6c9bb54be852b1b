"""Reading compressed files in blocks: what readers of raw files share."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, TypeVar

from bt_framework.errors import DataError

T = TypeVar("T")

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_XZ_MAGIC = b"\xfd7zX"
_READ_BYTES = 1 << 16
_ZSTD_READ_BYTES = 1 << 14
_MAX_ZSTD_WINDOW_BYTES = 1 << 27

LONGEST_LINE_BYTES = 1 << 24
"""A longer line is taken for something that is no text."""


def decompressed_blocks(path: Path, block_bytes: int = 1 << 18) -> Generator[tuple[bytes, int], None, None]:
    """Content of a file that is gzip, zstd, xz or plain, told apart by its first bytes and not by its name.

    Concatenated gzip members, zstd frames and xz streams are read as one.

    Parameters
    ----------
    path : Path
    block_bytes : int
        Largest size of a block.

    Yields
    ------
    block : bytes
    file_bytes : int
        Bytes of the file that were read so far.

    Raises
    ------
    DataError
        If the file is missing, empty, unreadable, truncated or corrupt. The message names it.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            file.seek(0)
            if not magic:
                raise DataError(f"{path} is empty. Remove it from data.files, or fetch it again.")
            if magic.startswith(_GZIP_MAGIC):
                yield from _gzip_blocks(file, path, block_bytes)
            elif magic == _ZSTD_MAGIC:
                yield from _zstd_blocks(file, path, block_bytes)
            elif magic == _XZ_MAGIC:
                yield from _xz_blocks(file, path, block_bytes)
            else:
                while block := file.read(block_bytes):
                    yield block, file.tell()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Give a path that does in data.files.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _gzip_blocks(file: IO[bytes], path: Path, block_bytes: int) -> Iterator[tuple[bytes, int]]:
    import zlib

    member = zlib.decompressobj(31)
    data = b""
    done_bytes = 0
    started = True
    while True:
        data = data or file.read(_READ_BYTES)
        if not data:
            break
        if not started:
            # Some tools pad the last member with zeros.
            data = data.lstrip(b"\0")
            if not data:
                continue
            member, started = zlib.decompressobj(31), True
        try:
            block = member.decompress(data, block_bytes)
        except zlib.error as error:
            raise DataError(_corrupt(path, "gzip", done_bytes, error)) from None
        data = member.unused_data if member.eof else member.unconsumed_tail
        started = not member.eof
        if block:
            done_bytes += len(block)
            yield block, file.tell()
    if started:
        raise DataError(_truncated(path, "gzip", done_bytes))


def _zstd_blocks(file: IO[bytes], path: Path, block_bytes: int) -> Iterator[tuple[bytes, int]]:
    import zstandard

    context = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
    frame: Any = None
    data = b""
    done_bytes = 0
    while data := data or file.read(_ZSTD_READ_BYTES):
        frame = frame or context.decompressobj()
        try:
            block = frame.decompress(data)
        except zstandard.ZstdError as error:
            raise DataError(_corrupt(path, "zstd", done_bytes, error)) from None
        data = frame.unused_data if frame.eof else b""
        if frame.eof:
            frame = None
        done_bytes += len(block)
        for start in range(0, len(block), block_bytes):
            yield block[start : start + block_bytes], file.tell()
    if frame is not None:
        raise DataError(_truncated(path, "zstd", done_bytes))


def _xz_blocks(file: IO[bytes], path: Path, block_bytes: int) -> Iterator[tuple[bytes, int]]:
    import lzma

    done_bytes = 0
    try:
        with lzma.open(file) as content:
            while block := content.read(block_bytes):
                done_bytes += len(block)
                yield block, file.tell()
    except lzma.LZMAError as error:
        raise DataError(_corrupt(path, "xz", done_bytes, error)) from None
    except EOFError:
        raise DataError(_truncated(path, "xz", done_bytes)) from None


def _corrupt(path: Path, kind: str, done_bytes: int, error: Exception) -> str:
    return f"{path} is corrupt: its {kind} data break after {done_bytes:,} bytes ({error}). Fetch it again."


def _truncated(path: Path, kind: str, done_bytes: int) -> str:
    return f"{path} is truncated: its {kind} data end early, after {done_bytes:,} bytes. Fetch it again."


def first_lines(path: Path, count: int, blocks: Generator[tuple[bytes, int], None, None]) -> list[bytes]:
    """The first `count` lines of a file, fewer if it has not as many; `blocks` is closed."""
    lines: list[bytes] = []
    with closing(blocks):
        for text, _ in whole_lines(path, blocks):
            lines += text.splitlines()[:count]
            if len(lines) >= count:
                break
    return lines[:count]


def whole_lines(path: Path, blocks: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """`blocks` of `path` cut at line ends instead: each item ends in a newline, the last is given one if need be.

    Raises
    ------
    DataError
        If a line is longer than `LONGEST_LINE_BYTES`.
    """
    rest = b""
    file_bytes = 0
    for block, file_bytes in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end], file_bytes
            rest = block[end:]
        else:
            rest += block
        if len(rest) > LONGEST_LINE_BYTES:
            raise DataError(
                f"{path}: a line must be at most {LONGEST_LINE_BYTES:,} bytes, was longer, in the first"
                f" {file_bytes:,} bytes of the file. Check that it is a text file."
            )
    if rest:
        yield rest + b"\n", file_bytes


def prefetched(items: Iterator[T], depth: int = 2) -> Generator[T, None, None]:
    """`items`, taken by a thread of its own up to `depth` ahead; what it raises is raised here.

    Worth it where taking an item releases the GIL, as decompression and reading do.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def take() -> None:
        try:
            for item in items:
                ready.put((item, None))
                if stop.is_set():
                    return
            ready.put((None, StopIteration()))
        except BaseException as error:
            ready.put((None, error))

    thread = threading.Thread(target=take, name="bt-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        # The thread may wait for room; with the queue emptied it puts once more, sees `stop` and ends.
        stop.set()
        while not ready.empty():
            ready.get_nowait()
        thread.join()
