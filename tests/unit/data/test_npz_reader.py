"""hftbacktest's own files are streamed as they are, and other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag
from bt_plugins.data.npz import Npz, build


def events(n: int = 100_000, start: int = 0) -> np.ndarray:
    rows = np.zeros(n, EVENT)
    rows["ev"] = 1 | EventFlag.EXCH | EventFlag.LOCAL | EventFlag.BUY
    rows["exch_ts"] = start + np.arange(n)
    rows["local_ts"] = rows["exch_ts"] + 5
    rows["px"] = np.random.default_rng(7).random(n)
    return rows


def read(**config: object) -> dict[str, np.ndarray]:
    feeds = build(Npz(**config)).feeds()  # type: ignore[arg-type]
    return {
        feed.symbol: np.concatenate([c.copy() for c in feed.chunks(FeedReport(), lambda *_: None)])
        for feed in feeds
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_file_is_read_as_it_is(tmp_path: Path, save: object) -> None:
    save(tmp_path / "btcusdt_20240808.npz", data=events())  # type: ignore[operator]
    found = read(files=[str(tmp_path / "btcusdt_20240808.npz")])
    assert list(found) == ["BTCUSDT"]
    assert found["BTCUSDT"].tobytes() == events().tobytes()


def test_an_npy_file_is_read_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "eth-2024-08-08.npy", events(10))
    assert read(files=[str(tmp_path / "eth-2024-08-08.npy")])["ETH"].tobytes() == events(10).tobytes()


def test_files_of_one_symbol_are_joined_in_the_order_given(tmp_path: Path) -> None:
    for i, name in enumerate("abc"):
        np.save(tmp_path / f"{name}.npy", events(10, start=100 * i))
    files = [str(tmp_path / f"{name}.npy") for name in "acb"]
    found = read(files=files, symbols=["X", "Y", "X"])
    assert list(found) == ["X", "Y"]
    assert found["X"].tobytes() == np.concatenate([events(10), events(10, start=100)]).tobytes()


def test_feeds_are_ordered_and_carry_their_sizes(tmp_path: Path) -> None:
    feeds = build(Npz(files=["a.npy", "b.npy"], tick_size={"A": 0.1}, lot_size={"B": 2.0})).feeds()
    assert [(f.symbol, f.ordered, f.tick_size, f.lot_size) for f in feeds] == [
        ("A", True, 0.1, None),
        ("B", True, None, 2.0),
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz does not exist"):
        read(files=[str(tmp_path / "none.npz")])


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    with pytest.raises(DataError, match=r"a\.npz is empty"):
        read(files=[str(tmp_path / "a.npz")])


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("time,price\n1,2\n")
    with pytest.raises(DataError, match=r"a\.npz is neither an \.npz nor an \.npy file"):
        read(files=[str(tmp_path / "a.npz")])


def test_an_npz_without_data_says_what_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", bids=events(1), asks=events(1))
    with pytest.raises(DataError, match=r"must have an array 'data', has bids, asks"):
        read(files=[str(tmp_path / "a.npz")])


def without(name: str) -> np.dtype:
    return np.dtype([(n, EVENT[n]) for n in EVENT.names or () if n != name])


@pytest.mark.parametrize(
    ("dtype", "problem"),
    [
        (np.dtype("f8"), "the array is of float64, not of records"),
        (without("fval"), "field 'fval' is missing"),
        (
            np.dtype([(n, "f4" if n == "px" else EVENT[n]) for n in EVENT.names or ()]),
            "'px' must be float64, was float32",
        ),
        (np.dtype(EVENT.descr + [("more", "i8")]), "field 'more' is unknown"),
        (np.dtype(EVENT.descr[::-1]), "its fields must lie as in"),
    ],
)
def test_each_difference_of_the_record_is_named(tmp_path: Path, dtype: np.dtype, problem: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3, dtype))
    with pytest.raises(DataError, match=problem):
        read(files=[str(tmp_path / "a.npy")])


def test_a_table_of_events_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", events(4).reshape(2, 2))
    with pytest.raises(DataError, match=r"one dimension, was of shape \(2, 2\)"):
        read(files=[str(tmp_path / "a.npy")])


def test_a_truncated_npy_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", events(50_000))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"a\.npy is truncated: its header says 50,000 events"):
        read(files=[str(tmp_path / "a.npy")])


@pytest.mark.parametrize("keep_frac", [0.5, 0.001])
def test_a_truncated_npz_is_refused(tmp_path: Path, keep_frac: float) -> None:
    np.savez_compressed(tmp_path / "a.npz", data=events())
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: int(len(data) * keep_frac)])
    with pytest.raises(DataError, match=r"a\.npz is truncated or corrupt"):
        read(files=[str(tmp_path / "a.npz")])


def test_damage_inside_an_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=events(1_000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.npz is truncated or corrupt: Bad CRC-32"):
        read(files=[str(tmp_path / "a.npz")])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"files": []}, r"data\.files must name at least one file, was \[\]"),
        (
            {"files": ["a"], "symbols": ["A", "B"]},
            r"data\.symbols must name the symbol of each file, was 2 symbols for 1",
        ),
        ({"files": ["a"], "tick_size": {"A": 0.0}}, r"data\.tick_size\.A must be > 0, was 0\.0"),
        (
            {"files": ["abc"], "lot_size": {"ABD": 1.0}},
            r"data\.lot_size's symbols must be one of ABC, was 'ABD'",
        ),
    ],
)
def test_a_wrong_configuration_says_what_it_was(config: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(**config)
