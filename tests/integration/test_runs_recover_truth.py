"""What the synthetic pair was made with is found again, from what a strategy sees of it.

The mids that arrive are sampled every five seconds: the spread of log mids with the true hedge ratio is the OU process
plus the error of mids that follow their fair prices late (0.1 s on average, not at the same time) and in ticks. That
error is 2 volatility^2 0.1 s = 5e-8, against 2.5e-6 of the spread's own change in five seconds: 2 % of its variance,
1 % of sigma, which the bounds must bear. At one second it would be 3 % of sigma, and outside of them.

Bounds are of 99.9 %, so that the sixteen of four seeds hold together with 98 % at least (Bonferroni):

- theta and sigma: normal bounds of the maximum-likelihood fit, theta around its bias-corrected estimate
  (`bt_framework.stats.ou.OuFit.bounds`);
- hedge ratio by ordinary least squares in levels: residuals are AR(1), so the variance of the slope is the textbook
  one times the sums of the autocorrelations (a Newey-West variance with a lag of many half-lives);
- hedge ratio by Kalman filter without drift: the same regression, seen online; it ends within the same bounds.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from bt_framework.data.store import EventStore
from bt_framework.records import EventFlag, record
from bt_framework.stats.kalman import KALMAN, kalman_reset, kalman_update
from bt_framework.stats.ou import fit_ou
from bt_plugins.data.synthetic_pair import SyntheticPair, build

SEEDS = (1, 2, 3, 4)
LEVEL = 0.999
QUANTILE = NormalDist().inv_cdf(0.5 + LEVEL / 2)
DT_S = 5.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    """Event store of this file."""
    return EventStore(tmp_path_factory.mktemp("store"))


def sampled_log_mids(store: EventStore, config: SyntheticPair) -> Any:
    """Log mids of both legs on a grid of local time, array of shape (2, n)."""
    legs = []
    for feed in store.load_all(build(config).feeds(), announce=lambda text: None):
        events = feed.open()
        best = {}
        for flag, name in ((EventFlag.BUY, "bid"), (EventFlag.SELL, "ask")):
            best[name] = best_px(events, int(flag), sign=1 if name == "bid" else -1)
        times, bid_px, ask_px = best["bid"][0], best["bid"][1], best["ask"][1]
        grid = config.start_ts + np.arange(1, int(config.duration_ns) // int(DT_S * 1e9)) * int(DT_S * 1e9)
        at = np.searchsorted(times, grid, "right") - 1
        legs.append(np.log((bid_px[at] + ask_px[at]) / 2))
    return np.array(legs)


def best_px(events: Any, side: int, sign: int) -> tuple[Any, Any]:
    """Best price of one side after each row, by an ordinary dictionary of levels: (local times, prices)."""
    levels: dict[float, float] = {}
    prices = np.empty(len(events))
    last = math.nan
    for row, (ev, px, qty) in enumerate(
        zip(events["ev"].tolist(), events["px"].tolist(), events["qty"].tolist(), strict=True)
    ):
        if ev & side and ev & 0xFF in (1, 4):
            if qty > 0:
                levels[px] = qty
            else:
                levels.pop(px, None)
            last = sign * max(
                (sign * p for p in levels), default=sign * last
            )  # an empty side keeps its last price
        prices[row] = last
    return events["local_ts"], prices


def slope_and_error(x: Any, y: Any, lags: int) -> tuple[float, float]:
    """Least-squares slope of y on x, and its Newey-West standard error."""
    u = x - x.mean()
    slope = float(u @ (y - y.mean()) / (u @ u))
    moments = u * (y - y.mean() - slope * u)
    variance = float(moments @ moments)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1)) * float(moments[lag:] @ moments[:-lag])
    return slope, math.sqrt(variance) / float(u @ u)


@pytest.mark.parametrize("seed", SEEDS)
def test_theta_sigma_and_hedge_ratio_are_within_their_bounds(store: EventStore, seed: int) -> None:
    config = SyntheticPair(
        seed=seed, duration_ns="2h", quotes_per_s=10.0, trades_per_s=0.5, tick_size=[0.01, 0.1], levels=2
    )
    a, b = sampled_log_mids(store, config)
    fit = fit_ou(a - config.hedge_ratio * b, DT_S)
    found = {name: fit.bounds(name, LEVEL) for name in ("theta", "sigma")}
    for name, (low, high) in found.items():
        assert low < getattr(config, name) < high, (name, low, high)
    # The bounds say something: they are within a third of the truth.
    assert found["theta"][1] - found["theta"][0] < 0.6 * config.theta
    assert found["sigma"][1] - found["sigma"][0] < 0.2 * config.sigma
    slope, error = slope_and_error(b, a, lags=24)
    assert abs(slope - config.hedge_ratio) < QUANTILE * error, (slope, error)
    assert QUANTILE * error < 0.2
    filtered = record(KALMAN)
    kalman_reset(filtered, 0.0, 1.0, 1.0, 1.0)
    for x, y in zip(b - b[0], a - a[0], strict=True):
        kalman_update(filtered, x, y, 0.0, 0.0, (config.sigma / math.sqrt(2 * config.theta)) ** 2)
    assert abs(filtered.hedge_ratio - config.hedge_ratio) < QUANTILE * error


def test_the_wrong_truth_is_outside_of_the_bounds(store: EventStore) -> None:
    config = SyntheticPair(
        seed=1, duration_ns="2h", quotes_per_s=10.0, trades_per_s=0.5, tick_size=[0.01, 0.1], levels=2
    )
    a, b = sampled_log_mids(store, config)
    fit = fit_ou(a - config.hedge_ratio * b, DT_S)
    for name in ("theta", "sigma"):
        low, high = fit.bounds(name, LEVEL)
        assert not low < 1.6 * getattr(config, name) < high
