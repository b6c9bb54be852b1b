"""The estimates at every sample, computed once for all runs that differ in what they make of them only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.engine.strategy import numbers_record
from bt_framework.errors import StorageError
from bt_framework.features import RunFeatures, feature
from bt_framework.jit import cached_kernel
from bt_framework.records import record
from bt_plugins.strategies.ou_pairs._kernels import PATH_FIELDS, STATE, begin, learn

if TYPE_CHECKING:
    from bt_plugins.strategies.ou_pairs import OuPairs

_PARAMS = (
    "window",
    "warmup",
    "reestimate_every",
    "hedge_ratio_prior",
    "hedge_ratio_prior_sd",
    "intercept_prior_sd",
    "hedge_ratio_drift_sd",
    "intercept_drift_sd",
    "observation_sd",
)
_MOST_SAMPLES = 10_000_000


@cached_kernel
def fill_path(s: Any, w: Any, p: Any, prices: Any, steps: Any, path: Any) -> None:
    """Learn from each sample, and note the estimates after it.

    Parameters
    ----------
    s, p : record
        State and parameters of the strategy.
    w : float64 array of shape (2, window)
    prices : float64 array of shape (n_samples, 2), quote currency
    steps : (float, float, float)
        See `learn`.
    path : float64 array of shape (n_samples, PATH_FIELDS)
    """
    for i in range(len(prices)):
        px_0, px_1 = prices[i, 0], prices[i, 1]
        if i == 0:
            begin(s, p, math.log(px_0), math.log(px_1))
        s.refused = 0
        learn(s, w, p, (px_0, px_1), steps, None)
        row = path[i]
        row[0], row[1], row[2], row[3] = px_0, px_1, s.hedge_ratio, s.mu
        row[4], row[5], row[6], row[7] = s.stationary_sd, s.half_life_s, s.ready, s.refused


@feature("ou_pairs.path")
def estimates(inputs: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Estimates at each sample of ``mids_0`` and ``mids_1``, as the kernels' work array with the path in it.

    Parameters are those of the filter and the process by their names in the configuration, and ``steps``.
    """
    prices = np.column_stack([inputs["mids_0"], inputs["mids_1"]])
    prices = np.ascontiguousarray(prices[np.all(prices > 0, axis=1)])
    window = params["window"]
    path = np.zeros((len(prices), PATH_FIELDS))
    steps = tuple(float(step) for step in params["steps"])
    state = record(STATE)
    fill_path(
        state, np.zeros((2, window)), numbers_record({k: params[k] for k in _PARAMS}), prices, steps, path
    )
    work = np.zeros((2 + -(-path.size // window), window))
    work[2:].reshape(-1)[: path.size] = path.reshape(-1)
    return {"work": work, "samples": np.array([float(len(prices))])}


def path_of(config: OuPairs, features: RunFeatures) -> Mapping[str, np.ndarray] | None:
    """Return the path for a run; None if it would be too long to keep, or cannot be kept."""
    interval_ns = int(config.sample_ns)
    if (features.end_ts - features.start_ts) // interval_ns > _MOST_SAMPLES:
        return None
    inputs = {f"mids_{asset}": features.sampled_mids(asset, interval_ns) for asset in (0, 1)}
    ticks = [feed.tick_size for feed in features.feeds]
    params = {name: getattr(config, name) for name in _PARAMS} | {"steps": [*ticks, interval_ns / 1e9]}
    # The kernels compare its prices with those they see: it decides nothing, and they can do without.
    with suppress(StorageError):
        return features.cache.load(estimates, inputs, params)
    return None
