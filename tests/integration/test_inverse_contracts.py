"""Contracts that pay in their base: a run in coins, from the file to the table of fills."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bt_framework
from bt_framework.errors import ConfigError
from bt_framework.results.result import RunResult

SYMBOL = "BTCUSD_PERP"
USD_PER_CONTRACT = 100.0


def coin_m_file(folder: Path, symbol: str = SYMBOL, steps: int = 600) -> Path:
    """A minute of book updates whose price wanders."""
    rng = np.random.default_rng(5)
    bid = 600_000
    lines = []
    for step in range(steps):
        ts = 1_723_161_256_000 + 100 * step
        move = int(rng.integers(-30, 31))
        old, bid = bid, bid + move
        levels = {
            "b": [[px(old), "0"], [px(bid), str(5 + step % 7)]],
            "a": [[px(old + 1), "0"], [px(bid + 1), "7"]],
        }
        data = {"e": "depthUpdate", "E": ts, "T": ts, "s": symbol, "U": step * 2 + 1, "u": step * 2 + 2}
        data |= {"pu": step * 2} | levels
        message = {"stream": f"{symbol.lower()}@depth@0ms", "data": data}
        lines.append(f"{ts * 1_000_000 + 5_000_000} {json.dumps(message, separators=(',', ':'))}")
    path = folder / f"{symbol}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def px(ticks: int) -> str:
    return f"{ticks / 10:.1f}"


@pytest.fixture
def run(tmp_path: Path, own_cache: Path) -> Callable[..., RunResult]:
    """Return a function that makes a market in the contract."""

    def go(*overrides: str) -> RunResult:
        return bt_framework.run(
            [
                "+strategy=market_maker",
                "strategy.half_spread_bps=0.1",
                "data=binance",
                f"data.files=[{coin_m_file(tmp_path)}]",
                f"contract.contract_size.{SYMBOL}={USD_PER_CONTRACT:g}",
                "sizing=fixed_notional",
                "sizing.notional=1000",
                "capital=1",
                f"store_dir={tmp_path / 'store'}",
                f"runs_dir={tmp_path / 'runs'}",
                "console=plain",
                *overrides,
            ]
        )

    return go


@pytest.mark.parametrize("exchange", ["no_partial_fill", "partial_fill"])
def test_cash_fees_and_equity_are_in_coins(run: Callable[..., RunResult], exchange: str) -> None:
    result = run("risk=[]", "fees=by_value", f"exchange={exchange}")
    assert result.record.instruments[0]["inverse"] is True
    fills = result.fills.to_pylist()
    assert len(fills) > 20
    assert {fill["qty"] for fill in fills} == {10.0}  # 1,000 USD
    cash = position = fees = 0.0
    for fill in fills:
        side = 1 if fill["side"] == "buy" else -1
        value = fill["qty"] * USD_PER_CONTRACT / fill["px"]
        assert fill["fee"] == pytest.approx(value * (2e-4 if fill["maker"] else 5e-4), rel=1e-12)
        cash += side * value
        position += side * fill["qty"]
        fees += fill["fee"]
    last = result.equity.to_pylist()[-1]
    assert last["position_qty"] == position
    assert last["cash"] == pytest.approx(cash, abs=1e-12)
    assert last["fees"] == pytest.approx(fees, abs=1e-12)
    value = position * USD_PER_CONTRACT / last["mid_px"]
    assert last["equity"] == pytest.approx(cash - value - fees, abs=1e-12)


def test_limits_of_value_are_in_quote_currency(run: Callable[..., RunResult]) -> None:
    limit = ["risk=[max_position]", "risk.max_position.limit_notional=1500"]
    held = {abs(fill["position_qty"]) for fill in run(*limit).fills.to_pylist()}
    free = {abs(fill["position_qty"]) for fill in run("risk=[]").fills.to_pylist()}
    assert max(held) == 10.0 < max(free)


def test_the_contract_option_overrides_the_data(run: Callable[..., RunResult]) -> None:
    result = run("contract=linear", f"contract.contract_size.{SYMBOL}=1", "capital=100000")
    assert result.record.instruments[0]["inverse"] is False


def test_a_contract_size_is_for_an_instrument_of_the_run(run: Callable[..., RunResult]) -> None:
    with pytest.raises(ConfigError, match=f"must be one of {SYMBOL}, was 'BTCUSD'"):
        run("+contract.contract_size.BTCUSD=10")
