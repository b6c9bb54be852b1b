"""Files are undone and cut into lines; the thread that reads ahead hands on what it takes and what is raised."""

from __future__ import annotations

import gzip
import lzma
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.data import streams
from bt_framework.data.streams import decompressed_blocks, first_lines, prefetched, whole_lines
from bt_framework.errors import DataError


def threads_of_prefetch() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bt-prefetch"]


@pytest.mark.parametrize("depth", [1, 2, 100])
def test_items_come_in_their_order(depth: int) -> None:
    assert list(prefetched(iter(range(50)), depth)) == list(range(50))
    assert list(prefetched(iter(()), depth)) == []
    assert threads_of_prefetch() == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    items = prefetched(broken())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(items)
    assert threads_of_prefetch() == []


@pytest.mark.parametrize("taken", [1, 3])
def test_a_consumer_that_stops_early_ends_the_thread_and_closes_the_source(taken: int) -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = prefetched(endless())
    for _ in range(taken):
        next(items)
    assert len(threads_of_prefetch()) == 1
    items.close()
    assert threads_of_prefetch() == []
    assert closed.wait(10)


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("block_bytes", [7, 1 << 18])
def test_content_is_the_same_under_every_codec(tmp_path: Path, codec: str, block_bytes: int) -> None:
    content = b"".join(b"%d,line\n" % i for i in range(5_000))
    path = tmp_path / "file"
    path.write_bytes(CODECS[codec](content[:9_000]) + CODECS[codec](content[9_000:]))
    blocks = list(decompressed_blocks(path, block_bytes))
    assert b"".join(block for block, _ in blocks) == content
    assert max(len(block) for block, _ in blocks) <= block_bytes
    assert blocks[-1][1] == path.stat().st_size


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz"])
def test_a_file_that_ends_early_or_is_broken_is_named(tmp_path: Path, codec: str) -> None:
    whole = CODECS[codec](bytes(range(256)) * 500)
    path = tmp_path / "file"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"file is truncated: its {codec} data end early"):
        list(decompressed_blocks(path))
    path.write_bytes(whole[:8] + bytes(255 - byte for byte in whole[8:40]) + whole[40:])
    with pytest.raises(DataError, match=f"file is (corrupt: its {codec} data break|truncated)"):
        list(decompressed_blocks(path))


@given(st.lists(st.binary(max_size=12), max_size=20), st.booleans())
def test_lines_are_whole_wherever_blocks_end(parts: list[bytes], ends: bool) -> None:
    content = b"".join(parts) + (b"\n" if ends else b"")
    items = [
        item
        for item, _ in whole_lines(Path(), iter([(part, 0) for part in [*parts, b"\n" if ends else b""]]))
    ]
    assert all(item.endswith(b"\n") for item in items)
    assert b"".join(items) == content + (b"\n" if content and not content.endswith(b"\n") else b"")


@given(st.lists(st.binary(max_size=12), max_size=20), st.integers(1, 4))
def test_the_first_lines_are_those_of_the_content(parts: list[bytes], count: int) -> None:
    blocks = ((part, 0) for part in parts)
    assert first_lines(Path(), count, blocks) == b"".join(parts).splitlines()[:count]


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST_LINE_BYTES", 10)
    with pytest.raises(
        DataError, match=r"a\.csv: a line must be at most 10 bytes, was longer, in the first 3 bytes"
    ):
        list(whole_lines(Path("a.csv"), iter([(b"a\n12345", 1), (b"678901", 3)])))
