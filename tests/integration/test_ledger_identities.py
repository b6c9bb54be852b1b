"""The real pair under random orders: ledger, orders, trades, lives and attribution are one account."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bt_framework.config.compose import compose
from bt_framework.results.folder import RunFolder
from bt_framework.results.result import RunResult
from bt_framework.runner import run_composition

_PACKAGE = '''
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.strategy import PlainStrategy
from bt_framework.hookspecs import hookimpl


@dataclass
class RandomOrders(ComponentConfig):
    """Sends, cancels and modifies at random."""

    name: str = param("random_orders", "registry name")
    orders_seed: int = param(1, "seed of the orders")
    largest_lots: int = param(500, "largest order", unit="lots")
    modifies: bool = param(True, "whether orders are modified")


class RandomOrdersStrategy(PlainStrategy):
    timer_ns = 100_000_000

    def __init__(self, config):
        self._config = config

    def start(self, instruments):
        self._rng = np.random.default_rng(self._config.orders_seed)

    def on_timer(self, market, account, out):
        rng, working = self._rng, account.order_count()
        for index in range(working):
            order = account.order(index)
            if order.request == 0 and order.accepted and rng.random() < 0.1:
                if self._config.modifies and rng.random() < 0.5:
                    out.modify(order, order.px - order.side * market.tick_size(order.asset), order.leaves_qty)
                else:
                    out.cancel(order)
        for asset in range(market.count()):
            bid, ask = market.best_bid_px(asset), market.best_ask_px(asset)
            if rng.random() > 0.3 or working > 60 or not ask > bid:
                continue
            side, tag = int(rng.choice([-1, 1])), int(rng.integers(0, 7))
            qty = int(rng.integers(1, self._config.largest_lots)) * market.lot_size(asset)
            out.signal(1, side, 0.0, 0.0, 0.0, 0.0)
            if rng.random() < 0.2:
                out.market(asset, side, qty, tag)
                continue
            away = int(rng.integers(-20, 4)) * market.tick_size(asset)
            px = (bid if side > 0 else ask) + side * away
            ticks = round(px / market.tick_size(asset))
            out.limit_with(asset, side, ticks * market.tick_size(asset), qty, tag, int(rng.choice([0, 0, 1, 2, 3])))


@hookimpl
def register_strategies(register):
    register(RandomOrders, RandomOrdersStrategy)
'''
MAKER_BPS, TAKER_BPS = 2.0, 5.0
Run = Callable[..., RunResult]
CASES = {
    "fills of whole orders": ["exchange=no_partial_fill"],
    "fills level by level": ["exchange=partial_fill", "strategy.modifies=false"],
    "with slippage": ["exchange=no_partial_fill", "slippage=fixed_bps", "slippage.bps=1.5"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for the store, the runs and the package of this file."""
    folder = tmp_path_factory.mktemp("identities")
    info = folder / "site/random_orders-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: random-orders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bt_framework]\nmain = random_orders\n")
    (folder / "site/random_orders.py").write_text(_PACKAGE)
    options = folder / "options/strategy"
    options.mkdir(parents=True)
    (options / "random_orders.yaml").write_text("defaults:\n  - /schema/strategy/random_orders@_here_\n")
    return folder


@pytest.fixture(scope="module", params=CASES)
def result(request: pytest.FixtureRequest, folders: Path, shared_dir: Path) -> Iterator[RunResult]:
    """A run of random orders on the real pair."""
    data = shared_dir / "data/binance"
    files = f"[{data}/btcusdt_20240808.gz,{data}/ethusdt_20240808.gz]"
    overrides = [
        *("+strategy=random_orders", "data=binance", f"data.files={files}", "risk=[]", "console=json"),
        *(f"store_dir={folders / 'store'}", f"runs_dir={folders / 'runs'}", "equity_interval_ns=250ms"),
        *("fees=by_value", f"fees.maker_bps={MAKER_BPS}", f"fees.taker_bps={TAKER_BPS}"),
        *CASES[request.param],
    ]
    sys.path.insert(0, str(folders / "site"))
    try:
        # The session compares the ledger with the engine's position at every slice.
        yield run_composition(
            compose([*overrides, "slice_wakes=500"], config_dirs=[str(folders / "options")])
        )
    finally:
        sys.path.remove(str(folders / "site"))
        sys.modules.pop("random_orders", None)


def frame(table: Any) -> pd.DataFrame:
    """A table with plain words."""
    data = table.to_pandas()
    words = data.select_dtypes("category").columns
    return data.astype({name: object for name in words})


def filled_by_orders(orders: pd.DataFrame) -> pd.DataFrame:
    """Steps at which something was filled, with how much: nothing but the orders table is asked."""
    before = orders.groupby("order_id")["leaves_qty"].shift()
    steps = orders.assign(filled=before - orders["leaves_qty"])
    return steps[steps["event"].isin(["partially_filled", "filled"])]


def signs(side: pd.Series) -> pd.Series:
    return side.map({"buy": 1.0, "sell": -1.0})


def last_equity(result: RunResult) -> float:
    equity = frame(result.equity)
    return float(equity.groupby("symbol")["equity"].last().sum())


def notional(result: RunResult) -> float:
    fills = frame(result.fills)
    return float((fills["px"] * fills["qty"]).sum())


def test_the_run_has_enough_to_say_something(result: RunResult) -> None:
    orders = frame(result.orders)
    assert result.status == "completed"
    assert result.counts["fills"] > 300
    assert {"filled", "cancelled", "expired"} <= set(orders["event"])
    fills, filled = frame(result.fills), (orders["event"] == "filled").sum()
    config = RunFolder(result.run_dir).config()
    assert (len(fills) > filled) == (config["exchange"]["name"] == "partial_fill")
    assert (fills["slippage_bps"] > 0).any() == (config["slippage"]["name"] == "fixed_bps")


def test_fills_are_what_the_orders_lost_and_within_their_limits(result: RunResult) -> None:
    orders, fills = frame(result.orders), frame(result.fills)
    by_order = filled_by_orders(orders).groupby("order_id")["filled"].sum()
    np.testing.assert_allclose(fills.groupby("order_id")["qty"].sum(), by_order, atol=1e-9)
    slip = fills["px"] / (1 + signs(fills["side"]) * fills["slippage_bps"] * 1e-4)
    limits = orders[orders["order_type"] == "limit"].groupby("order_id")["px"].agg(["min", "max"])
    limited = fills[fills["order_id"].isin(limits.index)]
    bounds = limits.loc[limited["order_id"]]
    buys = (limited["side"] == "buy").to_numpy()
    paid = slip[limited.index].to_numpy()
    assert (paid[buys] <= bounds["max"].to_numpy()[buys] + 1e-6).all()
    assert (paid[~buys] >= bounds["min"].to_numpy()[~buys] - 1e-6).all()


def test_position_at_every_sample_is_that_of_the_orders(result: RunResult) -> None:
    orders, equity = frame(result.orders), frame(result.equity)
    for symbol, samples in equity.groupby("symbol"):
        steps = filled_by_orders(orders[orders["symbol"] == symbol])
        held = np.concatenate(([0.0], np.cumsum(signs(steps["side"]) * steps["filled"])))
        times, at = steps["local_ts"].to_numpy(), samples["local_ts"].to_numpy()
        upto, before = held[np.searchsorted(times, at, "right")], held[np.searchsorted(times, at, "left")]
        position = samples["position_qty"].to_numpy()
        assert (np.isclose(position, upto, atol=1e-9) | np.isclose(position, before, atol=1e-9)).all()
        assert np.isclose(position, upto, atol=1e-9).mean() > 0.99
        assert position[-1] == pytest.approx(held[-1], abs=1e-9)


def test_cash_fees_and_equity_are_those_of_the_fills(result: RunResult) -> None:
    fills, equity = frame(result.fills), frame(result.equity)
    tolerance = 1e-9 * notional(result)
    frac = np.where(fills["maker"], MAKER_BPS, TAKER_BPS) * 1e-4
    np.testing.assert_allclose(fills["fee"], fills["px"] * fills["qty"] * frac, rtol=1e-12)
    for symbol, samples in equity.groupby("symbol"):
        own, last = fills[fills["symbol"] == symbol], samples.iloc[-1]
        signed = signs(own["side"]) * own["qty"]
        cash = -(signed * own["px"]).sum()
        assert abs(last["cash"] - cash) <= tolerance
        assert abs(last["fees"] - own["fee"].sum()) <= tolerance
        assert abs(last["equity"] - (cash + signed.sum() * last["mid_px"] - own["fee"].sum())) <= tolerance


@pytest.mark.parametrize("method", ["fifo", "average_cost"])
@pytest.mark.parametrize("by", ["symbol", "tag", "signal", "liquidity", "entry_tag", "entry_signal"])
def test_trades_and_their_attribution_are_the_equity(result: RunResult, by: str, method: str) -> None:
    tolerance = 1e-9 * notional(result)
    table = frame(result.attribution(by, method))
    fills = frame(result.fills)
    assert abs(table["net_pnl"].sum() - last_equity(result)) <= tolerance
    assert abs(frame(result.trades_by(method))["net_pnl"].sum() - last_equity(result)) <= tolerance
    assert abs(table["fees"].sum() - fills["fee"].sum()) <= tolerance
    if by == "tag":
        fees = fills.groupby("tag")["fee"].sum()
        assert table.set_index("key")["fees"].to_dict() == pytest.approx(fees.to_dict())
    if by == "tag" and method == "average_cost":
        booked = fills.groupby("tag")["realised_pnl"].sum()
        realised = table.set_index("key")["realised_pnl"]
        np.testing.assert_allclose(realised.loc[booked.index], booked, atol=tolerance)


def test_the_trades_that_the_run_left_are_those_of_its_fills(result: RunResult) -> None:
    assert result.trades.num_rows == result.counts["trades"] > 100
    assert result.trades.equals(result.trades_by("fifo"))


def test_a_life_tells_every_step_of_its_order(result: RunResult) -> None:
    orders, fills, lives = frame(result.orders), frame(result.fills), frame(result.order_lives)
    lives = lives.set_index("order_id")
    assert lives.index.tolist() == sorted(set(orders["order_id"]))
    first = orders[orders["event"] == "submitted"].set_index("order_id")
    assert (lives["sent_ts"] == first["local_ts"]).all()
    np.testing.assert_allclose(lives["fees"].sum(), fills["fee"].sum(), rtol=1e-12)
    for event in ("filled", "cancelled", "expired", "rejected"):
        ended = orders[orders["event"] == event].set_index("order_id")
        assert set(lives.index[lives["status"] == event]) == set(ended.index)
        assert (lives.loc[ended.index, "ended_local_ts"] == ended["local_ts"]).all()
        assert (lives.loc[ended.index, "ended_exch_ts"] == ended["exch_ts"]).all()
    whole = lives[lives["status"] == "filled"]
    np.testing.assert_allclose(whole["filled_qty"], whole["last_qty"], atol=1e-9)
    rested = lives[lives["accepted_local_ts"] > 0]
    assert (rested["sent_ts"] < rested["accepted_exch_ts"]).all()
    assert (rested["accepted_exch_ts"] < rested["accepted_local_ts"]).all()
    assert (rested["queue_ahead_qty"] >= 0).all()
    filled = lives[lives["fills"] > 0]
    assert (filled["first_fill_exch_ts"] < filled["first_fill_local_ts"]).all()
    assert (filled["first_fill_local_ts"] <= filled["last_fill_local_ts"]).all()
