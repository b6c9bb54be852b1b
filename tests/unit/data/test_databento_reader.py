"""Orders of small DBN files: each action, snapshots, closed phases, and whatever the records."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
from dbn_files import (
    ADD,
    BAD_BOOK,
    BUY,
    CANCEL,
    CLEAR,
    DAY_NS,
    DEPTH,
    FILL,
    IN_SNAPSHOT,
    LAST,
    LATENCY_NS,
    MODIFY,
    SELL,
    SNAPSHOT,
    T0,
    TRADE,
    levels,
    order,
    orders,
    read,
    window,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.data.source import FeedReport
from bt_framework.records import EVENT
from bt_plugins.data.databento import Databento, build
from bt_plugins.data.databento._orders import free_slot, slot_of
from bt_plugins.data.databento._protocol import ORDER
from bt_plugins.data.databento._reader import Reader, starts_closed

pytestmark = pytest.mark.usefixtures("own_cache")

# Orders


def test_each_action_becomes_its_event(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        order("A", 1, "B", 99.99, 5, t=0),
        order("A", 2, "A", 100.01, 7, t=1),
        order("M", 1, "B", 99.98, 6, t=2),
        order("T", 0, "B", 100.01, 3, t=3, flags=0),
        order("F", 2, "A", 100.01, 3, t=3, flags=0),
        order("C", 2, "A", 100.01, 3, t=3),
        order("C", 1, "B", 99.98, 6, t=4),
    )
    rows, report = read(path)
    assert orders(rows) == [
        (ADD | BUY, 1, 99.99, 5.0),
        (ADD | SELL, 2, 100.01, 7.0),
        (MODIFY | BUY, 1, 99.98, 6.0),
        (TRADE | BUY, 0, 100.01, 3.0),
        (FILL | SELL, 2, 100.01, 3.0),
        (MODIFY | SELL, 2, 100.01, 4.0),
        (CANCEL | BUY, 1, 99.98, 6.0),
    ]
    assert rows["exch_ts"].tolist() == [T0 + t for t in (0, 1, 2, 3, 3, 3, 4)]
    assert (rows["local_ts"] - rows["exch_ts"] == LATENCY_NS).all()
    assert (report.symbol, report.rows_read, report.dropped, report.gaps) == (
        "ABC",
        7,
        {},
        0,
    )


def test_a_venue_that_clears_its_book_clears_ours(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        order("R", 0, "N", None, 0),
        order("A", 1),
        order("R", 0, "N", None, 0),
        order("A", 1, px=99.0),
    )
    assert orders(read(path)[0]) == [
        (ADD | BUY, 1, 100.0, 5.0),
        (CLEAR, 0, 0.0, 0.0),
        (ADD | BUY, 1, 99.0, 5.0),
    ]
    depth = [
        (DEPTH | BUY, 100.0, 5.0),
        (DEPTH | BUY, 100.0, 0.0),
        (DEPTH | BUY, 99.0, 5.0),
    ]
    assert levels(read(path, book="l2")[0]) == depth


def test_an_id_that_comes_again_goes_to_the_end_of_the_queue(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path / "a", order("A", 1), order("A", 1)))
    assert [kind for kind, *_ in orders(rows)] == [ADD | BUY, CANCEL | BUY, ADD | BUY]


def test_an_id_that_comes_again_replaces_its_order(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path / "a", order("A", 1), order("A", 1, "A", 101.0, 2)))
    assert orders(rows) == [
        (ADD | BUY, 1, 100.0, 5.0),
        (CANCEL | BUY, 1, 100.0, 5.0),
        (ADD | SELL, 1, 101.0, 2.0),
    ]


def test_a_modified_order_that_is_unknown_is_a_new_one(tmp_path: Path) -> None:
    rows, report = read(write(tmp_path / "a", order("M", 1)))
    assert orders(rows) == [(ADD | BUY, 1, 100.0, 5.0)]
    assert report.dropped == {}


def test_an_order_modified_to_nothing_or_to_the_other_side_leaves_its_level(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "a",
        order("A", 1),
        order("M", 1, qty=0),
        order("A", 2),
        order("M", 2, "A", 101.0),
    )
    assert orders(read(path)[0]) == [
        (ADD | BUY, 1, 100.0, 5.0),
        (CANCEL | BUY, 1, 100.0, 5.0),
        (ADD | BUY, 2, 100.0, 5.0),
        (CANCEL | BUY, 2, 100.0, 5.0),
        (ADD | SELL, 2, 101.0, 5.0),
    ]


DROPPED = {
    "cancel of an unknown order": order("C", 9),
    "fill of an unknown order": order("F", 9),
    "undefined price": order("A", 9, px=None),
    "undefined or zero size": order("A", 9, qty=dbn.UNDEF_ORDER_SIZE),
    "order without a side": order("A", 9, "N"),
    "unknown action": order("N", 9),
    "order that did not change": order("M", 1),
    "another instrument": order("A", 9, instrument_id=8),
    "another kind of record": bytes(dbn.SystemMsg(T0, "heartbeat")),
}


@pytest.mark.parametrize("reason", list(DROPPED))
def test_a_record_that_becomes_no_event_is_counted_with_its_place(tmp_path: Path, reason: str) -> None:
    path = write(tmp_path / "a", order("A", 1), DROPPED[reason], DROPPED[reason], order("C", 1))
    rows, report = read(path)
    assert [kind for kind, *_ in orders(rows)] == [ADD | BUY, CANCEL | BUY]
    assert report.dropped == {reason: 2}
    assert report.first_dropped == {reason: f"record 2 of {path}"}
    assert report.rows_read == 4


@pytest.mark.parametrize("record", [order("T", px=None), order("T", qty=0)], ids=["px", "qty"])
def test_a_trade_without_price_or_size_is_dropped(tmp_path: Path, record: bytes) -> None:
    rows, report = read(write(tmp_path / "a", order("A", 1), record))
    assert (len(rows), sum(report.dropped.values())) == (1, 1)


def test_a_trade_without_an_aggressor_carries_no_side(tmp_path: Path) -> None:
    rows, report = read(write(tmp_path / "a", order("T", 0, "N", 100.0, 3)))
    assert orders(rows) == [(TRADE, 0, 100.0, 3.0)]
    assert report.notes["trades_without_side"] == 1


def test_times_never_fall_and_undefined_ones_are_those_of_the_other_clock(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "a",
        order("A", 1, t=10),
        order("A", 2, t=5),
        order("A", 3, t=20, ts_recv=dbn.UNDEF_TIMESTAMP),
        order("A", 4, t=5_000, flags=LAST | BAD_BOOK),
        order("A", 5, t=5_001, flags=LAST | BAD_BOOK),
    )
    rows, report = read(path)
    assert (rows["exch_ts"] - T0).tolist() == [10, 10, 20, 5_000, 5_001]
    assert (rows["local_ts"] - T0).tolist() == [1_010, 1_010, 1_010, 6_000, 6_001]
    assert (report.notes["exch_times_raised"], report.gaps) == (1, 1)


# Snapshots


def test_a_snapshot_has_the_time_of_its_receipt(tmp_path: Path) -> None:
    old = {"flags": IN_SNAPSHOT, "ts_event": T0 - DAY_NS, "ts_recv": T0}
    rows, _ = read(write(tmp_path / "a", order("A", 1, **old), order("A", 2, t=7)))
    assert rows["exch_ts"].tolist() == [T0, T0 + 7]
    assert rows["local_ts"].tolist() == [T0, T0 + 7 + LATENCY_NS]


@pytest.mark.parametrize("clears", [True, False])
def test_a_later_snapshot_makes_events_of_what_differs_only(tmp_path: Path, clears: bool) -> None:
    first = write(
        tmp_path / "b",
        order("A", 1),
        order("A", 2),
        order("A", 3),
        order("A", 4, "A", 105.0),
    )
    snap = {"flags": IN_SNAPSHOT, "t": 50}
    second = write(
        tmp_path / "a",
        *([order("R", 0, "N", None, 0, **snap)] if clears else []),
        order("A", 1, **snap),
        order("A", 3, qty=2, **snap),
        order("A", 5, "B", 98.0, 1, **snap),
        order("A", 4, "A", 105.0, **snap),
        order("C", 1, t=60),
        start=T0 + 1,
    )
    rows, report = read(second, first)
    assert orders(rows[4:]) == [
        (MODIFY | BUY, 3, 100.0, 2.0),
        (ADD | BUY, 5, 98.0, 1.0),
        (CANCEL | BUY, 2, 100.0, 5.0),
        (CANCEL | BUY, 1, 100.0, 5.0),
    ]
    assert report.dropped == {"order that did not change": 2}
    depth, _ = read(second, first, book="l2")
    assert levels(depth[-3:]) == [
        (DEPTH | BUY, 100.0, 7.0),
        (DEPTH | BUY, 98.0, 1.0),
        (DEPTH | BUY, 100.0, 2.0),
    ]


# Depth from orders


def test_depth_tells_each_packet_once_and_what_shrinks_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        order("A", 1, "B", 100.0, 5),
        order("A", 2, "A", 101.0, 7),
        order("T", 0, "B", 101.0, 7, flags=0, t=9),
        order("F", 2, "A", 101.0, 7, flags=0, t=9),
        order("A", 3, "B", 101.0, 2, flags=0, t=9),
        order("C", 2, "A", 101.0, 7, t=9),
    )
    rows, report = read(path, book="l2")
    assert levels(rows) == [
        (DEPTH | BUY, 100.0, 5.0),
        (DEPTH | SELL, 101.0, 7.0),
        (TRADE | BUY, 101.0, 7.0),
        (DEPTH | SELL, 101.0, 0.0),
        (DEPTH | BUY, 101.0, 2.0),
    ]
    assert report.dropped == {"fill, told by its trade": 1}


# Closed phases

AUCTION = [
    order("A", 1, "B", 100.0, 5, t=0),
    order("A", 2, "A", 102.0, 5, t=1),
    order("A", 3, "B", 103.0, 2, t=2),  # crossed
    order("T", 0, "N", 102.0, 2, t=3, flags=0),
    order("F", 3, "N", 102.0, 2, t=3, flags=0),
    order("C", 3, "B", 103.0, 2, t=3, flags=0),
    order("M", 2, "A", 102.0, 3, t=3),  # the opening trades are done
]
AFTER = [order("A", 4, "A", 102.0, 1, t=4)]


def test_data_that_begin_in_an_auction_begin_with_the_book_after_it(
    tmp_path: Path,
) -> None:
    rows, report = read(write(tmp_path / "a", *AUCTION, *AFTER))
    assert orders(rows) == [
        (ADD | BUY, 1, 100.0, 5.0),
        (ADD | SELL, 2, 102.0, 3.0),
        (ADD | SELL, 4, 102.0, 1.0),
    ]
    assert rows["exch_ts"].tolist() == [T0 + 3, T0 + 3, T0 + 4]
    assert report.notes["closed_phases"] == [[T0, T0 + 3]]
    assert report.dropped == {"closed phase": 7}
    depth, _ = read(tmp_path / "a", book="l2")
    assert levels(depth) == [
        (SNAPSHOT | BUY, 100.0, 5.0),
        (SNAPSHOT | SELL, 102.0, 3.0),
        (DEPTH | SELL, 102.0, 4.0),
    ]


def test_a_record_in_a_closed_phase_is_counted_once(tmp_path: Path) -> None:
    _, report = read(write(tmp_path / "a", order("C", 9), *AUCTION, *AFTER))
    assert report.dropped == {"closed phase": 7, "cancel of an unknown order": 1}


def test_an_auction_is_kept_if_asked_and_told_all_the_same(tmp_path: Path) -> None:
    rows, report = read(write(tmp_path / "a", *AUCTION, *AFTER), auction="keep")
    assert len(rows) == len(AUCTION) + len(AFTER)
    assert report.notes["closed_phases"] == [[T0, T0 + 3]]
    assert report.dropped == {}


def test_an_auction_in_the_middle_takes_the_book_away_and_gives_it_back(
    tmp_path: Path,
) -> None:
    before = [order("A", 8, "B", 99.0, 1), order("T", 0, "B", 102.0, 1)]
    path = write(tmp_path / "a", *before, *AUCTION, *AFTER)
    rows, report = read(path)
    assert orders(rows) == [
        (ADD | BUY, 8, 99.0, 1.0),
        (TRADE | BUY, 0, 102.0, 1.0),
        (ADD | BUY, 1, 100.0, 5.0),
        (ADD | SELL, 2, 102.0, 5.0),
        (CLEAR, 0, 0.0, 0.0),
        (ADD | BUY, 8, 99.0, 1.0),
        (ADD | BUY, 1, 100.0, 5.0),
        (ADD | SELL, 2, 102.0, 3.0),
        (ADD | SELL, 4, 102.0, 1.0),
    ]
    assert report.notes["closed_phases"] == [[T0 + 2, T0 + 3]]
    assert report.dropped == {"closed phase": 5}
    depth, _ = read(path, book="l2")
    assert levels(depth)[4:] == [
        (DEPTH | BUY, 99.0, 0.0),
        (DEPTH | BUY, 100.0, 0.0),
        (DEPTH | SELL, 102.0, 0.0),
        (SNAPSHOT | BUY, 100.0, 5.0),
        (SNAPSHOT | BUY, 99.0, 1.0),
        (SNAPSHOT | SELL, 102.0, 3.0),
        (DEPTH | SELL, 102.0, 4.0),
    ]


def test_a_phase_that_the_data_do_not_end_stays_closed(tmp_path: Path) -> None:
    before = [order("T", 0, "B", 102.0, 1)]
    rows, report = read(write(tmp_path / "a", *before, *AUCTION[:3], order("A", 9, px=90.0, t=8)))
    assert int(rows[-1]["ev"]) == CLEAR
    assert report.notes["closed_phases"] == [[T0 + 2, T0 + 8]]


def test_priority_survives_a_withheld_phase(tmp_path: Path) -> None:
    queue = [
        order("A", 11, "B", 90.0, 5, t=0),
        order("A", 12, "B", 90.0, 5, t=0),
        order("A", 13, "B", 90.0, 5, t=0),
        order("M", 11, "B", 90.0, 9, t=0),  # larger: to the end
        order("M", 12, "B", 90.0, 1, t=0),  # smaller: stays
    ]
    rows, _ = read(write(tmp_path / "a", *queue, *AUCTION))
    assert [order_id for _, order_id, px, _ in orders(rows) if px == 90.0] == [
        12,
        13,
        11,
    ]


# Whatever the records


def record_lists() -> Any:
    one = st.tuples(
        st.sampled_from("AAAAMMCCFTTR"),
        st.integers(1, 6),
        st.sampled_from("BAN"),
        st.integers(96, 104),
        st.integers(0, 4),
        st.booleans(),
        st.integers(0, 9).map(lambda k: k == 0),
    )
    return st.lists(one, max_size=40)


def as_records(drawn: list[Any]) -> list[bytes]:
    flags = [LAST * last | IN_SNAPSHOT * snapshot for *_, last, snapshot in drawn]
    return [
        order(action, order_id, side, float(px), qty, t=i, flags=flag)
        for i, ((action, order_id, side, px, qty, _, _), flag) in enumerate(zip(drawn, flags, strict=True))
    ]


def depth_of(rows: np.ndarray) -> dict[tuple[int, float], float]:
    """The book that order events make; fails where the engine would stop."""
    live: dict[int, tuple[int, float, float]] = {}
    for row in rows:
        kind, order_id = int(row["ev"]) & 0xFF, int(row["order_id"])
        side = int(row["ev"]) & (BUY | SELL)
        if kind == ADD:
            assert order_id not in live
        elif kind in (CANCEL, MODIFY, FILL):
            assert live[order_id][0] == side
        if kind in (ADD, MODIFY):
            assert row["qty"] > 0
            live[order_id] = side, float(row["px"]), float(row["qty"])
        elif kind == CANCEL:
            del live[order_id]
        elif kind == CLEAR:
            live.clear()
    book: dict[tuple[int, float], float] = {}
    for side, px, qty in live.values():
        book[side, px] = book.get((side, px), 0.0) + qty
    return book


@given(record_lists(), st.sampled_from(["keep", "withhold"]))
@settings(max_examples=150)
def test_orders_and_depth_agree_whatever_the_records_and_blocks(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], auction: str
) -> None:
    folder = tmp_path_factory.mktemp("dbn")
    path = write(folder / "a", *as_records([("T", 1, "B", 100, 1, True, False), *drawn]))
    by_order, report = read(path, auction=auction)
    by_level, _ = read(path, auction=auction, book="l2")
    book: dict[tuple[int, float], float] = {}
    for row in by_level:
        if int(row["ev"]) & 0xFF != TRADE:
            book[int(row["ev"]) & (BUY | SELL), float(row["px"])] = float(row["qty"])
    assert {level: qty for level, qty in book.items() if qty} == depth_of(by_order)
    assert (np.diff(by_order["exch_ts"]) >= 0).all()
    assert report.rows_read == len(drawn) + 1
    if auction == "withhold" and len(book):
        bids = [px for (side, px), qty in book.items() if qty and side == BUY]
        asks = [px for (side, px), qty in book.items() if qty and side == SELL]
        assert not bids or not asks or max(bids) < min(asks)
    (feed,) = build(Databento(files=[str(path)], auction=auction)).feeds()
    for block_bytes in (57, 500):
        closed = starts_closed(feed.config, feed.symbol, feed.schema, feed.headers, block_bytes)
        reader = Reader(feed.config, feed.symbol, feed.schema, FeedReport(), starts_closed=closed)
        rows = [rows.copy() for rows, _ in reader.rows(feed.headers[0], block_bytes)]
        rows += [rows.copy() for rows in reader.last_rows()]
        assert np.concatenate([np.zeros(0, EVENT), *rows]).tobytes() == by_order.tobytes()


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 1, 2, 16, 17, 32, 33, 48, 2**40, -1])),
        max_size=60,
    )
)
def test_the_table_of_orders_finds_what_a_dictionary_finds(
    steps: list[tuple[bool, int]],
) -> None:
    for find, free in ((slot_of, free_slot), (slot_of.py_func, free_slot.py_func)):
        table, expected = np.zeros(16, ORDER), set()
        for adds, order_id in steps:
            slot = find(table, order_id)
            assert (table[slot]["side"] != 0) == (order_id in expected)
            if adds and len(expected) < 8:
                table[slot]["order_id"], table[slot]["side"] = order_id, 1
                expected.add(order_id)
            elif not adds and order_id in expected:
                free(table, slot)
                expected.remove(order_id)
        for order_id in expected:
            assert table[find(table, order_id)]["order_id"] == order_id


@pytest.mark.parametrize(
    "mode", [{"NUMBA_DISABLE_JIT": "1"}, pytest.param({"NUMBA_BOUNDSCHECK": "1"}, marks=pytest.mark.long)]
)
def test_rows_are_the_same_without_jit_and_with_checked_bounds(tmp_path: Path, mode: dict[str, str]) -> None:
    records = [
        order("A", i, "BA"[i % 2], 100.0 + (i % 7) * (1 if i % 2 else -1), 1 + i % 5, t=i) for i in range(300)
    ]
    records += [order("MCFT"[i % 4], i, "BA"[i % 2], 90.0 + 20 * (i % 2), 1, t=300 + i) for i in range(300)]
    path = write(tmp_path / "a", *AUCTION, *records)
    ten = [(100.0 - k, 5) for k in range(10)]
    windows = write(
        tmp_path / "w",
        window(ten, [(102.0, 3)]),
        window(ten[1:], [], "T", t=1),
        schema="mbp-10",
    )
    expected = read(path)[0].tobytes() + read(path, book="l2")[0].tobytes() + read(windows)[0].tobytes()
    code = (
        "import sys, numpy as np\n"
        "from bt_framework.data.source import FeedReport\n"
        "from bt_plugins.data.databento import Databento, build\n"
        "for path, book in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    (feed,) = build(Databento(files=[path], book=book)).feeds()\n"
        "    for rows in feed.chunks(FeedReport(), lambda *_: None):\n"
        "        sys.stdout.buffer.write(rows.tobytes())\n"
    )
    arguments = [str(path), "l3", str(path), "l2", str(windows), "l3"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        check=True,
        env=os.environ | mode,
    )
    assert done.stdout == expected
