"""Small files written by hand: every kind of file and message, and every way to be wrong."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bt_framework.data import csv_blocks
from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.bybit import Bybit, _book, _files, _kernels, build
from bt_plugins.data.bybit._book import split_message

T_MS = 1_733_011_200_000
BUY, SELL = EventFlag.BUY, EventFlag.SELL
DEPTH, SNAPSHOT, TRADE = EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT, EventKind.TRADE
CONTRACT = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
SPOT = "id,timestamp,price,volume,side,rpi"

Levels = list[tuple[str, str]]


def message(kind: str, t: int, u: int, bids: Levels = (), asks: Levels = (), **more: Any) -> str:  # type: ignore[assignment]
    data = {"s": "XRPUSDT", "b": list(bids), "a": list(asks), "u": u, "seq": 10 * u}
    return json.dumps(
        {
            "topic": "orderbook.500.XRPUSDT",
            "type": kind,
            "ts": T_MS + t,
            "data": data | more,
            "cts": T_MS + t - 3,
        }
    )


FIRST = message("snapshot", 5, 7, [("9", "1"), ("8", "2")], [("10", "3")])


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in lines))
    return path


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Bybit(files=[str(path) for path in paths], **options)).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def tuples(rows: np.ndarray) -> list[tuple[int, int, float, float]]:
    return [
        (int(row["ev"]), int(row["local_ts"]) // 1_000_000 - T_MS, float(row["px"]), float(row["qty"]))
        for row in rows
    ]


def test_snapshots_and_deltas_become_rows(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.data",
        FIRST,
        message("delta", 6, 8, [("9", "0")], [("11", "4")]),
        message("delta", 7, 9),
        message("snapshot", 8, 1, [("8", "5")], [("12", "1")]),
        message("delta", 9, 2, [("7", "1")]),
    )
    rows, report = read(path)
    assert tuples(rows[:5]) == [
        (SNAPSHOT | BUY, 5, 9.0, 1.0),
        (SNAPSHOT | BUY, 5, 8.0, 2.0),
        (SNAPSHOT | SELL, 5, 10.0, 3.0),
        (DEPTH | BUY, 6, 9.0, 0.0),
        (DEPTH | SELL, 6, 11.0, 4.0),
    ]
    # A venue that starts anew counts from 1: no gap. Levels that it does not name are gone.
    assert set(tuples(rows[5:7])) == {(DEPTH | SELL, 8, 10.0, 0.0), (DEPTH | SELL, 8, 11.0, 0.0)}
    assert tuples(rows[7:]) == [
        (SNAPSHOT | BUY, 8, 8.0, 5.0),
        (SNAPSHOT | SELL, 8, 12.0, 1.0),
        (DEPTH | BUY, 9, 7.0, 1.0),
    ]
    assert (rows["local_ts"] - rows["exch_ts"] == 3_000_000).all()
    assert (report.symbol, report.rows_read, report.gaps, report.dropped) == ("XRPUSDT", 5, 0, {})
    assert report.notes == {"snapshots": 2}


def test_levels_that_are_gone_come_first_so_that_no_row_crosses_the_book(tmp_path: Path) -> None:
    up = message("delta", 6, 8, [("10", "4"), ("8", "0")], [("11", "1"), ("10", "0")])
    rows, _ = read(write(tmp_path / "a.data", FIRST, up))
    assert tuples(rows[3:]) == [
        (DEPTH | BUY, 6, 8.0, 0.0),
        (DEPTH | SELL, 6, 10.0, 0.0),
        (DEPTH | BUY, 6, 10.0, 4.0),
        (DEPTH | SELL, 6, 11.0, 1.0),
    ]


def test_a_message_without_matching_time_happened_when_it_was_sent(tmp_path: Path) -> None:
    old = {key: value for key, value in json.loads(FIRST).items() if key != "cts"}
    rows, _ = read(write(tmp_path / "a.data", json.dumps(old)), feed_latency_ns="2ms")
    assert set(rows["exch_ts"]) == {(T_MS + 5) * 1_000_000}
    assert set(rows["local_ts"]) == {(T_MS + 7) * 1_000_000}


def test_gaps_are_counted_and_stale_until_the_next_snapshot(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.data",
        message("delta", 1, 6, [("9", "7")]),
        FIRST,
        message("delta", 6, 8, [("9", "2")]),
        message("delta", 7, 8, [("9", "9")]),
        message("delta", 8, 11, [("9", "3")]),
        message("delta", 9, 13, [("9", "4")]),
        message("snapshot", 10, 20, [("9", "1")]),
        message("delta", 11, 22, [("9", "5")]),
        message("delta", 12, 23, [("9", "6")]),
    )
    rows, report = read(path)
    assert (report.gaps, report.missing_updates, report.duplicates) == (3, 4, 1)
    assert report.dropped == {"delta before the first snapshot": 1, "delta that came again": 1}
    assert report.first_dropped["delta that came again"] == f"{path} line 4"
    assert report.first_problem == f"{path} line 5 is update 11, the one before is 8."
    ns = 1_000_000
    assert report.notes["stale_phases"] == [
        [(T_MS + 3) * ns, (T_MS + 7) * ns],
        [(T_MS + 7) * ns, (T_MS + 9) * ns],
    ]
    assert rows["qty"][rows["px"] == 9.0].tolist() == [1.0, 2.0, 3.0, 4.0, 1.0, 5.0, 6.0]


def test_trades_of_contracts_have_times_below_the_millisecond(tmp_path: Path) -> None:
    path = write(
        tmp_path / "XRPUSDT2024-12-01.csv",
        CONTRACT,
        "1733011200.0647,XRPUSDT,Buy,12,1.9531,PlusTick,id,0,12,23.4",
        "1733011201,XRPUSDT,Sell,3,1.9530,PlusTick,id,0,3,5.8",
    )
    rows, report = read(path)
    assert rows["exch_ts"].tolist() == [1_733_011_200_064_700_000, 1_733_011_201_000_000_000]
    assert tuples(rows) == [(TRADE | BUY, 64, 1.9531, 12.0), (TRADE | SELL, 1_000, 1.953, 3.0)]
    assert (report.symbol, report.rows_read) == ("XRPUSDT", 2)


def test_spot_trades_take_their_symbol_from_the_name_and_merge_with_the_book(tmp_path: Path) -> None:
    trades = tmp_path / "XRPUSDT_2024-12-01.csv.gz"
    trades.write_bytes(
        gzip.compress(f"{SPOT}\n1,{T_MS + 5},9,1.5,sell,0\n2,{T_MS + 6},10,1,buy,1\n".encode())
    )
    book = write(tmp_path / "a.data", FIRST, message("delta", 6, 8, [("9", "0")]))
    rows, report = read(book, trades)
    assert [(int(row["ev"]) & 0xFF, row["qty"]) for row in rows] == [
        (TRADE, 1.5),
        (SNAPSHOT, 1.0),
        (SNAPSHOT, 2.0),
        (SNAPSHOT, 3.0),
        (TRADE, 1.0),
        (DEPTH, 0.0),
    ]
    assert report.rows_read == 4
    with pytest.raises(DataError, match="must be named as Bybit does"):
        read(write(tmp_path / "spot.csv", SPOT, f"1,{T_MS},9,1,sell,0"))


PRICES = st.one_of(
    st.decimals("0.00000001", 10**6, places=8).map(lambda number: f"{number:f}"),
    st.from_regex(r"[1-9][0-9]{0,20}(\.[0-9]{1,12})?", fullmatch=True),
)
QUANTITIES = st.one_of(st.just("0"), PRICES)


@given(
    st.lists(st.tuples(PRICES, QUANTITIES), max_size=6),
    st.lists(st.tuples(PRICES, QUANTITIES), max_size=6),
)
@example([("9007199254740993", "0.30000000000000004")], [])
def test_messages_are_read_the_same_with_and_without_spaces(bids: Levels, asks: Levels) -> None:
    spaced = message("delta", 6, 8, bids, asks).encode()
    compact = json.dumps(json.loads(spaced), separators=(",", ":")).encode()
    results = [split_message(line) for line in (spaced, compact)]
    for found, rows in results:
        assert found["data"]["u"] == 8
        assert found["cts"] == T_MS + 3
        assert rows["px"].tolist() == [float(px) for px, _ in [*bids, *asks]]
        assert rows["qty"].tolist() == [float(qty) for _, qty in [*bids, *asks]]
        assert rows["ev"].tolist() == [BUY] * len(bids) + [SELL] * len(asks)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '[["1","2"]]',
        '[["1","2"],["3.5","0"]]',
        '[["1","2"],]',
        '[["1","2"]',
        '[["1"]]',
        '[["1","2","3"]]',
    ]
    + ['[["1","x"]]', '[["0","2"]]', '[["1.2.3","2"]]', '[["-1","2"]]', '[["","2"]]', '[["1","2"],["3","4"]'],
)
@pytest.mark.parametrize("n_levels", [0, 1, 2])
def test_the_kernel_agrees_with_its_plain_form(text: str, n_levels: int) -> None:
    line = np.frombuffer(f"{text}}}".encode(), np.uint8)
    results = []
    for function in (_kernels.parse_levels, _kernels.parse_levels.py_func):
        rows = np.zeros(n_levels, EVENT)
        understood = bool(function(line, 0, len(text), rows))
        results.append((understood, rows.tolist()))
    assert results[0] == results[1]
    valid = {"[]": 0, '[["1","2"]]': 1, '[["1","2"],["3.5","0"]]': 2}
    assert results[0][0] == (valid.get(text) == n_levels)


def test_zipped_and_plain_books_are_the_same_and_so_are_blocks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    lines = [FIRST]
    for u in range(8, 300):
        levels = [(str(px), str(rng.integers(0, 3))) for px in rng.integers(1, 20, 4)]
        lines.append(message("delta" if u % 60 else "snapshot", u, u, levels, [("20.5", "1")]))
    plain = write(tmp_path / "a.data", *lines)
    zipped = tmp_path / "b.data.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(plain, "2024-12-01_XRPUSDT_ob500.data")
    expected, expected_report = read(plain)
    assert len(expected) > 1_000
    for path in (plain, zipped):
        for rows_per_chunk, block_bytes in ((1, 100), (50, 1_000), (1 << 14, 1 << 18)):
            monkeypatch.setattr(_book, "_ROWS_PER_CHUNK", rows_per_chunk)
            monkeypatch.setattr(_files, "_BLOCK_BYTES", block_bytes)
            rows, report = read(path)
            assert rows.tobytes() == expected.tobytes()
            assert report == expected_report


def test_blocks_of_trades_of_any_size_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"1733011200.{k:04},XRPUSDT,{'Buy' if k % 3 else 'Sell'},{k},1.{k}" for k in range(100)]
    path = write(tmp_path / "a.csv", CONTRACT, *[f"{text},x,x,1,1,1" for text in lines])
    expected, _ = read(path)
    assert len(expected) == 100
    monkeypatch.setattr(csv_blocks, "_ROWS_PER_BLOCK", 7)
    monkeypatch.setattr(_files, "_BLOCK_BYTES", 33)
    assert read(path)[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (FIRST[:-9], "it is no valid JSON"),
        ("[1]", "its message is broken"),
        (
            message("delta", 6, 8).replace('"delta"', '"update"'),
            "type must be snapshot or delta, was 'update'",
        ),
        (message("delta", 6, 8).replace('"u"', '"v"'), "its message has no 'u'"),
        (message("delta", 6, 8, s="BTCUSDT"), "symbol must be XRPUSDT, was BTCUSDT"),
        (message("delta", 6 - T_MS, 8), "ts must be milliseconds since 1970, was 6"),
        (message("delta", 6, 8, [("9", "x")]), "its message is broken"),
        (message("delta", 6, 8, [("9",)]), "its message is broken"),  # type: ignore[list-item]
        (message("delta", 6, 8, [("9", "nan")]), "prices must be > 0 and quantities >= 0"),
        (message("delta", 6, 8, [("0", "1")]), "prices must be > 0 and quantities >= 0"),
        (message("delta", 6, 8, [("9", "-1")]), "prices must be > 0 and quantities >= 0"),
        (message("snapshot", 6, 8), "its snapshot has no level"),
    ],
)
@pytest.mark.parametrize("spaces", [True, False])
def test_a_malformed_message_is_named_with_its_line(
    tmp_path: Path, line: str, why: str, spaces: bool
) -> None:
    line = line if spaces else line.replace(": ", ":").replace(", ", ",")
    path = write(tmp_path / "a.data", FIRST, "", line, message("delta", 7, 8, [("9", "2")]))
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path} line 3 is malformed: {why}")
    rows, report = read(path, max_malformed_lines=1)
    assert (report.dropped, report.rows_read, len(rows)) == ({"malformed": 1}, 3, 4)


def test_files_that_are_none_of_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no archive of Bybit: its first line is b'hello'"):
        read(write(tmp_path / "a", "hello"))
    with pytest.raises(DataError, match="line 1 is malformed"):
        read(write(tmp_path / "a", FIRST[:-3]))
    with pytest.raises(DataError, match="must have a trade in line 2, has none"):
        read(write(tmp_path / "a", CONTRACT))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"must have a member \*.data, has readme.txt"):
        read(tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("c.data", FIRST)
    (tmp_path / "c.zip").write_bytes((tmp_path / "c.zip").read_bytes()[:100])
    with pytest.raises(DataError, match=r"c.zip is truncated or corrupt"):
        read(tmp_path / "c.zip")
    assert not Bybit.recognise(tmp_path / "c.zip", b"PK\x03\x04")


def test_an_encrypted_zip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.data.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.data", FIRST)
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\x03\x04") + 6] |= 1  # the flag of encryption, in the member and in the list
    content[content.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.data\.zip cannot be unpacked: .* is encrypted"):
        read(path)
    assert not Bybit.recognise(path, b"PK\x03\x04")


def test_trades_that_run_backwards_are_refused(tmp_path: Path) -> None:
    rows = [
        f"{second},XRPUSDT,Buy,1,1.5,x,x,1,1,1" for second in (1_733_011_261, 1_733_011_201, 1_733_011_200)
    ]
    with pytest.raises(DataError, match="line 4 goes back in time by more than a minute"):
        read(write(tmp_path / "a.csv", CONTRACT, *rows))


def test_spot_and_contract_trades_do_not_mix(tmp_path: Path) -> None:
    spot = write(tmp_path / "XRPUSDT_2024-12-01.csv", SPOT, f"1,{T_MS},9,1,sell,0")
    contract = write(tmp_path / "a.csv", CONTRACT, "1733011200,XRPUSDT,Buy,1,1.5,x,x,1,1,1")
    with pytest.raises(DataError, match="must be of one market, were spot trades and trades of a contract"):
        read(spot, contract)


def test_contracts_that_pay_in_their_base_are_marked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CONTRACT, "1733011200,BTCUSD,Buy,1,1.5,x,x,1,1,1")
    assert read(path)[1].notes["contract"] == "inverse"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lot_size": {"A": -1.0}}, "data.lot_size.A must be > 0, was -1.0"),
        ({"feed_latency_ns": -1}, "data.feed_latency_ns must be >= 0, was -1"),
        ({"symbols": ["A", "A"]}, "data.symbols must differ from each other"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        Bybit(**options)
