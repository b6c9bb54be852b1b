"""The pair EWA and EWC of Chan, Algorithmic Trading (2013), Example 3.3: published figures from our own positions.

The author's conventions. y is EWC and x is EWA, prices as they are; the filter begins with a state and a covariance of
zero, drifts by delta / (1 - delta) from the second day on, and trades from the first, when the hedge ratio is still
zero. A long position is held while the innovation is below minus its standard deviation, a short one while it is above;
it is of one share of y and -hedge ratio of x, with the ratio of each day. Values are positions times prices,
``pnl[t] = sum of values[t-1] x returns[t]``, ``ret = pnl / sum of |values[t-1]|``, 0 where there is no position;
``APR = prod(1 + ret)^(252 / n) - 1`` and ``Sharpe = sqrt(252) mean / sd``, with the sample's deviation.
"""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import bt_framework
from bt_framework.bars.building import raw_bars
from bt_framework.bars.store import BarStore
from bt_framework.results.result import RunResult
from bt_plugins.strategies.bollinger_pairs import BollingerPairs, BollingerPairsStrategy, Hedge

PUBLISHED_APR, PUBLISHED_SHARPE = 0.262252, 2.361162
SHARES = 10_000
DAY_NS = 86_400_000_000_000
_Floats = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def prices(shared_dir: Path) -> dict[str, Any]:
    """Dates and closes."""
    with (shared_dir / "data" / "bars" / "inputData_EWA_EWC.csv").open() as file:
        rows = list(csv.DictReader(file))
    found: dict[str, Any] = {s: np.array([float(row[s]) for row in rows]) for s in ("EWA", "EWC")}
    return found | {"days": [datetime.strptime(r["Date"], "%Y%m%d").replace(tzinfo=UTC) for r in rows]}


def chan_positions(prices: dict[str, Any]) -> _Floats:
    """Shares of (EWC, EWA) at each close, by the strategy's own kernels, before they are rounded to lots."""
    from bt_framework.engine.leg_kernels import band_direction
    from bt_plugins.strategies.bollinger_pairs._kernels import innovation_z

    strategy = BollingerPairsStrategy(BollingerPairs(hedge=Hedge.kalman, exit_z=1.0, warmup=1))
    p, s = strategy.params([]), strategy.state([])
    shares, direction = [], 0
    for y, x in zip(prices["EWC"], prices["EWA"], strict=True):
        z = innovation_z(y, x, s, p)
        direction, _ = band_direction(direction, z, True, (p.entry_z, p.exit_z, p.stop_z))
        shares.append((direction, -direction * s.hedge_ratio))
    return np.array(shares)


def author_figures(shares: _Floats, px: _Floats) -> tuple[float, float]:
    """APR and Sharpe ratio of holdings and prices of shape (n, 2)."""
    values = (shares * px)[:-1]
    pnl, gross = (values * (px[1:] / px[:-1] - 1.0)).sum(1), np.abs(values).sum(1)
    ret = np.concatenate([[0.0], np.divide(pnl, gross, out=np.zeros_like(pnl), where=gross > 0)])
    apr = float(np.prod(1.0 + ret) ** (252.0 / len(ret)) - 1.0)
    return apr, math.sqrt(252.0) * float(ret.mean() / ret.std(ddof=1))


def test_the_published_return_and_sharpe_ratio_come_from_the_strategys_own_positions(
    prices: dict[str, Any],
) -> None:
    shares = chan_positions(prices)
    assert shares[0].tolist() == [-1.0, 0.0]  # the author trades on the first day
    apr, sharpe = author_figures(shares, np.column_stack([prices["EWC"], prices["EWA"]]))
    assert (round(apr, 6), round(sharpe, 6)) == (PUBLISHED_APR, PUBLISHED_SHARPE)


@pytest.fixture(scope="module")
def run(prices: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs the strategy over the pair's bars in the engine."""
    folder = tmp_path_factory.mktemp("chan")
    opens_us = np.array([int(day.timestamp()) * 1_000_000 for day in prices["days"]])
    tables = [raw_bars(s, opens_us, {"close": prices[s]}) for s in ("EWA", "EWC")]
    BarStore(folder / "store" / "bars").append("chan", pa.concat_tables(tables), interval_ns=DAY_NS)
    base = ["+strategy=bollinger_pairs", "strategy.hedge=kalman", "strategy.exit_z=1", "strategy.warmup=1"]
    base += ["strategy.rebalance=true", "strategy.flat_at_end=false", "data=bars", "data.source=chan"]
    base += ["data.symbols=[EWC,EWA]", "sizing=fixed_qty", f"sizing.qty={SHARES}", "latency=zero", "risk=[]"]
    base += [f"store_dir={folder / 'store'}", f"runs_dir={folder / 'runs'}", "console=plain"]
    return lambda *more: bt_framework.run([*base, *more])


def closes_of(result: RunResult, prices: dict[str, Any]) -> tuple[_Floats, _Floats]:
    """Positions at each close, before what is sent there, and equity: shape (n, 2) and (n,); (EWC, EWA)."""
    closed = [int(day.timestamp()) * 1_000_000_000 + DAY_NS for day in prices["days"]]
    held, equity = np.zeros((len(closed), 2)), np.zeros(len(closed))
    place = {ts: at for at, ts in enumerate(closed)}
    for row in result.equity.to_pylist():
        if row["local_ts"] in place:
            held[place[row["local_ts"]], int(row["symbol"] == "EWA")] = row["position_qty"]
            equity[place[row["local_ts"]]] += row["equity"]
    return held, equity


def net_figures(held: _Floats, equity: _Floats, px: _Floats) -> tuple[float, float]:
    """The author's figures with what the account earned instead of position times return."""
    pnl, gross = np.diff(equity), np.abs(held[1:] * px[:-1]).sum(1)
    ret = np.concatenate([[0.0], np.divide(pnl, gross, out=np.zeros_like(pnl), where=gross > 0)])
    apr = float(np.prod(1.0 + ret) ** (252.0 / len(ret)) - 1.0)
    return apr, math.sqrt(252.0) * float(ret.mean() / ret.std(ddof=1))


@pytest.fixture(scope="module")
def without_costs(run: Any) -> RunResult:
    return run("fees=zero", "data.slippage_bps=0")  # type: ignore[no-any-return]


def test_the_engine_holds_the_same_shares_in_whole_lots(
    prices: dict[str, Any], without_costs: RunResult
) -> None:
    held, _ = closes_of(without_costs, prices)
    wanted = chan_positions(prices) * SHARES
    # What is sent at a close is held at the next one. On the first day there is no second leg: no pair.
    assert not held[:2].any()
    assert (wanted[1:-1, 0] != 0).sum() > 500
    np.testing.assert_array_equal(held[2:, 0], wanted[1:-1, 0])
    np.testing.assert_allclose(held[2:, 1], wanted[1:-1, 1], rtol=0, atol=0.500001)


def test_the_engine_earns_what_the_positions_earn(prices: dict[str, Any], without_costs: RunResult) -> None:
    held, equity = closes_of(without_costs, prices)
    px = np.column_stack([prices["EWC"], prices["EWA"]])
    # Quotes are a tick of 1e-7 apart: a fill costs half of that.
    np.testing.assert_allclose(np.diff(equity), (held[1:] * np.diff(px, axis=0)).sum(1), rtol=0, atol=0.01)
    shares = chan_positions(prices)
    shares[0] = 0.0
    apr, sharpe = net_figures(held, equity, px)
    assert (apr, sharpe) == pytest.approx(author_figures(shares, px), rel=1e-4)
    assert (apr, sharpe) == pytest.approx((0.26069, 2.3496), rel=1e-4)


def test_the_runs_own_sharpe_ratio_is_that_of_sessions_within_a_percent(
    prices: dict[str, Any], without_costs: RunResult
) -> None:
    # Of profits on constant capital, by calendar days of which 365 are a year, not of returns on what was held.
    _, equity = closes_of(without_costs, prices)
    pnl = np.diff(equity)
    sessions = math.sqrt(252.0) * float(pnl.mean() / pnl.std(ddof=1))
    assert sessions == pytest.approx(2.2906, rel=1e-4)
    assert without_costs.metrics["sharpe"] == pytest.approx(2.2804, rel=1e-4)


def test_costs_take_their_part_of_the_same_trades(
    prices: dict[str, Any], without_costs: RunResult, run: Any
) -> None:
    result = run("fees=by_qty", "fees.taker_per_qty=0.005", "data.slippage_bps=1")
    fills = result.fills.to_pylist()
    free = without_costs.fills.to_pylist()
    assert [(f["symbol"], f["side"], f["qty"]) for f in fills] == [
        (f["symbol"], f["side"], f["qty"]) for f in free
    ]
    (held, equity), (_, gross_equity) = closes_of(result, prices), closes_of(without_costs, prices)
    px = np.column_stack([prices["EWC"], prices["EWA"]])
    last_ts = int(prices["days"][-1].timestamp()) * 1_000_000_000 + DAY_NS
    costs = [
        f["qty"] * (0.005 + 1e-4 * g["px"])
        for f, g in zip(fills, free, strict=True)
        if f["local_ts"] < last_ts
    ]
    assert gross_equity[-1] - equity[-1] == pytest.approx(sum(costs), rel=1e-4)
    apr, sharpe = net_figures(held, equity, px)
    # A basis point of slippage and half a cent a share take a fifth of the return.
    assert (apr, sharpe) == pytest.approx((0.20523, 1.9111), rel=1e-4)
