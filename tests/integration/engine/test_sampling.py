"""What is due at a wake-up, and which book is new: the same compiled and plain, in both forms of the book."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sampling_kernels as sk

from bt_framework.engine.models import (
    ExchangeKind,
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.engine.plain import PlainWakes, plain_kernels
from bt_framework.engine.program import KernelSet, build_program
from bt_framework.engine.rules import rule_state
from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, Session
from bt_framework.engine.strategy import Kernels, Strategy, numbers_record, timer_of
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

INTERVALS_NS = [5 * MS, 10 * MS, 35 * MS]
END_MS = 120
FORMS = pytest.mark.parametrize(
    ("plain", "roi"),
    [(plain, roi) for plain in (False, True) for roi in (False, True)],
    ids=lambda flag: "yes" if flag else "no",
)


class Sampler(Strategy):
    """Wakes at a timer, at feeds, or at both."""

    def __init__(self, *, timer: bool, book: bool) -> None:
        self.timer_ns = timer_of(*INTERVALS_NS) if timer else 0
        self.kernels = Kernels(
            on_timer="sampling_kernels:on_timer" if timer else None,
            on_book="sampling_kernels:on_book" if book else None,
        )
        self.notes = np.zeros(1, sk.STATE).view(np.recarray)[0]

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        return numbers_record({"interval_ns": INTERVALS_NS})

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        return self.notes


def notes_of(feeds: Sequence[SmallFeed], *, plain: bool, roi: bool, timer: bool, book: bool) -> Any:
    """Run a sampler; each feed is of one instrument. Returns its notes, cut to the wake-ups."""
    strategy = Sampler(timer=timer, book=book)
    instruments = tuple(Instrument(f"TEST{at}", 0.5, 0.25) for at in range(len(feeds)))
    bounds: dict[str, Any] = {"low_px": 90.0, "high_px": 110.0} if roi else {}
    venue = (
        LatencyModel(MS, MS),
        QueueModel(QueueKind.RISK_AVERSE),
        ExchangeModel(ExchangeKind.NO_PARTIAL_FILL),
        FeeSchedule(),
    )
    markets = [Market(i, [f.events()], *venue, **bounds) for i, f in zip(instruments, feeds, strict=True)]
    wakes = PlainWakes(strategy, instruments) if plain else None
    kernels = plain_kernels(strategy) if plain else strategy.kernels
    params = numbers_record({"address": wakes.address}) if wakes else strategy.params(instruments)
    state = numbers_record({}) if wakes else strategy.state(instruments)
    program = build_program(KernelSet(kernels, [], "probe_kernels:one"))
    sizing = (rule_state(), rule_state())
    records = Records(params, state, np.zeros((1, 1)), (), sizing, numbers_record({}))
    clocking = Clocking(START_TS, START_TS + END_MS * MS, strategy.timer_ns, 1_000 * MS)
    session = Session(markets, program, clocking, records, AccountTerms(1_000.0), plain=wakes)
    try:
        for _ in session.slices(1_000):
            pass
    finally:
        session.close()
    count = int(strategy.notes.count)
    assert 0 < count < sk.NOTES
    return {name: strategy.notes[name][:count] for name in ("ts", "reason", "is_due", "update_ts")}


def feeds_of_two() -> list[SmallFeed]:
    """Books that change at times of their own, some of them common; seen 1 ms later. The second begins late."""
    first, second = SmallFeed(), SmallFeed()
    for at in (-5, 3, 4, 9, 19, 34, 41, 70, 99, 130):
        first.book(at * MS, bid_px=99.5, ask_px=100.5)
    for at in (14, 19, 28, 34, 69, 70, 130):
        second.trade(at * MS, 1, 100.0, 1.0) if at == 69 else second.book(at * MS, bid_px=95.0, ask_px=96.0)
    return [first, second]


@FORMS
def test_an_interval_is_due_on_its_grid_from_the_start_of_the_run(plain: bool, roi: bool) -> None:
    notes = notes_of(feeds_of_two(), plain=plain, roi=roi, timer=True, book=False)
    since_ms = (notes["ts"] - START_TS) // MS
    assert since_ms.tolist() == list(range(5, END_MS, 5))
    for place, interval_ns in enumerate(INTERVALS_NS):
        due_at = since_ms[notes["is_due"][:, place] == 1].tolist()
        assert due_at == list(range(interval_ns // MS, END_MS, interval_ns // MS))


@FORMS
def test_nothing_is_due_between_the_points_of_the_grid(plain: bool, roi: bool) -> None:
    notes = notes_of(feeds_of_two(), plain=plain, roi=roi, timer=False, book=True)
    since_ms = ((notes["ts"] - START_TS) // MS).tolist()
    # What arrives at 4, 5, 10, 15, 20, 29, 35, 42, 70, 71 and 100 ms.
    due = {ms: flags for ms, flags in zip(since_ms, notes["is_due"].tolist(), strict=True)}
    assert due == {
        4: [0, 0, 0],
        5: [1, 0, 0],
        10: [1, 1, 0],
        15: [1, 0, 0],
        20: [1, 1, 0],
        29: [0, 0, 0],
        35: [1, 0, 1],
        42: [0, 0, 0],
        70: [1, 1, 1],
        71: [0, 0, 0],
        100: [1, 1, 0],
    }


@FORMS
def test_a_book_says_when_it_was_updated_last(plain: bool, roi: bool) -> None:
    feeds = feeds_of_two()
    notes = notes_of(feeds, plain=plain, roi=roi, timer=True, book=True)
    for asset, feed in enumerate(feeds):
        times = feed.events()["local_ts"]
        for now_ts, seen_ts in zip(notes["ts"], notes["update_ts"][:, asset], strict=True):
            known = times[times <= now_ts]
            assert seen_ts == (known[-1] if len(known) else 0)


@FORMS
def test_updates_of_one_time_wake_once_and_the_books_tell_which_they_are_of(plain: bool, roi: bool) -> None:
    notes = notes_of(feeds_of_two(), plain=plain, roi=roi, timer=False, book=True)
    since_ms = ((notes["ts"] - START_TS) // MS).tolist()
    is_new = (notes["update_ts"] == notes["ts"][:, None]).tolist()
    assert since_ms == [4, 5, 10, 15, 20, 29, 35, 42, 70, 71, 100]
    both, first, second = [True, True], [True, False], [False, True]
    assert is_new == [first, first, first, second, both, second, both, first, second, both, first]


def test_a_timer_of_several_intervals_is_the_shortest_of_them() -> None:
    assert timer_of(*INTERVALS_NS) == 5 * MS
    with pytest.raises(
        ConfigError, match="sampling intervals must be multiples of the shortest, 10 ns, was 15"
    ):
        timer_of(10, 15)
    with pytest.raises(ConfigError, match="must be multiples of the shortest, 0 ns"):
        timer_of(0, 15)
