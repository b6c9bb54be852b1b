"""Files of a folder are sorted by the one reader that claims each; the others are named."""

from __future__ import annotations

import gzip
import lzma
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zstandard

from bt_framework.config.schema import param
from bt_framework.data.recognise import head_of, recognise
from bt_framework.data.source import HEAD_BYTES, FileConfig
from bt_framework.testing.feeds import clean_events
from bt_plugins.data.binance import Binance
from bt_plugins.data.npz import Npz
from bt_plugins.data.quotes import Quotes

READERS = {"binance": Binance, "npz": Npz, "quotes": Quotes}
STREAM = b'1723161255030314667 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate"}}\n'


@dataclass
class Greedy(FileConfig):
    name: str = param("greedy", "")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        return True


@dataclass
class Broken(FileConfig):
    name: str = param("broken", "")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        raise KeyError("no header")


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def write_zip(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def two_members(content: bytes) -> bytes:
    return gzip.compress(content[: HEAD_BYTES - 1]) + gzip.compress(content[HEAD_BYTES - 1 :])


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, lzma.compress, zstandard.compress, two_members],
    ids=["plain", "gzip", "xz", "zstd", "gzip in two members"],
)
def test_the_head_of_a_compressed_file_is_its_content(tmp_path, compress):
    content = bytes(np.random.default_rng(3).integers(65, 90, 3 * HEAD_BYTES, dtype=np.uint8))
    (tmp_path / "a").write_bytes(compress(content))
    assert head_of(tmp_path / "a") == (content[:HEAD_BYTES], "")


def test_the_head_of_a_zip_file_is_its_first_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.mkdir("folder")
        archive.writestr("folder/first", b"one" * HEAD_BYTES)
        archive.writestr("second", b"two")
    assert head_of(tmp_path / "a.zip") == ((b"one" * HEAD_BYTES)[:HEAD_BYTES], "")


def test_a_truncated_file_has_the_head_that_can_be_read(tmp_path):
    content = bytes(np.random.default_rng(3).integers(0, 255, HEAD_BYTES // 2, dtype=np.uint8))
    (tmp_path / "a.gz").write_bytes(gzip.compress(content)[:-100])
    head, problem = head_of(tmp_path / "a.gz")
    assert content.startswith(head)
    assert len(head) > HEAD_BYTES // 4
    assert "truncated" in problem


def test_each_file_goes_to_the_reader_that_claims_it(tmp_path):
    np.savez(tmp_path / "b.npz", data=clean_events(10))
    np.savez(tmp_path / "other.npz", close=np.arange(3.0))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.gz").write_bytes(gzip.compress(STREAM))
    write_zip(tmp_path / "20140501_quote.zip", **{"20140501_eurusd_tick_quote.csv": b"292,1.38676,1.38686\n"})
    (tmp_path / "README").write_text("hello")
    (tmp_path / "empty").touch()
    found = recognise([tmp_path], READERS)
    assert {reader: names(files) for reader, files in found.by_reader.items()} == {
        "npz": ["b.npz"],
        "binance": ["a.gz"],
        "quotes": ["20140501_quote.zip"],
    }
    assert [(path.name, "is empty" in why) for path, why in found.unknown] == [
        ("README", False),
        ("empty", True),
        ("other.npz", False),
    ]
    assert found.ambiguous == []


def test_a_file_that_two_readers_claim_is_ambiguous(tmp_path):
    np.save(tmp_path / "a.npy", clean_events(10))
    found = recognise([tmp_path], {**READERS, "greedy": Greedy})
    assert [(path.name, readers) for path, readers in found.ambiguous] == [("a.npy", ["greedy", "npz"])]
    assert found.by_reader == {}


def test_a_reader_that_fails_does_not_keep_the_others_from_their_files(tmp_path):
    np.save(tmp_path / "a.npy", clean_events(10))
    (tmp_path / "b").write_text("hello")
    found = recognise([tmp_path], {"broken": Broken, **READERS})
    assert names(found.by_reader["npz"]) == ["a.npy"]
    assert found.unknown == [(tmp_path / "b", "broken could not look at it: KeyError('no header')")]


def test_a_link_to_itself_is_named_and_leaves_the_others(tmp_path):
    np.save(tmp_path / "own.npy", clean_events(10))
    (tmp_path / "round").symlink_to(tmp_path / "round")
    found = recognise([tmp_path], READERS)
    assert names(found.by_reader["npz"]) == ["own.npy"]
    assert found.unknown == [(tmp_path / "round", "a link to itself")]


def test_links_hidden_files_devices_and_excluded_folders_are_left_out(tmp_path):
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    (root / "store").mkdir(parents=True)
    outside.mkdir()
    np.save(outside / "a.npy", clean_events(10))
    np.save(root / "own.npy", clean_events(10))
    np.save(root / "store" / "kept.npy", clean_events(10))
    np.save(root / ".hidden.npy", clean_events(10))
    (root / "link_out.npy").symlink_to(outside / "a.npy")
    (root / "folder_out").symlink_to(outside)
    (root / "link_in.npy").symlink_to(root / "own.npy")
    (root / "loop").symlink_to(root)
    (root / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "pipe")
    found = recognise([root], READERS, exclude=[root / "store"])
    assert names(found.by_reader["npz"]) == ["own.npy"]
    assert {(path.name, why) for path, why in found.unknown} == {
        ("link_out.npy", "a link out of the folder"),
        ("folder_out", "a link out of the folder"),
        ("gone", "a link out of the folder"),
    }


def test_a_file_given_twice_is_looked_at_once_and_progress_ends_at_the_number_of_files(tmp_path):
    np.save(tmp_path / "a.npy", clean_events(10))
    np.save(tmp_path / "b.npy", clean_events(10))
    told: list[tuple[int, int]] = []
    found = recognise(
        [tmp_path, tmp_path / "a.npy"], READERS, file_done=lambda done, total: told.append((done, total))
    )
    assert names(found.by_reader["npz"]) == ["a.npy", "b.npy"]
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("head", "own"),
    [
        (STREAM, True),
        (STREAM.replace(b"1723161255030314667", b"1723161255030"), True),
        (b'1723161255030314667 {"lastUpdateId":1,"bids":[],"asks":[]}\n', True),
        (b"garbage\n" + STREAM, True),
        (b'172316125503 {"stream":"btcusdt@trade"}\n', False),
        (b'{"stream":"btcusdt@trade"}\n', False),
        (b'1723161255030314667 {"topic":"orderbook.500.BTCUSDT","type":"snapshot"}\n', False),
        (b"1723161255030,1.5,1.6\n", False),
    ],
)
def test_binance_streams_are_told_by_their_lines(tmp_path, head, own):
    assert Binance.recognise(tmp_path / "a", head) is own


def test_an_array_of_other_records_is_not_hftbacktests(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3, [("ev", "u8"), ("px", "f8")]))
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    for name in ("a.npy", "cut.npy", "missing.npy"):
        assert not Npz.recognise(tmp_path / name, b"")
