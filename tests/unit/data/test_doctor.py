"""The doctor: every class of defect that is put into clean events is found, and none where there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.data.doctor import Doctor, Finding, Severity, grade, line, refuse_fatal
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
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


def quantity_is_negative(events: np.ndarray) -> None:
    events["qty"][500] = -1.0


def trade_of_nothing(events: np.ndarray) -> None:
    events["qty"][first_trade(events, 500)] = 0.0


def first_trade(events: np.ndarray, start: int) -> int:
    return start + int(np.argmax((events["ev"][start:] & np.uint64(0xFF)) == EventKind.TRADE))


def late_by_a_minute(events: np.ndarray) -> None:
    events["exch_ts"] -= 60 * NS_PER_S
    events["exch_ts"][1_000:] += 60 * NS_PER_S


def pause_of_ten_seconds(events: np.ndarray) -> None:
    events["exch_ts"][1_000:] += 10 * NS_PER_S
    events["local_ts"][1_000:] += 10 * NS_PER_S


def one_trade_far_off(events: np.ndarray) -> None:
    events["px"][first_trade(events, 1_000)] += 70.0


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
        (quantity_is_negative, "negative sizes", "fatal", 1, 500),
        (trade_of_nothing, "zero sizes", "warn", 1, None),
        (late_by_a_minute, "implausible feed latency", "warn", 1_000, 0),
        (pause_of_ten_seconds, "gaps", "warn", 1, None),
        (one_trade_far_off, "trade price spikes", "warn", 1, None),
    ],
)
@pytest.mark.parametrize("block_rows", [1, 333, 100_000])
def test_each_defect_is_found_and_placed(
    damage: Callable, check: str, severity: str, count: int | None, first_index: int | None, block_rows: int
):
    events = clean_events(300)
    damage(events)
    found = {f.check: f for f in examine(events, block_rows=block_rows)}
    assert set(found) - {check} <= {"crossed book", "half-empty book"}
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


ONES = KnownSizes(1.0, 1.0, 1.0, "config", "config")


def found_in(rows: list[tuple], report: FeedReport | None = None) -> dict[str, Finding]:
    return {f.check: f for f in examine(np.array(rows, EVENT), ONES, report)}


def test_crossed_and_locked_books_are_counted_in_episodes_and_timed():
    buy, sell = EventFlag.BUY, EventFlag.SELL
    rows = [
        level(0, buy, 100.0, 1),
        level(0, sell, 101.0, 1),
        level(10, buy, 101.0, 1),  # locked until 20
        level(20, buy, 102.0, 1),  # crossed until 30
        level(30, buy, 102.0, 0),
        level(30, buy, 101.0, 0),
        level(40, sell, 99.0, 1),  # crossed until 45
        level(45, sell, 99.0, 0),
        level(50, buy, 101.0, 1),  # crossed only within a batch
        level(50, sell, 101.0, 0),
        level(50, sell, 102.0, 1),
    ]
    found = found_in(rows)
    crossed, locked = found.pop("crossed book"), found.pop("locked book")
    assert set(found) == {"one clock"}
    assert (crossed.severity, crossed.count, crossed.first_index, crossed.frac) == ("fatal", 2, 3, 0.3)
    assert crossed.detail == (
        "best bid above best ask for 15ns, 30 % of the time, after 28.6 % of the updates;"
        " repair=true withholds what is crossed"
    )
    assert (locked.severity, locked.count, locked.first_index) == ("warn", 1, 2)
    assert locked.detail == "best bid equal to best ask for 10ns, 20 % of the time"


def crossed_for(ns: int) -> list[tuple]:
    """A book of 1,000 s and 200 updates that is crossed once, for so long."""
    buy, sell = EventFlag.BUY, EventFlag.SELL
    rows = [level(0, buy, 100.0, 1), level(0, sell, 101.0, 1)]
    rows += [level(i * 5 * NS_PER_S, buy, 99.0, 1 + i) for i in range(1, 200)]
    rows += [level(503 * NS_PER_S, buy, 101.0 + 1, 1), level(503 * NS_PER_S + ns, buy, 102.0, 0)]
    return sorted([*rows, level(1_000 * NS_PER_S, sell, 105.0, 1)], key=lambda row: row[1])


@pytest.mark.parametrize(("seconds", "severity"), [(1.0, "warn"), (16.0, "warn"), (21.0, "fatal")])
def test_a_book_that_is_crossed_for_a_fiftieth_of_the_time_is_refused(seconds, severity):
    found = found_in(crossed_for(int(seconds * NS_PER_S)))
    assert found["crossed book"].severity == severity


def test_a_book_is_not_crossed_while_the_market_is_closed():
    closed = [[500 * NS_PER_S, 600 * NS_PER_S]]
    found = found_in(crossed_for(90 * NS_PER_S), FeedReport(notes={"closed_phases": closed}))
    assert "crossed book" not in found
    phase = found["auction phases"]
    assert (phase.severity, phase.count) == ("info", 1)
    assert phase.detail == "the market was closed for 100s; nobody trades then"
    half = FeedReport(notes={"closed_phases": [[500 * NS_PER_S, 530 * NS_PER_S]]})
    assert "for 63s" in found_in(crossed_for(90 * NS_PER_S), half)["crossed book"].detail


def test_a_book_that_is_crossed_for_long_without_a_trade_is_an_auction():
    trade = (EventFlag.EXCH | EventFlag.LOCAL | EventFlag.BUY | EventKind.TRADE,)
    before = [(*trade, NS_PER_S, NS_PER_S, 101.0, 1.0, 0, 0, 0.0)]
    during = [(*trade, 550 * NS_PER_S, 550 * NS_PER_S, 101.0, 1.0, 0, 0, 0.0)]
    crossed = crossed_for(90 * NS_PER_S)
    found = found_in(sorted(crossed + before, key=lambda row: row[1]))
    phase = found["auction phases"]
    assert (phase.severity, phase.count) == ("warn", 1)
    assert "crossed for 90s without a trade" in phase.detail
    assert "crossed book" not in found
    assert found_in(sorted(crossed + during, key=lambda row: row[1]))["crossed book"].severity == "fatal"
    assert found_in(crossed)["crossed book"].severity == "fatal"


def test_a_book_with_one_side_missing_is_timed_but_not_while_it_fills_up():
    buy, sell = EventFlag.BUY, EventFlag.SELL
    rows = [
        level(0, buy, 100.0, 1),
        level(10, sell, 101.0, 1),
        level(20, sell, 101.0, 0),  # no asks until 45
        level(45, sell, 101.0, 1),
        level(60, buy, 99.0, 1),
    ]
    half = found_in(rows)["half-empty book"]
    assert (half.severity, half.count, half.first_index) == ("warn", 1, 2)
    assert half.detail == "one side has no level for 25ns, 41.7 % of the time"
    assert "half-empty book" not in found_in(rows[:2])
    assert "for 60ns" in found_in([rows[0], rows[-1]])["half-empty book"].detail


def test_a_mid_that_jumps_and_comes_back_is_a_spike_and_one_that_stays_is_not():
    buy, sell = EventFlag.BUY, EventFlag.SELL

    def quote(ts: int, before: float, mid: float) -> list[tuple]:
        gone = [level(ts, buy, before - 1, 0), level(ts, sell, before + 1, 0)]
        return [*gone, level(ts, buy, mid - 1, 1), level(ts, sell, mid + 1, 1)]

    def path(mids: list[float]) -> list[tuple]:
        before = [mids[0], *mids]
        return [row for i, mid in enumerate(mids) for row in quote(i * NS_PER_MS, before[i], mid)]

    quiet = [10_000.0 + i % 3 for i in range(20)]
    assert "mid price spikes" not in found_in(path([*quiet, *[10_900.0 + i % 3 for i in range(20)]]))
    spike = found_in(path([*quiet, 10_900.0, *quiet]))["mid price spikes"]
    assert (spike.severity, spike.count, spike.first_index) == ("warn", 1, 80)
    assert spike.detail == "one mid price up to 8.99 % off, then back"


def test_one_clock_and_made_up_clocks_are_said():
    same, later = clean_events(100), clean_events(100)
    same["local_ts"] = same["exch_ts"]
    later["local_ts"] = later["exch_ts"] + NS_PER_MS
    for events, told in ((same, "are the same"), (later, "differ by 1ms throughout")):
        (finding,) = examine(events)
        assert (finding.check, finding.severity) == ("one clock", "info")
        assert finding.detail == f"exchange and local time {told}: feed latency is not in the data"
    whole = clean_events(100, step_ns=NS_PER_S)
    whole["local_ts"] = whole["exch_ts"]
    assert [f.check for f in examine(whole)] == ["one clock", "clock of whole seconds"]
    (finding,) = examine(clean_events(100), report=FeedReport(notes={"clock": "synthetic"}))
    assert finding.check == "synthetic clock"


def test_a_market_that_closes_every_day_has_no_gaps():
    days = []
    for day in range(5):
        events = clean_events(400)
        for clock in ("exch_ts", "local_ts"):
            events[clock] += day * 86_400 * NS_PER_S
        days.append(events)
    found = {f.check: f for f in examine(np.concatenate(days))}
    assert (found["session breaks"].severity, found["session breaks"].count) == ("info", 4)
    assert "gaps" not in found
    two = {f.check: f for f in examine(np.concatenate([days[0], days[4]]))}
    assert (two["gaps"].severity, two["gaps"].count) == ("warn", 1)


def test_a_market_that_gets_quiet_has_no_gaps():
    busy, quiet = clean_events(8_000), clean_events(40, step_ns=20 * NS_PER_S)
    for clock in ("exch_ts", "local_ts"):
        quiet[clock] += 8 * NS_PER_S
    removed = busy[(busy["ev"] & np.uint64(0xFF)) != EventKind.TRADE]
    removed["qty"] = 0.0
    removed["exch_ts"] = removed["local_ts"] = quiet["exch_ts"][0]
    events = np.concatenate([busy, removed, quiet])
    found = {f.check: f for f in examine(events)}
    assert found["gaps"].count == 2  # of 40 pauses of 20 s; then the mean pause has followed


@pytest.mark.parametrize(
    ("start_s", "end_s", "detail"),
    [
        (-30, 30, None),
        (-3_600, 30, "starts 1h later than the file announces"),
        (
            -3_600,
            7_200,
            "starts 1h later than the file announces and ends 2h earlier than the file announces",
        ),
    ],
)
def test_a_day_that_is_not_all_there_is_truncated(start_s, end_s, detail):
    events = clean_events(300, step_ns=100 * NS_PER_MS)
    first_ts, last_ts = int(events["local_ts"][0]), int(events["local_ts"][-1])
    span = [first_ts + start_s * NS_PER_S, last_ts + end_s * NS_PER_S]
    found = {f.check: f for f in examine(events, report=FeedReport(notes={"announced_span": span}))}
    if detail is None:
        assert found == {}
    else:
        truncated = found["truncated day"]
        assert (truncated.severity, truncated.detail) == ("warn", detail)


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
    assert serious(doctor.findings(FeedReport(), None)) == []
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
        duplicates=4,
        dropped={"malformed": 2, "bookTicker": 9},
        first_problem="raw.gz line 7",
    )
    findings = examine(clean_events(100), report=report)
    assert serious(findings) == [
        ("sequence gaps", "warn", 3, -1),
        ("duplicate updates", "warn", 4, -1),
        ("dropped rows", "warn", 2, -1),
    ]
    assert findings[0].detail == "1,200 updates are missing; the book may be stale after each"
    assert findings[2].detail == "malformed; first: raw.gz line 7"
    assert grade(findings) == "warn"
    assert line("TEST", findings) == "TEST: warn (sequence gaps 3, duplicate updates 4, dropped rows 2)"


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
    assert findings[0].check == "inferred size"
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
        assert "crossed book" not in {f.check for f in doctor.findings(FeedReport(), None)}
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
    from bt_framework.data import _book

    doctor = Doctor(KnownSizes(1.0, 1.0, 1.0, "config", "config"))
    best, tags, groups, _ = doctor.book
    for (side, tick, filled), expected in zip(rows, reference_touch(rows), strict=True):
        flag = EventFlag.SELL if side else EventFlag.BUY
        doctor.examine(np.array([level(0, flag, float(tick + 1), float(filled))], EVENT))
        found = [None if t == _book.NONE else int(t) - 1 for t in best[: _book.COUNT].ravel()]
        assert tuple(found) == expected
    assert groups.sum() == (tags != _book.NONE).sum() == best[_book.COUNT].sum()
