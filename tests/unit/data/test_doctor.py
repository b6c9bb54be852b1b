"""The doctor: every class of defect that is put into clean events is found, and none where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.data.doctor import Doctor, Finding, Severity, grade, line, refuse_fatal
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind, record
from bt_framework.results.run import Instrument
from bt_framework.testing.feeds import clean_events
from bt_framework.units import NS_PER_MS, NS_PER_S

UNKNOWN = KnownSizes(None, None, 1.0, "inferred", "inferred")
CONFIGURED = KnownSizes(0.1, 0.001, 1.0, "config", "config")
LISTED = KnownSizes(0.1, 0.001, 1.0, "catalogue", "catalogue")


def examine(
    events: np.ndarray,
    known: KnownSizes = CONFIGURED,
    report: FeedReport | None = None,
    block_rows: int = 700,
) -> list[Finding]:
    doctor = Doctor(known)
    for start in range(0, len(events), block_rows):
        doctor.examine(events[start : start + block_rows])
    doctor.finish()
    return doctor.findings(report or FeedReport(), doctor.spec("TEST") if len(events) else None)


def serious(findings: list[Finding]) -> list[tuple[str, str, int, int]]:
    return [(f.check, f.severity, f.count, f.first_index) for f in findings if f.severity != Severity.INFO]


@pytest.mark.parametrize("known", [UNKNOWN, CONFIGURED, LISTED])
@pytest.mark.parametrize("tick_size", [0.1, 0.01, 0.25, 1.0])
def test_clean_events_have_no_defects(known, tick_size):
    if known is not UNKNOWN:
        known = KnownSizes(tick_size, 0.001, 1.0, known.tick_source, known.lot_source)
    findings = examine(clean_events(2_000, tick_size=tick_size), known)
    assert serious(findings) == []
    assert grade(findings) == "ok"


def test_rows_that_stand_twice_for_two_clocks_are_clean():
    events = clean_events(300)
    events["exch_ts"][100:110] -= 3 * NS_PER_MS
    local, exch = events.copy(), events.copy()
    local["ev"] &= ~np.uint64(EventFlag.EXCH)
    exch["ev"] &= ~np.uint64(EventFlag.LOCAL)
    exch = exch[np.argsort(exch["exch_ts"], kind="stable")]
    assert serious(examine(np.concatenate([exch, local]))) == []


def exchange_time_back(events: np.ndarray) -> None:
    events["exch_ts"][500] -= 5 * NS_PER_MS


def local_time_back(events: np.ndarray) -> None:
    events["local_ts"][500] = events["exch_ts"][500] = events["exch_ts"][480]
    events["ev"][500] &= ~np.uint64(EventFlag.EXCH)


def rows_without_flags(events: np.ndarray) -> None:
    events["ev"][500:503] &= ~np.uint64(EventFlag.EXCH | EventFlag.LOCAL)


def no_exchange_flags(events: np.ndarray) -> None:
    events["ev"] &= ~np.uint64(EventFlag.EXCH)


def no_local_flags(events: np.ndarray) -> None:
    events["ev"] &= ~np.uint64(EventFlag.LOCAL)


def clock_behind(events: np.ndarray) -> None:
    events["local_ts"] -= NS_PER_S


def clock_just_behind(events: np.ndarray) -> None:
    events["local_ts"] = events["exch_ts"]
    events["local_ts"][events["exch_ts"] == events["exch_ts"][500]] -= 1_000


def price_is_nan(events: np.ndarray) -> None:
    events["px"][500] = np.nan


def price_is_negative(events: np.ndarray) -> None:
    events["px"][500] = -events["px"][500]


def quantity_is_infinite(events: np.ndarray) -> None:
    events["qty"][500] = np.inf


@pytest.mark.parametrize(
    ("damage", "check", "severity", "count", "first_index"),
    [
        (exchange_time_back, "exchange time order", "fatal", 1, 500),
        (local_time_back, "local time order", "fatal", 1, 500),
        (rows_without_flags, "missing flags", "fatal", 3, 500),
        (no_exchange_flags, "missing exchange flags", "fatal", None, 0),
        (no_local_flags, "missing local flags", "fatal", None, 0),
        (clock_behind, "negative feed latency", "fatal", None, 0),
        (clock_just_behind, "negative feed latency", "warn", None, None),
        (price_is_nan, "invalid values", "fatal", 1, 500),
        (price_is_negative, "invalid values", "fatal", 1, 500),
        (quantity_is_infinite, "invalid values", "fatal", 1, 500),
    ],
)
@pytest.mark.parametrize("block_rows", [1, 333, 100_000])
def test_each_defect_is_found_and_placed(
    damage: Callable, check: str, severity: str, count: int | None, first_index: int | None, block_rows: int
):
    events = clean_events(200)
    damage(events)
    found = {f.check: f for f in examine(events, block_rows=block_rows)}
    assert set(found) <= {check, "crossed book"}
    finding = found[check]
    assert finding.severity == severity
    assert count is None or finding.count == count
    assert first_index is None or finding.first_index == first_index


def test_zero_events_are_fatal():
    with pytest.raises(
        DataError, match="TEST: the events cannot be used:\n  zero events: 0, the source has no events"
    ):
        refuse_fatal("TEST", examine(np.empty(0, EVENT)))


def test_the_refusal_lists_everything_fatal_and_where():
    events = clean_events(200)
    exchange_time_back(events)
    rows_without_flags(events[100:])
    with pytest.raises(DataError) as caught:
        refuse_fatal("TEST", examine(events))
    assert str(caught.value) == (
        "TEST: the events cannot be used:\n"
        "  exchange time order: 1 from row 500, exchange time goes back by up to 5ms\n"
        "  missing flags: 3 from row 600, rows carry neither the exchange nor the local flag"
    )


def level(ts: int, side: EventFlag, px: float, qty: float) -> tuple:
    return (EventFlag.EXCH | EventFlag.LOCAL | side | EventKind.DEPTH, ts, ts, px, qty, 0, 0, 0.0)


def test_a_crossed_book_is_counted_in_episodes_and_timed():
    buy, sell = EventFlag.BUY, EventFlag.SELL
    rows = [
        level(0, buy, 100.0, 1),
        level(0, sell, 101.0, 1),
        level(10, buy, 101.0, 1),  # locked: first episode, until 30
        level(20, buy, 102.0, 1),
        level(30, buy, 102.0, 0),
        level(30, buy, 101.0, 0),
        level(40, sell, 99.0, 1),  # crossed: second episode, until 45
        level(45, sell, 99.0, 0),
        level(50, buy, 101.0, 1),  # crossed only within a batch
        level(50, sell, 101.0, 0),
        level(50, sell, 102.0, 1),
    ]
    known = KnownSizes(1.0, 1.0, 1.0, "config", "config")
    (finding,) = examine(np.array(rows, EVENT), known)
    assert (finding.check, finding.severity, finding.count, finding.first_index) == (
        "crossed book",
        "warn",
        2,
        2,
    )
    assert finding.detail == "best bid at or above best ask for 25ns, 50 % of the time"


def test_a_cleared_side_is_empty():
    buy, sell = EventFlag.BUY, EventFlag.SELL
    clear = int(EventFlag.EXCH | EventFlag.LOCAL | EventKind.DEPTH_CLEAR)
    rows = [
        level(0, buy, 100.0, 1),
        level(0, buy, 98.0, 1),
        level(0, sell, 105.0, 1),
        (clear | int(buy), 1, 1, 99.0, 0.0, 0, 0, 0.0),
        level(2, sell, 99.0, 1),
        (clear, 3, 3, 0.0, 0.0, 0, 0, 0.0),
        level(4, sell, 90.0, 1),
        level(4, buy, 89.0, 1),
    ]
    doctor = Doctor(KnownSizes(1.0, 1.0, 1.0, "config", "config"))
    doctor.examine(np.array(rows, EVENT))
    doctor.finish()
    assert doctor.findings(FeedReport(), None) == []
    assert doctor.stats.clears == 2


def book_level(events: np.ndarray) -> str:
    doctor = Doctor(CONFIGURED)
    doctor.examine(events)
    doctor.finish()
    return doctor.book_level()


def test_the_level_of_a_book_is_told_by_its_events():
    buy, sell = EventFlag.BUY, EventFlag.SELL
    quotes = [
        level(0, buy, 100.0, 1),
        level(0, sell, 101.0, 1),
        level(1, buy, 100.5, 2),  # two levels only within a batch
        level(1, buy, 100.0, 0),
    ]
    deep = [*quotes, level(2, buy, 99.0, 1)]
    order = (EventFlag.EXCH | EventFlag.LOCAL | buy | EventKind.ADD_ORDER, 3, 3, 99.0, 1.0, 7, 0, 0.0)
    trade = (EventFlag.EXCH | EventFlag.LOCAL | buy | EventKind.TRADE, 3, 3, 99.0, 1.0, 0, 0, 0.0)
    assert book_level(np.array(quotes, EVENT)) == "l1"
    assert book_level(np.array(deep, EVENT)) == "l2"
    assert book_level(np.array([order], EVENT)) == "l3"
    assert book_level(np.array([trade], EVENT)) == "none"


def test_gaps_and_malformed_lines_lower_the_grade():
    report = FeedReport(
        gaps=3,
        missing_updates=1_200,
        dropped={"malformed": 2, "bookTicker": 9},
        first_problem="raw.gz line 7",
    )
    findings = examine(clean_events(100), report=report)
    assert serious(findings) == [("sequence gaps", "warn", 3, -1), ("dropped rows", "warn", 2, -1)]
    assert findings[0].detail == "1,200 updates are missing; the book may be stale after each"
    assert findings[1].detail == "malformed; first: raw.gz line 7"
    assert grade(findings) == "warn"
    assert line("TEST", findings) == "TEST: warn (sequence gaps 3, dropped rows 2)"


def test_the_line_of_clean_events_is_short():
    assert line("TEST", examine(clean_events(100))) == "TEST: ok"


def off_tick(rows: int) -> np.ndarray:
    events = clean_events(2_000)
    at = np.linspace(5_000, len(events) - 1, rows).astype(int)
    events["px"][at] += 0.05
    return events


def test_a_configured_tick_that_does_not_divide_the_prices_is_refused_with_an_example():
    with pytest.raises(DataError) as caught:
        examine(clean_events(300), KnownSizes(0.3, None, 1.0, "config", "inferred"))
    text = str(caught.value)
    assert text.startswith(
        "tick_size of TEST must divide the prices, was 0.3: row 1 has the price 1000.1, 1 of "
    )
    assert text.endswith("Leave it out to use the size that the prices suggest, 0.1.")


def test_a_few_prices_off_an_inferred_tick_are_graded():
    findings = examine(off_tick(3), UNKNOWN)
    assert ("prices off tick", "warn", 3, 5_000) in serious(findings)
    assert any(f.detail == "not whole multiples of the tick size 0.1 (inferred)" for f in findings)


def test_a_few_prices_off_a_listed_tick_are_graded():
    assert ("prices off tick", "warn", 3, 5_000) in serious(examine(off_tick(3), LISTED))


def test_a_listed_tick_that_most_prices_are_off_is_replaced():
    known = KnownSizes(1.0, 0.001, 1.0, "catalogue", "catalogue")
    findings = examine(clean_events(500), known)
    assert serious(findings) == []
    assert findings[0].detail == "tick size of TEST: the catalogue's 1.0 does not fit the data, inferred 0.1"


def test_quantities_off_a_configured_lot_are_graded():
    known = KnownSizes(0.1, 0.01, 1.0, "config", "config")
    checks = [f.check for f in examine(clean_events(200), known)]
    assert checks == ["quantities off lot"]


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.integers(1, 10**7), min_size=2, max_size=50),
    tick_size=st.sampled_from(["0.1", "0.01", "0.25", "0.5", "1", "5", "0.00001", "0.005", "100"]),
)
def test_the_inferred_tick_is_the_greatest_that_divides_all_prices(ticks, tick_size):
    from decimal import Decimal
    from math import gcd

    events = clean_events(10)[: len(ticks)]
    ticks = ticks[: len(events)]
    events["px"] = [float(Decimal(t) * Decimal(tick_size)) for t in ticks]
    doctor = Doctor(UNKNOWN)
    doctor.examine(events)
    doctor.finish()
    expected = float(gcd(*ticks) * Decimal(tick_size))
    assert doctor.spec("TEST").instrument.tick_size == expected


def test_prices_on_no_grid_need_a_configured_tick():
    events = clean_events(100)
    events["px"] = np.random.default_rng(1).uniform(900.0, 1_100.0, len(events))
    with pytest.raises(
        DataError, match=r"tick_size of TEST cannot be inferred.* Give it in the configuration"
    ):
        examine(events, UNKNOWN)


def finer_later(steps: int) -> np.ndarray:
    """Prices on 1.0 at first, on 0.25 later; nothing of the first book is left by then."""
    coarse, fine = clean_events(steps, tick_size=1.0), clean_events(300, tick_size=1.0)
    fine["px"] = fine["px"] - 0.75
    fine["exch_ts"] += 10 * NS_PER_S
    fine["local_ts"] += 10 * NS_PER_S
    removed = coarse[(coarse["ev"] & np.uint64(0xFF)) != EventKind.TRADE]
    removed["qty"] = 0.0
    removed["exch_ts"], removed["local_ts"] = fine["exch_ts"][0], fine["local_ts"][0]
    return np.concatenate([coarse, removed, fine])


@pytest.mark.parametrize("block_rows", [1, 97, 100_000])
@pytest.mark.parametrize("steps", [50, 300])
def test_the_book_follows_a_tick_that_turns_out_finer(steps, block_rows):
    events = finer_later(steps)
    seen = []
    for known in (UNKNOWN, KnownSizes(0.25, 0.001, 1.0, "config", "config")):
        doctor = Doctor(known)
        for start in range(0, len(events), block_rows):
            doctor.examine(events[start : start + block_rows])
        doctor.finish()
        assert doctor.spec("TEST").instrument == Instrument("TEST", 0.25, 0.001)
        assert doctor.stats.crossed == 0
        seen.append(doctor.touch_px())
    assert seen[0] == pytest.approx(seen[1], abs=0.0 if steps == 50 else 1.0)


def reference_touch(rows: list[tuple]) -> list[tuple]:
    """Touch after each row by plain dictionaries: hftbacktest's, where the latest level wins, then the raw one."""
    books: dict[int, set[int]] = {0: set(), 1: set()}
    shown: dict[int, int | None] = {0: None, 1: None}
    out = []

    def best(side: int, beyond: int) -> int | None:
        levels = [t for t in books[side] if (t <= beyond if side == 0 else t >= beyond)]
        return (max(levels) if side == 0 else min(levels)) if levels else None

    for side, tick, filled in rows:
        away = 1 if side else -1
        if filled:
            books[side].add(tick)
            if shown[side] is None or (shown[side] - tick) * away > 0:
                shown[side] = tick
            other = shown[1 - side]
            if other is not None and (other - shown[side]) * away >= 0:
                shown[1 - side] = best(1 - side, shown[side] - away)
        else:
            books[side].discard(tick)
            if shown[side] == tick:
                shown[side] = best(side, tick + away)
        raw = (max(books[0], default=None), min(books[1], default=None))
        out.append((shown[0], shown[1], *raw))
    return out


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 30) | st.integers(900, 1_100), st.booleans()), max_size=60
    )
)
def test_the_book_is_that_of_plain_dictionaries(rows):
    from bt_framework.data import _scan

    best = np.full((3, 2), _scan.NONE, np.int64)
    best[_scan.COUNT] = 0
    tags = np.full((2, _scan.SLOTS), _scan.NONE, np.int64)
    groups = np.zeros((2, _scan.SLOTS // _scan.PER_GROUP), np.int64)
    stats = record(_scan.STATS, tick_size=1.0)
    for name in ("batch_ts", "trade_low_ticks", "trade_high_ticks"):
        stats[name] = _scan.NONE
    for (side, tick, filled), expected in zip(rows, reference_touch(rows), strict=True):
        flag = EventFlag.SELL if side else EventFlag.BUY
        row = np.array([level(0, flag, float(tick + 1), float(filled))], EVENT)
        _scan.scan_rows(row, stats, best, tags, groups)
        found = [None if t == _scan.NONE else int(t) - 1 for t in best[: _scan.COUNT].ravel()]
        assert tuple(found) == expected
    assert groups.sum() == (tags != _scan.NONE).sum() == best[_scan.COUNT].sum()


@pytest.mark.parametrize("mode", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_the_doctor_says_the_same_without_the_jit_and_with_bounds_checks(mode, tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_doctor import *;"
        "events = off_tick(3)[:6_000]; clock_behind(events); rows_without_flags(events);"
        "events['px'][1_000:1_100] = 990.0;"
        "print(examine(events, UNKNOWN))"
    )
    outs = [
        subprocess.run(
            [sys.executable, "-c", script, os.path.dirname(__file__)],
            env={**os.environ, "BT_CACHE_DIR": str(tmp_path), mode: on},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for on in ("0", "1")
    ]
    assert "crossed book" in outs[0]
    assert outs[0] == outs[1]
