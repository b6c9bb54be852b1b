"""The synthetic pair: sound books, a seed that decides everything, and parameters that can be found again."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from bt_framework.data.doctor import Doctor
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes
from bt_framework.errors import ConfigError
from bt_framework.records import EventFlag, EventKind
from bt_framework.units import NS_PER_MS, NS_PER_S
from bt_plugins.data.synthetic_pair import SyntheticPair, build


def ignore(done: int, total: int) -> None:
    pass


def events_of(config: SyntheticPair, leg: int, report: FeedReport | None = None) -> np.ndarray:
    feed = build(config).feeds()[leg]
    return np.concatenate([chunk.copy() for chunk in feed.chunks(report or FeedReport(), ignore)])


@pytest.fixture(scope="module")
def legs() -> list[np.ndarray]:
    return [events_of(SyntheticPair(), leg) for leg in (0, 1)]


def kinds(events: np.ndarray) -> np.ndarray:
    return events["ev"] & np.uint64(0xFF)


@pytest.mark.parametrize("leg", [0, 1])
def test_the_doctor_finds_nothing(legs, leg):
    config = SyntheticPair()
    doctor = Doctor(KnownSizes(config.tick_size[leg], config.lot_size[leg], 1.0, "config", "config"))
    doctor.examine(legs[leg])
    doctor.finish()
    assert doctor.findings(FeedReport(), doctor.spec(config.symbols[leg])) == []


@pytest.mark.parametrize("leg", [0, 1])
def test_prices_and_quantities_are_exact_decimals(legs, leg):
    config = SyntheticPair()
    for column, size in (("px", config.tick_size[leg]), ("qty", config.lot_size[leg])):
        values = legs[leg][column]
        decimals = max(0, -math.floor(math.log10(size)))
        assert (values == np.array([float(f"{v:.{decimals}f}") for v in values])).all()


def test_the_default_is_ten_minutes_and_a_few_hundred_thousand_events(legs):
    assert 200_000 < sum(len(events) for events in legs) < 400_000
    for events in legs:
        span_s = (events["exch_ts"][-1] - events["exch_ts"][0]) / NS_PER_S
        assert 590 < span_s < 600
        assert (kinds(events) == EventKind.TRADE).sum() > 1_000


@pytest.mark.parametrize("leg", [0, 1])
def test_the_book_is_never_crossed_not_even_between_two_rows(legs, leg):
    books: dict[bool, dict[float, float]] = {True: {}, False: {}}
    events = legs[leg][:20_000]
    buys = (events["ev"] & np.uint64(EventFlag.BUY)) != 0
    for kind, buy, px, qty in zip(kinds(events), buys, events["px"], events["qty"], strict=True):
        if kind == EventKind.TRADE:
            touch = min(books[False]) if buy else max(books[True])
            assert px == touch
            assert 0 < qty <= books[not buy][px]
            continue
        if qty > 0:
            books[buy][px] = qty
        else:
            del books[buy][px]
        assert not books[True] or not books[False] or max(books[True]) < min(books[False])


@pytest.mark.parametrize("leg", [0, 1])
def test_times_are_in_order_and_the_latency_is_as_configured(legs, leg):
    events = legs[leg]
    assert (np.diff(events["exch_ts"]) >= 0).all()
    assert (np.diff(events["local_ts"]) >= 0).all()
    latency = events["local_ts"] - events["exch_ts"]
    assert latency.min() >= 2 * NS_PER_MS
    assert 2.9 * NS_PER_MS < np.mean(latency) < 3.3 * NS_PER_MS


def test_a_seed_decides_every_bit(legs):
    assert events_of(SyntheticPair(), 0).tobytes() == legs[0].tobytes()
    assert events_of(SyntheticPair(seed=2), 0).tobytes() != legs[0].tobytes()


def test_a_longer_simulation_begins_like_a_shorter_one(legs):
    longer = events_of(SyntheticPair(duration_ns="11min"), 1)
    assert longer[: len(legs[1])].tobytes() == legs[1].tobytes()


def test_the_generator_says_the_same_without_the_jit():
    script = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); from test_synthetic_pair import *;"
        "events = events_of(SyntheticPair(duration_ns='3s'), 0);"
        "print(hashlib.sha256(events.tobytes()).hexdigest())"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", script, os.path.dirname(__file__)],
            env={**os.environ, "NUMBA_DISABLE_JIT": off},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    }
    assert len(outs) == 1


def mids(events: np.ndarray, ts: np.ndarray) -> np.ndarray:
    """Middle of the touch at each of `ts`, from books of plain dictionaries."""
    best = {}
    for flag, pick in ((EventFlag.BUY, np.maximum), (EventFlag.SELL, np.minimum)):
        rows = events[((events["ev"] & np.uint64(flag)) != 0) & (kinds(events) != EventKind.TRADE)]
        book: dict[float, float] = {}
        touch = np.empty(len(rows))
        for i, (px, qty) in enumerate(zip(rows["px"].tolist(), rows["qty"].tolist(), strict=True)):
            if qty > 0:
                book[px] = qty
            else:
                book.pop(px, None)
            touch[i] = (max(book) if pick is np.maximum else min(book)) if book else np.nan
        best[flag] = touch[np.searchsorted(rows["exch_ts"], ts, side="right") - 1]
    return (best[EventFlag.BUY] + best[EventFlag.SELL]) / 2


def test_theta_sigma_and_hedge_ratio_are_found_again():
    config = SyntheticPair(duration_ns="40min", seed=7)
    legs = [events_of(config, leg) for leg in (0, 1)]
    ts = np.arange(config.start_ts + NS_PER_S, config.start_ts + 2_400 * NS_PER_S, NS_PER_S)
    log_a, log_b = (np.log(mids(events, ts)) for events in legs)
    report = FeedReport()
    next(build(config).feeds()[0].chunks(report, ignore))
    truth = report.notes["truth"]
    spread = log_a - truth["intercept"] - truth["hedge_ratio"] * log_b
    phi, _ = np.polyfit(spread[:-1], spread[1:], 1)
    theta = -math.log(phi)
    theta_error = math.sqrt((math.exp(2 * theta) - 1) / len(ts))
    assert abs(theta - config.theta) < 3 * theta_error
    residual_sd = np.std(spread[1:] - phi * spread[:-1])
    sigma = residual_sd * math.sqrt(2 * theta / (1 - phi * phi))
    assert sigma == pytest.approx(config.sigma, rel=0.06)
    hedge_ratio = np.polyfit(np.diff(log_b), np.diff(log_a), 1)[0]
    hedge_error = config.sigma / config.volatility / math.sqrt(len(ts))
    assert abs(hedge_ratio - config.hedge_ratio) < 3 * hedge_error
    assert np.std(np.diff(log_b)) == pytest.approx(config.volatility, rel=0.06)


def test_both_legs_report_the_truth():
    report = FeedReport()
    next(build(SyntheticPair()).feeds()[1].chunks(report, ignore))
    truth = report.notes["truth"]
    assert (truth["theta"], truth["sigma"], truth["hedge_ratio"]) == (0.1, 8e-4, 0.8)
    assert truth["half_life_s"] == pytest.approx(6.931, abs=1e-3)
    assert truth["stationary_sd"] == pytest.approx(17.9e-4, rel=1e-3)


def test_no_trades_and_a_single_level_are_possible():
    events = events_of(SyntheticPair(duration_ns="20s", levels=1, trades_per_s=0.0, jitter_ns=0), 0)
    assert (kinds(events) != EventKind.TRADE).all()
    assert set(events["local_ts"] - events["exch_ts"]) == {2 * NS_PER_MS}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("theta", 0.0, r"theta must be > 0 and finite, was 0.0"),
        ("sigma", -1.0, r"sigma must be > 0 and finite, was -1.0"),
        ("duration_ns", "0s", r"duration_ns must be > 0 and finite, was 0"),
        ("duration_ns", "10", r"duration_ns has no unit, was '10'"),
        ("latency_ns", -5, r"latency_ns must be >= 0 and finite, was -5"),
        ("symbols", ["A"], r"symbols must be a list of two, one per leg, was \['A'\]"),
        ("symbols", ["A", "A"], r"symbols must be two different names, was \['A', 'A'\]"),
        ("tick_size", [0.1, 0.0], r"tick_size must be > 0 for both legs, was \[0.1, 0.0\]"),
        ("spread_ticks", 0, r"spread_ticks must be >= 1, was 0: the book would be locked"),
        ("levels", 0, r"levels must be between 1 and 1000, was 0"),
        ("trades_per_s", float("nan"), r"trades_per_s must be >= 0 and finite, was nan"),
        ("theta", float("inf"), r"theta must be > 0 and finite, was inf"),
        ("quotes_per_s", 1e300, r"quotes_per_s must be <= 1,000,000, was 1e\+300"),
        (
            "start_ts",
            9_200_000_000_000_000_000,
            r"duration_ns must end before the year 2262, was 600000000000",
        ),
    ],
)
def test_values_out_of_range_are_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        SyntheticPair(**{key: value})
