"""Rows of results between the kernel, the parts on disk and the research store."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from bt_framework.research.decisions import Decisions
from bt_framework.research.settings import Method
from bt_framework.research.universe import Universe, instant
from bt_framework.research.windows import Window
from bt_framework.stats.johansen import JohansenCase
from bt_framework.stats.pair_statistics import PAIR_STATISTICS, PairOptions, PairStatus, pair_statistics
from bt_framework.stores.research import pair_of

ROW = np.dtype([*PAIR_STATISTICS.descr, ("trend_trace_0", "f8"), ("trend_trace_p_0", "f8")])
"""`PAIR_STATISTICS` with an unrestricted constant in Johansen's test, and its trace test with a restricted trend."""

_ENGLE_GRANGER = {
    "t": "t",
    "p": "p",
    "hedge_ratio": "hedge_ratio",
    "intercept": "intercept",
    "half_life_bars": "half_life",
    "hurst": "hurst",
}
COLUMNS = {
    **{f"ab_{column}": f"{field}_first" for column, field in _ENGLE_GRANGER.items()},
    **{f"ba_{column}": f"{field}_second" for column, field in _ENGLE_GRANGER.items()},
    "johansen_hedge_ratio": "johansen_hedge_ratio",
    "trend_trace_0": "trend_trace_0",
    "trend_trace_p_0": "trend_trace_p_0",
    **{
        f"{name}_{r}": f"{name}_{r}"
        for name in ("eigenvalue", "trace", "trace_p", "max", "max_p")
        for r in (0, 1)
    },
}
"""Column of the store: field of the kernel's record, in which the first is symbol_a."""

_P_VALUES = {Method.engle_granger: ("p_first", "p_second"), Method.johansen: ("trend_trace_p_0",)}


def tested(prices: np.ndarray, pairs: np.ndarray, *, lags: int, min_observations: int) -> np.ndarray:
    """Test `pairs` of columns of `prices`.

    The p-value of Johansen's test with an unrestricted constant holds for series that drift; those that do not are
    found cointegrated more than twice as often as they should be. With a restricted trend it holds for both, so that
    is the one that decides.

    Parameters
    ----------
    prices : float64 array of shape (n, k)
        NaN where a symbol has none.
    pairs : int64 array of shape (m, 2)
        Columns.

    Returns
    -------
    array of shape (m,)
        Of `ROW`.
    """
    options = PairOptions(lags=lags, johansen_lags=lags, min_observations=min_observations)
    found = pair_statistics(prices, pairs, options)
    trend = pair_statistics(prices, pairs, replace(options, johansen_case=JohansenCase.RESTRICTED_TREND))
    rows = np.empty(len(pairs), ROW)
    for name in found.dtype.names or ():
        rows[name] = found[name]
    rows["status"] = np.where(found["status"] == PairStatus.OK, trend["status"], found["status"])
    rows["trend_trace_0"], rows["trend_trace_p_0"] = trend["trace_0"], trend["trace_p_0"]
    refused = rows["status"] != PairStatus.OK
    for name in COLUMNS.values():
        rows[name][refused] = np.nan
    return rows


def deciding_p(rows: np.ndarray, methods: list[Method]) -> np.ndarray:
    """Return the p-values that decide, float64 array of shape (n, k), NaN where the test was refused."""
    return np.column_stack([rows[name] for method in methods for name in _P_VALUES[method]])


def status_words(rows: np.ndarray) -> list[str]:
    """Return what became of each row: ok, or why the test was refused."""
    words = {int(status): status.name.lower() for status in PairStatus}
    pairs = zip(rows["n"].tolist(), rows["status"].tolist(), strict=True)
    return ["no_overlap" if n == 0 else words[code] for n, code in pairs]


def store_rows(
    universe: Universe,
    window: Window,
    rows: np.ndarray,
    p_value: np.ndarray,
    decisions: Decisions,
    fdr: float,
) -> list[dict[str, Any]]:
    """Return `rows` of one window as the research store keeps them; what is not finite becomes null."""
    shared = {
        "source": universe.source,
        "window_start": instant(window.start_ts),
        "window_end": instant(window.end_ts),
        "as_of": instant(window.as_of_ts),
        "interval_ns": universe.interval_ns,
    }
    numbers = {column: _nulls(rows[field]) for column, field in COLUMNS.items()}
    numbers |= {
        "p_value": _nulls(p_value),
        "p_bh": _nulls(decisions.p_bh),
        "q_storey": _nulls(decisions.q_storey),
    }
    columns: dict[str, list[Any]] = {
        "pair_id": [pair_id_of(universe, row) for row in rows],
        "observations": rows["n"].tolist(),
        "status": status_words(rows),
        "found_bh": (decisions.p_bh <= fdr).tolist(),
        "found_storey": (decisions.q_storey <= fdr).tolist(),
        **numbers,
    }
    return [
        shared | dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def pair_id_of(universe: Universe, row: Any) -> str:
    """Return the id of the pair that `row` is about."""
    return pair_of(universe.symbols[row["first"]], universe.symbols[row["second"]])[0]


def _nulls(values: np.ndarray) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
