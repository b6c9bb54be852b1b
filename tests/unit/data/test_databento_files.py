"""Small DBN files: windows, trades, symbols, versions, definitions, and every way in which a file can be wrong."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import pytest
import zstandard
from dbn_files import (
    BUY,
    DAY_NS,
    DEPTH,
    SELL,
    SNAPSHOT,
    T0,
    TRADE,
    action_of,
    definition,
    interval,
    levels,
    metadata,
    order,
    read,
    side_of,
    window,
    write,
)

from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_plugins.data.databento import Databento, build

pytestmark = pytest.mark.usefixtures("own_cache")

# Windows and trades


def test_levels_that_leave_the_window_are_removed(tmp_path: Path) -> None:
    ten = [(100.0 - k, 5) for k in range(10)]
    eleven = [(101.0, 1), *ten[:9]]
    path = write(
        tmp_path / "a",
        window(ten, [(102.0, 3)]),
        window(eleven, [(102.0, 3)], t=1),
        window(ten, [], t=2),
        schema="mbp-10",
    )
    rows, report = read(path)
    assert levels(rows[:11]) == [
        *[(DEPTH | BUY, 91.0 + k, 5.0) for k in range(10)],
        (DEPTH | SELL, 102.0, 3.0),
    ]
    assert levels(rows[11:]) == [
        (DEPTH | BUY, 91.0, 0.0),
        (DEPTH | BUY, 101.0, 1.0),
        (DEPTH | BUY, 101.0, 0.0),
        (DEPTH | SELL, 102.0, 0.0),
        (DEPTH | BUY, 91.0, 5.0),
    ]
    assert report.dropped == {}


def test_a_level_without_a_price_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a", window([(None, 3)], [(101.0, 4)], depth=1), schema="mbp-1")
    assert levels(read(path)[0]) == [(DEPTH | SELL, 101.0, 4.0)]


def test_a_trade_of_a_window_comes_before_the_depth_of_its_packet(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "a",
        window([(100.0, 5)], [(101.0, 3)], depth=1),
        window([(100.0, 5)], [(101.0, 3)], "T", "B", px=101.0, qty=2, flags=0, depth=1, t=1),
        window([(100.0, 5)], [(101.0, 1)], "M", "A", depth=1, t=1),
        schema="mbp-1",
    )
    assert levels(read(path)[0])[2:] == [
        (TRADE | BUY, 101.0, 2.0),
        (DEPTH | SELL, 101.0, 1.0),
    ]


def test_a_crossed_window_is_a_closed_phase(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        window([(100.0, 5)], [(101.0, 3)], depth=1),
        window([(102.0, 5)], [(101.0, 3)], depth=1, t=1),
        window([(102.0, 5)], [(101.0, 3)], "T", "N", depth=1, t=2),
        window([(100.5, 5)], [(101.0, 3)], depth=1, t=3),
        window([(100.5, 4)], [(101.0, 3)], depth=1, t=4),
        schema="mbp-1",
    )
    rows, report = read(path)
    assert levels(rows) == [
        (SNAPSHOT | BUY, 100.5, 5.0),
        (SNAPSHOT | SELL, 101.0, 3.0),
        (DEPTH | BUY, 100.5, 4.0),
    ]
    assert report.notes["closed_phases"] == [[T0, T0 + 3]]


def test_trades_alone_are_trades_alone(tmp_path: Path) -> None:
    record = bytes(dbn.TradeMsg(1, 7, T0, 100_250_000_000, 3, action_of("T"), side_of("A"), 0, T0 + 5))
    rows, _ = read(write(tmp_path / "a", record, record, schema="trades"))
    assert levels(rows) == [(TRADE | SELL, 100.25, 3.0)] * 2


# Symbols and files


def test_instruments_are_picked_by_symbol_or_id(tmp_path: Path) -> None:
    both = {"ABC": [interval(7)], "XYZ": [interval(8)]}
    path = write(tmp_path / "a", order("A", 1), order("A", 2, instrument_id=8), symbols=both)
    feeds = build(Databento(files=[str(path)])).feeds()
    assert [feed.symbol for feed in feeds] == ["ABC", "XYZ"]
    for picked in ("XYZ", "8"):
        rows, report = read(path, symbols=[picked])
        assert rows["order_id"].tolist() == [2]
        assert report.dropped == {"another instrument": 1}


def test_a_symbol_may_change_its_instrument_from_day_to_day(tmp_path: Path) -> None:
    rolled = [
        interval(7, end=date(2023, 11, 15)),
        interval(8, start=date(2023, 11, 15)),
    ]
    of_both = [order("A", 10 * k + i, instrument_id=i, t=k * DAY_NS) for k in (0, 1) for i in (7, 8)]
    rows, _ = read(write(tmp_path / "a", *of_both, symbols={"ABC.c.0": rolled}))
    assert rows["order_id"].tolist() == [7, 18]


def test_a_symbol_of_several_instruments_at_once_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", order("A"), symbols={"ABC.FUT": [interval(7), interval(8)]})
    with pytest.raises(DataError, match="must be one instrument at a time, was 7 and 8"):
        read(path)


def test_files_asked_for_by_id_are_named_by_their_symbols(tmp_path: Path) -> None:
    by_id = {"stype_in": dbn.SType.INSTRUMENT_ID, "stype_out": dbn.SType.RAW_SYMBOL}
    path = write(tmp_path / "a", order("A"), symbols={"7": [interval("ABC")]}, **by_id)
    rows, report = read(path)
    assert (report.symbol, len(rows)) == ("ABC", 1)


def test_without_mappings_an_instrument_id_is_needed_and_enough(tmp_path: Path) -> None:
    path = write(tmp_path / "a", order("A"), symbols={})
    with pytest.raises(DataError, match=r"names no symbols in its metadata\. Give instrument ids"):
        read(path)
    rows, _ = read(path, symbols=["7"])
    assert len(rows) == 1


def test_records_with_a_send_time_are_read(tmp_path: Path) -> None:
    with_ts_out = order("A", ts_out=T0 + 9)
    assert len(with_ts_out) == 64
    rows, _ = read(write(tmp_path / "a", with_ts_out, order("C", ts_out=T0 + 9), ts_out=True))
    assert len(rows) == 2


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("compressed", [True, False])
def test_all_versions_are_read_compressed_or_not(tmp_path: Path, version: int, compressed: bool) -> None:
    data = metadata("mbo", version=version) + order("A") + order("C")
    assert data[3] == version
    (tmp_path / "a").write_bytes(zstandard.compress(data) if compressed else data)
    assert len(read(tmp_path / "a")[0]) == 2


def test_definitions_give_sizes_and_the_configuration_overrides_them(
    tmp_path: Path,
) -> None:
    data = write(tmp_path / "a", order("A"))
    unclear = definition(raw_symbol="OTHER", unit_of_measure_qty=1)
    known = write(tmp_path / "d", unclear, definition(), schema="definition")

    def sizes(*paths: Path, **options: Any) -> tuple[float, float, float] | None:
        (feed,) = build(Databento(files=[str(path) for path in paths], **options)).feeds()
        found = feed.known_instrument(FeedReport())
        return found and (found.tick_size, found.lot_size, found.contract_size)

    assert sizes(data) is None
    assert sizes(data, known) == (0.25, 1.0, 50.0)
    assert sizes(data, known, contract_size={"ABC": 5.0}) == (0.25, 1.0, 5.0)
    assert sizes(data, tick_size={"ABC": 0.5}, contract_size={"ABC": 5.0}) == (
        0.5,
        1.0,
        5.0,
    )
    undefined = write(
        tmp_path / "u",
        definition(unit_of_measure_qty=dbn.UNDEF_PRICE),
        schema="definition",
    )
    assert sizes(data, undefined) == (0.25, 1.0, 1.0)
    with pytest.raises(ConfigError, match=r"data\.contract_size\.ABC needs a tick size, was without"):
        sizes(data, contract_size={"ABC": 5.0})


# What is refused


def refused(match: str, *paths: Path, **options: Any) -> None:
    with pytest.raises(DataError, match=match):
        read(*paths, **options)


def test_files_that_are_no_dbn_or_are_cut_off_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    data = metadata("mbo") + order("A") + order("C")
    head = len(metadata("mbo"))
    path.write_bytes(b"time,price\n1,2\n")
    refused(r"a\.dbn is not a DBN file: it must begin with 'DBN', was b'tim'", path)
    path.write_bytes(data[:50])
    refused(r"a\.dbn is truncated: it ends in its DBN metadata", path)
    path.write_bytes(data[:-5])
    refused(rf"a\.dbn is truncated: it ends in record 2 \(byte {head + 56}\)", path)
    path.write_bytes(zstandard.compress(data * 9)[:-20])
    refused(r"a\.dbn is truncated: its zstd data end early", path)
    path.write_bytes(data[:head] + b"\xff" * 20 + data[head:])
    refused(r"a\.dbn is truncated: it ends in record 1", path)
    path.write_bytes(b"DBN\x09" + data[4:])
    refused(r"a\.dbn has no valid DBN metadata", path)


@pytest.mark.parametrize("length", [0, 3, 13])
def test_a_record_of_impossible_length_is_named(tmp_path: Path, length: int) -> None:
    broken = bytes([length]) + order("C")[1:]
    path = write(tmp_path / "a.dbn", order("A"), broken, order("A", 3))
    place = len(metadata("mbo")) + 56
    refused(
        rf"a\.dbn record 2 \(byte {place}\) is malformed: it must not be {4 * length} bytes",
        path,
    )


def test_definitions_that_are_cut_off_are_named(tmp_path: Path) -> None:
    data = write(tmp_path / "a", order("A"))
    write(tmp_path / "d.dbn", definition()[:-9], schema="definition")
    refused(r"d\.dbn is truncated: it ends in a record", data, tmp_path / "d.dbn")


def test_schemas_without_events_or_mixed_are_refused(tmp_path: Path) -> None:
    refused(
        "must be of one of the schemas mbo.* holds the schema ohlcv-1s",
        write(tmp_path / "a", schema="ohlcv-1s"),
    )
    refused("holds records of several schemas", write(tmp_path / "b", schema=None))
    refused(
        "definitions hold no events",
        write(tmp_path / "d", definition(), schema="definition"),
    )
    two = write(tmp_path / "e", order("A")), write(tmp_path / "f", schema="trades")
    refused(r"files of ABC must be of one schema, were mbo \(.*e\), trades \(.*f\)", *two)


def test_symbols_that_are_not_there_and_files_without_events_are_refused(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a", order("A"))
    refused("wrong symbol: .*a holds ABC, data.symbols is XYZ", path, symbols=["XYZ"])
    refused("data.symbols asks for XYZ, but no file holds it", path, symbols=["ABC", "XYZ"])
    refused(
        "no record of ABC makes an event in 1 records",
        write(tmp_path / "b", order("C")),
    )
    refused("does not exist", tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"book": "l1"}, r"data\.book must be one of l3, l2, was 'l1'"),
        ({"auction": "no"}, r"data\.auction must be one of withhold, keep, was 'no'"),
        ({"tick_size": {"A": 0.0}}, r"data\.tick_size\.A must be > 0, was 0\.0"),
        ({"base_latency_ns": -1}, r"data\.base_latency_ns must be >= 0, was -1"),
        ({"symbols": ["A", "A"]}, r"data\.symbols must differ from each other"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Databento(**options)


def test_bad_lists_of_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", order("A"))
    for files, match in (
        ([], "must name at least one file"),
        ([path, path], "must differ from each other"),
    ):
        with pytest.raises(ConfigError, match=match):
            read(*files)
    with pytest.raises(ConfigError, match=r"data\.tick_size's symbols"):
        read(path, tick_size={"ABD": 0.1})


def test_without_the_library_the_install_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "databento_dbn", None)
    with pytest.raises(ConfigError, match=r"pip install 'bt-framework\[databento\]'"):
        read(write(tmp_path / "a", order("A")))


def test_what_decides_the_events_enters_the_identity(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a", order("A")))
    options: list[dict[str, Any]] = [
        {},
        {"book": "l2"},
        {"auction": "keep"},
        {"clock_correction": False},
    ]
    options += [{"base_latency_ns": 5}]
    found = [build(Databento(files=[path], **more)).feeds()[0].identity() for more in options]
    assert len({str(identity) for identity in found}) == len(options)
