"""A run through the engine is explained by what it held: bars traded, and the same bars as benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bar_stores import store_bars
from bars_probe import run_bars

from bt_framework.engine.strategy import PlainStrategy
from bt_framework.research.attribution import attribute
from bt_framework.results.folder import RunFolder
from bt_framework.stats.factors import Neutrality

BARS = 160
CAPITAL = 100_000.0


class Holder(PlainStrategy):
    """Buys the first instrument once for part of the capital, and sells a multiple of that of the second."""

    def __init__(self, hedge: float) -> None:
        self._hedge = hedge

    def on_book(self, market: Any, account: Any, out: Any) -> None:
        """Order when both have a price."""
        if account.position_qty(0) == 0 and account.order_count() == 0 and market.mid_px(1) > 0:
            out.market(0, 1, round(0.5 * CAPITAL / market.mid_px(0)), 0)
            if self._hedge:
                out.market(1, -1, round(self._hedge * 0.5 * CAPITAL / market.mid_px(1)), 0)


@pytest.mark.parametrize(
    ("hedge", "beta", "verdict"),
    [(0.0, 0.5, Neutrality.EXPOSED), (1.0, 0.0, Neutrality.NEUTRAL)],
    ids=["long only", "hedged"],
)
def test_the_beta_of_a_run_is_what_it_holds(
    tmp_path: Path, hedge: float, beta: float, verdict: Neutrality
) -> None:
    rng = np.random.default_rng(12)
    market = np.cumsum(0.01 * rng.normal(size=BARS))
    own = np.cumsum(0.001 * rng.normal(size=(2, BARS)), axis=1)
    closes = {name: (50.0 * np.exp(market + x)).tolist() for name, x in zip(("AAA", "BBB"), own, strict=True)}
    closes["INDEX"] = (1_000.0 * np.exp(market)).tolist()
    bars = store_bars(tmp_path, closes)
    result = run_bars(tmp_path, Holder(hedge), "data.symbols=[AAA,BBB]", f"capital={CAPITAL}")
    folder = RunFolder(result.record.run_dir)
    found = attribute(folder, bars, ["test:INDEX"])
    assert found.fit.n == BARS - 1
    # Returns are on the capital at the start, while the value held moves with the price.
    held = (
        np.array(closes["AAA"][:-1]) / closes["AAA"][0]
        - hedge * np.array(closes["BBB"][:-1]) / closes["BBB"][0]
    )
    assert found.fit.betas[0].value == pytest.approx(0.5 * held.mean(), abs=0.03)
    assert found.fit.betas[0].value == pytest.approx(beta, abs=0.12)
    assert found.verdict is verdict
    assert (found.fit.r_squared > 0.9) == (hedge == 0.0)
