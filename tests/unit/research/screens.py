"""Small universes for tests of screening."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bt_framework.research.screen import Screening
from bt_framework.research.settings import ScreenConfig
from bt_framework.research.universe import Universe

DAY_NS = 86_400_000_000_000
FIRST_NS = 1_577_836_800_000_000_000
"""2020-01-01."""


def universe(seed: int = 1, n: int = 300, walks: int = 4, pairs: int = 1) -> Universe:
    """Return log prices: `pairs` cointegrated pairs P0A, P0B and so on, and independent random walks W0, W1.

    A pair's spread is an AR(1) with coefficient 0.8, a half-life of three bars, and much smaller moves than the walks.
    """
    rng = np.random.default_rng(seed)
    names, columns = [], []
    for i in range(pairs):
        b = rng.normal(0.0, 0.01, n).cumsum()
        spread = np.zeros(n)
        for t, shock in enumerate(rng.normal(0.0, 0.003, n - 1)):
            spread[t + 1] = 0.8 * spread[t] + shock
        names += [f"P{i}A", f"P{i}B"]
        columns += [1.0 + 0.7 * b + spread, b]
    for i in range(walks):
        names.append(f"W{i}")
        columns.append(rng.normal(0.0, 0.01, n).cumsum())
    times = FIRST_NS + DAY_NS * np.arange(n)
    return Universe("test", DAY_NS, tuple(names), times, np.column_stack(columns))


def all_pairs(k: int) -> np.ndarray:
    """Return columns of all pairs of `k` symbols, shape (k (k - 1) / 2, 2)."""
    return np.column_stack(np.triu_indices(k, 1)).astype(np.int64)


def screening(folder: Path, prices: Universe | None = None, **keys) -> Screening:
    """Return a screening of all pairs of `prices`."""
    prices = prices or universe()
    keys = {"source": "test", "store_dir": str(folder), "workers": 2, "follow": "none"} | keys
    config = ScreenConfig(**{key: _enum(key, value) for key, value in keys.items()})
    return Screening(config, prices, all_pairs(len(prices.symbols)))


def _enum(key: str, value: object) -> object:
    from bt_framework.research import settings

    kinds = {"follow": settings.Follow, "family": settings.Family, "spreads": settings.Spreads}
    return kinds[key](value) if key in kinds else value


def silent(done: int, total: int) -> None:
    """Report no progress."""
