"""What is kept of the pairs of a screening: parameters as of each test date, and spread series."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.research.screen import Progress, Screening
from bt_framework.research.settings import Spreads
from bt_framework.research.spreads import spread_table, spread_values, write_spread
from bt_framework.research.universe import instant
from bt_framework.research.windows import Window
from bt_framework.stats.kalman_fit import fit_kalman
from bt_framework.stats.ou import OuStatus, fit_ou
from bt_framework.stores.research import KalmanParams, OuParams
from bt_framework.units import NS_PER_S

_ROWS_AT_ONCE = 500


@dataclass
class Followed:
    """What was kept of a screening.

    Attributes
    ----------
    pairs : list of str
        Ids of the pairs that are followed.
    ou, kalman : int
        Sets of parameters kept; each pair and test date gives up to two, one per side that is explained.
    spreads : int
        Series kept.
    refused : dict of str to int
        How many could not be estimated, by reason.
    """

    pairs: list[str] = field(default_factory=list)
    ou: int = 0
    kalman: int = 0
    spreads: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, why: str) -> None:
        """Count what could not be estimated."""
        self.refused[why] = self.refused.get(why, 0) + 1


def follow(screening: Screening, progress: Progress) -> Followed:
    """Keep parameters and spreads of the pairs that `screening`, which has run, says.

    Raises
    ------
    StorageError
        If a store cannot be written.
    """
    kept = Followed()
    rows = list(screening.followed())
    kept.pairs = list(dict.fromkeys(row["pair_id"] for _, row in rows))
    series = [] if screening.config.spreads is Spreads.none else kept.pairs
    total = len(rows) + len(series)
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        _keep_parameters(
            screening, rows[at : at + _ROWS_AT_ONCE], kept, partial(_advance, progress, at, total)
        )
    for done, pair_id in enumerate(series):
        _keep_spread(screening, pair_id, kept)
        progress(len(rows) + done + 1, total)
    return kept


def _keep_parameters(
    screening: Screening,
    rows: Sequence[tuple[Window, dict[str, Any]]],
    kept: Followed,
    progress: Callable[[int], None],
) -> None:
    """Keep parameters of pairs and test dates, both sides, of prices as they were traded at the end of the window.

    Where the universe begins is arbitrary: prices that are comparable with its first bar's would fit only those who
    begin there too.
    """
    ou: list[OuParams] = []
    kalman: list[KalmanParams] = []
    for done, (window, row) in enumerate(rows):
        times, sides = _observed(screening, row["pair_id"], window.rows)
        factors = [
            screening.universe.factor_at(c, window.end_ts) for c in screening.columns_of(row["pair_id"])
        ]
        for way, (y_symbol, y, x), scales in zip(("ab", "ba"), sides, (factors, factors[::-1]), strict=True):
            shared = _shared(screening, window, row, times) | {"y_symbol": y_symbol}
            hedge_ratio, intercept = row[f"{way}_hedge_ratio"], row[f"{way}_intercept"]
            if screening.config.log:
                y, x = y - math.log(scales[0]), x - math.log(scales[1])
                intercept += hedge_ratio * math.log(scales[1]) - math.log(scales[0])
            else:
                y, x = y / scales[0], x / scales[1]
                hedge_ratio, intercept = hedge_ratio * scales[1] / scales[0], intercept / scales[0]
            ou += _ou(y - intercept - hedge_ratio * x, shared, hedge_ratio, intercept, kept)
            kalman += _kalman(x, y, shared, kept)
        progress(done + 1)
    screening.store.put_ou_params(ou)
    screening.store.put_kalman_params(kalman)
    kept.ou += len(ou)
    kept.kalman += len(kalman)


def _advance(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _ou(
    spread: np.ndarray, shared: dict[str, Any], hedge_ratio: float, intercept: float, kept: Followed
) -> Iterator[OuParams]:
    """Yield the process of `spread` if it reverts."""
    fit = fit_ou(spread, shared["dt_s"])
    if fit.status is not OuStatus.OK:
        kept.refuse(f"Ornstein-Uhlenbeck: {fit.status.name.lower().replace('_', ' ')}")
        return
    names = ("theta", "mu", "sigma", "stationary_sd", "half_life_s")
    yield OuParams(
        **shared, hedge_ratio=hedge_ratio, intercept=intercept, **{name: getattr(fit, name) for name in names}
    )


def _kalman(x: np.ndarray, y: np.ndarray, shared: dict[str, Any], kept: Followed) -> Iterator[KalmanParams]:
    """Yield the filter after the window, with variances of greatest likelihood over it."""
    try:
        fit = fit_kalman(x, y)
    except ValueError as error:
        kept.refuse(f"Kalman: {error}")
        return
    state = fit.filter.get_state()
    names = ("intercept", "hedge_ratio", "p00", "p01", "p11", "log_likelihood")
    noise = {name: getattr(fit, name) for name in ("q_intercept", "q_slope", "r")}
    values: dict[str, Any] = {name: state[name] for name in names} | noise
    yield KalmanParams(**shared, **values)


def _keep_spread(screening: Screening, pair_id: str, kept: Followed) -> None:
    """Keep the series of one pair over all bars."""
    config, universe = screening.config, screening.universe
    times, ((y_symbol, y, x), _) = _observed(screening, pair_id, slice(None))
    try:
        values = spread_values(y, x, config.spreads, config.hedge_window)
    except ValueError as error:
        kept.refuse(f"spread: {error}")
        return
    how = {
        "source": universe.source,
        "y_symbol": y_symbol,
        "method": config.spreads.name,
        "window": config.hedge_window,
        "log": config.log,
        "adjust": config.adjust.name,
    }
    write_spread(Path(config.store_dir), config.source, pair_id, spread_table(pair_id, times, values), how)
    kept.spreads += 1


def _observed(
    screening: Screening, pair_id: str, rows: slice
) -> tuple[np.ndarray, list[tuple[str, np.ndarray, np.ndarray]]]:
    """Return the times of bars in which both symbols have a price, and (y's symbol, y, x), a explained first."""
    universe = screening.universe
    a, b = screening.columns_of(pair_id)
    prices = universe.prices[rows][:, [a, b]]
    there = np.isfinite(prices).all(axis=1)
    first, second = prices[there, 0], prices[there, 1]
    sides = [(universe.symbols[a], first, second), (universe.symbols[b], second, first)]
    return universe.times_ns[rows][there], sides


def _shared(screening: Screening, window: Window, row: dict[str, Any], times: np.ndarray) -> dict[str, Any]:
    """Return what parameters say of themselves."""
    return {
        "source": row["source"],
        "pair_id": row["pair_id"],
        "as_of": row["as_of"],
        "window_start": instant(window.start_ts),
        "window_end": row["window_end"],
        "interval_ns": row["interval_ns"],
        "log_prices": screening.config.log,
        "adjust": screening.config.adjust.name,
        "dt_s": float(times[-1] - times[0]) / (len(times) - 1) / NS_PER_S,
        "observations": len(times),
    }
