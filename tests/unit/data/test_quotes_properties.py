"""What holds for any quotes and trades, in any chunks, with and without the JIT."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_quotes_reader import ALL, VENUES, events_of, read, write

from bt_framework.records import EVENT, record
from bt_plugins.data.quotes._book import BOOK, MAX_ROWS, move_book, taker_side
from bt_plugins.data.quotes._parse import days_of, decimal
from bt_plugins.data.quotes._zones import offsets

pytestmark = pytest.mark.usefixtures("own_cache")

_px = st.integers(8, 12)
_qty = st.integers(0, 2)
_quote_line = st.tuples(_px, _qty, _px, _qty, st.sampled_from("ABC"))
_lines = st.lists(st.tuples(st.integers(0, 2), st.one_of(_quote_line, _px)), min_size=1, max_size=60)


def text_of(lines: list[tuple[int, object]]) -> str:
    text, ts = VENUES, 0
    for step, what in lines:
        ts += step
        if isinstance(what, tuple):
            bid, bid_qty, ask, ask_qty, venue = what
            text += f"{ts},{bid},{bid_qty},{ask},{ask_qty},,,{venue}\n"
        else:
            text += f"{ts},,,,,{what},1,A\n"
    return text


@pytest.mark.parametrize("book", ["best", "venues"])
@given(lines=_lines)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_book_follows_any_quotes_and_is_crossed_only_where_they_are(tmp_path, book, lines):
    """After each time the book is the plain reading's; in between never crossed, if neither end of the move is."""
    path = write(tmp_path / "a.csv", text_of(lines))
    rows, _ = read(path, columns=ALL, time_unit="ns", book=book, crossed_venues="keep")
    expected = plain_books(lines, by_venue=book == "venues")
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for i, (what, ts, px, qty) in enumerate(rows):
        if what.startswith("trade"):
            continue
        side = bids if what == "bid" else asks
        assert qty > 0 or px in side
        side.pop(px, None)
        if qty > 0:
            side[px] = qty
        assert len(side) <= 2
        if i + 1 == len(rows) or rows[i + 1][1] != ts:
            assert (bids, asks) == expected[ts]


def plain_books(lines: list[tuple[int, object]], by_venue: bool) -> dict[int, tuple[dict, dict]]:
    """Book after each time: best bid and ask with the quantity there."""
    sides: tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]] = ({}, {})
    books, ts = {}, 0
    for step, what in lines:
        ts += step
        if isinstance(what, tuple):
            for side, px, qty in ((sides[0], what[0], what[1]), (sides[1], what[2], what[3])):
                side[what[4] if by_venue else ""] = (px, qty)
        best = []
        for side, choose in zip(sides, (max, min), strict=True):
            live = [(px, qty) for px, qty in side.values() if qty]
            px = choose((px for px, _ in live), default=None)
            best.append({float(px): float(sum(q for p, q in live if p == px))} if live else {})
        books[ts] = (best[0], best[1])
    return books


@given(lines=_lines)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_update_between_sound_books_is_sound_row_by_row(tmp_path, lines):
    """Never crossed in between, and never without a side that it has before and after."""
    sound = [(step, w) for step, w in lines if not isinstance(w, tuple) or (w[0] < w[2] and w[1] and w[3])]
    path = write(tmp_path / "a.csv", text_of(sound) if sound else VENUES + "1,,,,,1,1,A\n")
    rows, report = read(path, columns=ALL, time_unit="ns", book="best")
    assert not report.notes.keys() & {"crossed_quotes", "locked_quotes"}
    bids: set[float] = set()
    asks: set[float] = set()
    for n, (what, _, px, qty) in enumerate(row for row in rows if not row[0].startswith("trade")):
        side = bids if what == "bid" else asks
        (side.add if qty > 0 else side.discard)(px)
        if n > 0:
            assert bids
            assert asks
            assert max(bids) < min(asks)


@given(lines=_lines, chunk_bytes=st.sampled_from([1024, 1100, 1537]), copies=st.integers(5, 40))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_do_not_depend_on_the_size_of_chunks(tmp_path, lines, chunk_bytes, copies):
    """Bids and asks are on lines of their own, so that chunks end between two halves of an update."""
    text, n = VENUES, 0
    for ts, (_, what) in enumerate(lines * copies):
        if isinstance(what, tuple):
            bid, bid_qty, ask, ask_qty, venue = what
            text += f"{ts},{bid},{bid_qty},,,,,{venue}\n{ts},,,{ask},{ask_qty},,,{venue}\n"
        n = ts
    quotes = write(tmp_path / "q.csv", text)
    trades = write(tmp_path / "t.csv", "time,price\n" + "".join(f"{i},{10 + i % 3}\n" for i in range(n)))
    options = {"columns": ALL, "time_unit": "ns", "symbols": ["X", "X"]}
    whole, whole_report = events_of([quotes, trades], **options)
    parts, parts_report = events_of([quotes, trades], **options, chunk_bytes=chunk_bytes)
    assert parts.tobytes() == whole.tobytes()
    assert parts_report == whole_report


READ = """
import sys
from hashlib import sha256
from bt_plugins.data.quotes import Quotes, build
from bt_framework.data.source import FeedReport

quotes, trades, columns = sys.argv[1], sys.argv[2], dict(zip(sys.argv[3::2], sys.argv[4::2]))
for options in ({}, {"book": "best"}, {"crossed_venues": "keep", "chunk_bytes": 1024}):
    config = Quotes(
        files=[quotes, trades], symbols=["X", "X"], columns=columns, time_unit="text",
        time_zone="America/New_York", max_malformed_lines=1_000_000, **options,
    )
    (feed,) = build(config).feeds()
    report = FeedReport()
    chunks = feed.chunks(report, lambda *_: None)
    print(sha256(b"".join(chunk.tobytes() for chunk in chunks)).hexdigest(), report)
"""


@pytest.mark.long
def test_the_events_are_the_same_without_the_jit_and_with_bounds_checks(tmp_path):
    rng = np.random.default_rng(5)
    lines = []
    for i in range(150):
        bid, ask = rng.integers(8, 12, 2) / 10
        line = f"2014-11-0{1 + i // 75} 01:{i % 60:02}:00.{i},{bid},{rng.integers(3)},{ask},1.50,,,{'ABC'[i % 3]}"
        lines += [line, line[: i % 45]]
    quotes = write(tmp_path / "q.csv", VENUES + "\n".join(lines) + "\n")
    trades = write(
        tmp_path / "t.csv",
        "time,price\n" + "".join(f"2014-11-01 01:{i:02}:00,1.{i % 3}\n" for i in range(60)),
    )
    columns = [word for pair in ALL.items() for word in pair]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", READ, str(quotes), str(trades), *columns],
            env=os.environ | mode,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for mode in ({}, {"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_BOUNDSCHECK": "1"})
    ]
    assert outputs[0].count("'malformed'") == 6
    assert "withdrawn_venue_quotes" in outputs[0]
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize(
    ("px", "bid_px", "ask_px", "last_px", "direction", "side"),
    [
        (11.0, 10.0, 11.0, 0.0, 0, 1),
        (12.0, 10.0, 11.0, 13.0, -1, 1),
        (10.0, 10.0, 11.0, 9.0, 1, -1),
        (10.5, 10.0, 11.0, 0.0, 0, 0),
        (10.5, 10.0, 11.0, 10.4, -1, 1),
        (10.5, 10.0, 11.0, 10.6, 1, -1),
        (10.5, 10.0, 11.0, 10.5, 1, 1),
        (10.0, 10.0, 10.0, 11.0, 1, -1),
        (10.0, 0.0, 0.0, 9.0, -1, 1),
        (10.0, 0.0, 11.0, 9.0, -1, 1),
    ],
)
def test_the_takers_side_is_that_worked_by_hand(px, bid_px, ask_px, last_px, direction, side):
    assert taker_side.py_func(px, bid_px, ask_px, last_px, direction) == side


def test_days_are_those_of_the_calendar():
    day = date(1970, 1, 1)
    while day < date(2262, 1, 1):
        assert days_of.py_func(day.year, day.month, day.day) == (day - date(1970, 1, 1)).days
        day += timedelta(days=1)
    for wrong in (
        (2013, 2, 29),
        (2100, 2, 29),
        (2014, 4, 31),
        (2014, 0, 1),
        (2014, 1, 0),
        (1969, 12, 31),
        (2262, 1, 1),
    ):
        assert days_of.py_func(*wrong) == -1


@given(st.decimals(0, 10**9, allow_nan=False, places=6))
def test_decimals_are_exact(value):
    text = np.frombuffer(f"{value}".encode(), np.uint8)
    p, mantissa, n_decimals = decimal.py_func(text, 0, len(text))
    assert p == len(text)
    assert Fraction(int(mantissa), 10 ** int(n_decimals)) == Fraction(value)


def test_a_zones_offsets_are_python_s_at_every_change():
    table = offsets("Europe/London")
    assert offsets("UTC").tolist() == [[-(1 << 63), 0]]
    starts = {
        np.datetime64(int(start), "ns").astype(str)[:16]: int(offset) // 10**9 for start, offset in table[1:]
    }
    assert starts["2014-03-30T02:00"] == 3600
    assert starts["2014-10-26T02:00"] == 0
    assert offsets("UTC-05:00").tolist() == [[-(1 << 63), -5 * 3600 * 10**9]]


@pytest.mark.parametrize("old", [(0, 0), (10, 0), (0, 11), (10, 11), (11, 11), (12, 11)])
@pytest.mark.parametrize("new", [(0, 0), (9, 10), (10, 11), (11, 12), (10, 0), (0, 11), (11, 11), (12, 10)])
def test_any_move_of_the_book_ends_in_the_new_one_within_the_rows_it_may_take(old, new):
    out = np.zeros(MAX_ROWS, EVENT)
    book = record(BOOK, bid_px=old[0], bid_qty=bool(old[0]), ask_px=old[1], ask_qty=bool(old[1]))
    move_book.py_func(out, book, 5, new[0], 2.0 * bool(new[0]), new[1], 2.0 * bool(new[1]))
    assert book.n_rows < MAX_ROWS
    sides: tuple[dict[float, float], ...] = tuple({px: 1.0} if px else {} for px in map(float, old))
    for event in out[: book.n_rows]:
        side = sides[0] if int(event["ev"]) & 1 << 29 else sides[1]
        side.pop(float(event["px"]), None)
        if event["qty"]:
            side[float(event["px"])] = float(event["qty"])
    assert sides == tuple({px: 2.0} if px else {} for px in map(float, new))
