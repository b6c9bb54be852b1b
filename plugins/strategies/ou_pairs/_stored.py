"""Parameters of a pair that earlier work has stored, as the strategy's state before the first sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.errors import ConfigError, DataError
from bt_framework.stats.thresholds import Thresholds, bertram, leung_li
from bt_framework.stores.research import KalmanParams, OuParams, ResearchStore, pair_of
from bt_framework.units import format_duration_ns
from bt_plugins.strategies.ou_pairs import OuPairs, ThresholdMethod
from bt_plugins.strategies.ou_pairs._levels import SECONDS_PER_YEAR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stored:
    """The filter and the process of a pair, of log prices, as they were known before the run."""

    kalman: KalmanParams
    ou: OuParams
    levels: Mapping[str, float]

    @property
    def taken(self) -> dict[str, Any]:
        """What was taken, JSON types."""
        return {"kalman_params": _plain(asdict(self.kalman)), "ou_params": _plain(asdict(self.ou))}

    @property
    def params(self) -> dict[str, float]:
        """The filter's variances, and no warm-up."""
        return {
            "intercept_drift_sd": math.sqrt(self.kalman.q_intercept),
            "hedge_ratio_drift_sd": math.sqrt(self.kalman.q_slope),
            "observation_sd": math.sqrt(self.kalman.r),
            "warmup": 0,
        }

    def fill(self, state: np.record) -> None:
        """Set what a run without stored parameters learns in its warm-up; prices stay logarithms as they are."""
        for name in ("intercept", "hedge_ratio", "p00", "p01", "p11"):
            setattr(state.kalman, name, getattr(self.kalman, name))
        state.hedge_ratio, state.mu = self.ou.hedge_ratio, self.ou.intercept + self.ou.mu
        state.stationary_sd, state.half_life_s = self.ou.stationary_sd, self.ou.half_life_s
        for name, value in self.levels.items():
            setattr(state, name, value)
        state.armed = state.ready = 1
        known_us = (self.kalman.as_of - _EPOCH) // timedelta(microseconds=1)
        state.news_from_ts = known_us * 1_000 + self.kalman.interval_ns


def stored_parameters(
    config: OuPairs, store_dir: Path, symbols: Sequence[str], start_ts: int, data_start_ts: int
) -> Stored:
    """Return the newest parameters of the pair that were known at `start_ts`, the first symbol being y.

    They are of prices as traded at the end of their window; those of the run may be comparable with the first ones of
    its data, at `data_start_ts`, so that no corporate action may lie between.

    Raises
    ------
    ConfigError
        If they are of another time between samples.
    DataError
        If there are none, no trade can be based on them, or a corporate action lies between their prices and the
        run's.
    """
    store = ResearchStore.in_folder(store_dir)
    pair_id, *_ = pair_of(*symbols)
    known_at = _EPOCH + timedelta(microseconds=start_ts // 1_000)
    narrower = {"y_symbol": symbols[0], "log_prices": True}
    if config.stored_source:
        narrower["source"] = config.stored_source
    kalman = store.kalman_params(pair_id, known_at, **narrower)
    if kalman is not None:
        narrower |= {key: getattr(kalman, key) for key in ("source", "interval_ns", "adjust")}
    ou = store.ou_params(pair_id, known_at, **narrower)
    if kalman is None or ou is None:
        raise DataError(
            f"{store.name} must have Kalman and OU parameters of {pair_id} (log prices, y = {symbols[0]}) that were "
            f"known at {known_at.isoformat()}, had none. Screen the pair up to then, or choose "
            "strategy.warm_start=none."
        )
    for params in (kalman, ou):
        if config.sample_ns and config.sample_ns != params.interval_ns:
            raise ConfigError(
                f"sample_ns must be {format_duration_ns(params.interval_ns)}, as the stored parameters of {pair_id} "
                f"are per bar of that, was {format_duration_ns(int(config.sample_ns))}."
            )
    if not (ou.theta > 0 and ou.stationary_sd > 0):
        raise DataError(
            f"the stored OU process of {pair_id} of {ou.as_of.isoformat()} must revert, had theta {ou.theta}. "
            "Choose strategy.warm_start=none."
        )
    for of in (kalman, ou):
        _refuse_actions_since(store, symbols, of, known_at)
    data_start = _EPOCH + timedelta(microseconds=data_start_ts // 1_000)
    for action in store.actions(symbols, source=kalman.source).to_pylist():
        if data_start.date() < action["ex_date"] <= kalman.window_end.date():
            raise DataError(
                f"the stored parameters of {pair_id} are of prices after the {action['kind']} of {action['symbol']} on "
                f"{action['ex_date']}, but the data begin on {data_start.date()}, before it. Begin the data at the "
                "start, data.start instead of start, or choose strategy.warm_start=none."
            )
    return Stored(kalman, ou, _levels(config, ou))


def _refuse_actions_since(
    store: ResearchStore, symbols: Sequence[str], params: KalmanParams | OuParams, known_at: datetime
) -> None:
    """Refuse parameters of prices that are not comparable with those at the start."""
    for action in store.actions(symbols, source=params.source).to_pylist():
        if params.window_end.date() < action["ex_date"] <= known_at.date():
            raise DataError(
                f"the stored parameters of {params.pair_id} of {params.as_of.isoformat()} are of prices before the "
                f"{action['kind']} of {action['symbol']} on {action['ex_date']}. Screen the pair again up to the "
                "start, or choose strategy.warm_start=none."
            )


def _levels(config: OuPairs, ou: OuParams) -> dict[str, float]:
    """Entry and exit by the stored process, where they follow the estimates."""
    levels: Thresholds
    cost = config.cost_bps * 1e-4
    if config.thresholds is ThresholdMethod.z:
        return {}
    if config.thresholds is ThresholdMethod.bertram:
        levels = bertram(ou.theta, 0.0, ou.sigma, cost)
    else:
        rate = config.discount_rate / SECONDS_PER_YEAR
        levels = leung_li(ou.theta, 0.0, ou.sigma, (0.5 * cost, 0.5 * cost), (rate, rate))
    if not (levels.status == 0 and 0.0 < -levels.long_entry_z < config.stop_z):
        raise DataError(
            f"thresholds={config.thresholds.name} must have levels below stop_z for the stored process of "
            f"{ou.pair_id}, was {levels.status.name}, {-levels.long_entry_z:g} sd. Lower strategy.cost_bps."
        )
    return {"entry_z": -levels.long_entry_z, "exit_z": -levels.long_exit_z}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in values.items()}
