"""Venue options: what each builds, what it refuses, and slippage by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bt_framework.config.compose import compose
from bt_framework.engine.models import DepthForm, ExchangeKind, FeeTier, QueueKind
from bt_framework.errors import ConfigError
from bt_framework.plugin_manager import discover
from bt_framework.registry import Kind
from bt_framework.testing.contracts import INSTRUMENTS, check_slippage, load
from bt_framework.testing.desk import Desk
from bt_plugins.contract.models import Inverse
from bt_plugins.depth.models import Auto
from bt_plugins.fees import schedules, tiers
from bt_plugins.queue.models import PowerProb, PowerProb3
from bt_plugins.slippage import fixed_bps, sqrt_impact

SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]
IMPACT = {
    "daily_volatility_frac": dict.fromkeys(SYMBOLS, 0.02),
    "daily_volume_qty": dict(zip(SYMBOLS, [1e4, 1e6, 1e8], strict=True)),
}


def built(kind: Kind) -> dict[str, Any]:
    """What the options of a kind build."""
    components = [
        c for c in discover().registry.components() if c.kind == kind and c.package == "bt-framework"
    ]
    return {c.name: c.build(c.config_class()) for c in components}


def test_every_model_of_the_engine_has_an_option_of_its_name() -> None:
    assert {name: model.kind for name, model in built(Kind.QUEUE).items()} == {str(k): k for k in QueueKind}
    assert {name: model.kind for name, model in built(Kind.EXCHANGE).items()} == {
        str(k): k for k in ExchangeKind
    }
    assert {name: model.form for name, model in built(Kind.DEPTH).items()} == {str(k): k for k in DepthForm}
    exponents = {name for name, model in built(Kind.QUEUE).items() if model.exponent}
    assert exponents == {"power_prob", "power_prob2", "power_prob3"}
    assert [name for name, model in built(Kind.QUEUE).items() if model.needs_orders] == ["l3_fifo"]


def test_a_schedule_has_its_own_terms_for_a_symbol_and_the_rest_of_its_keys() -> None:
    config = schedules.ByValue(maker_bps=-0.5, taker_bps=4, by_symbol={"ETH": {"taker_bps": 3}})
    schedule = schedules.build(config)
    assert (schedule.maker_value_frac, schedule.taker_value_frac) == (-0.5e-4, 4e-4)
    assert schedule.of("BTC") is schedule
    assert schedule.of("ETH").maker_value_frac == -0.5e-4
    assert schedule.of("ETH").taker_value_frac == pytest.approx(3e-4)


def test_earlier_volume_brings_tiers_nearer() -> None:
    rows = [
        {"min_volume": 10, "maker_bps": 1, "taker_bps": 3},
        {"min_volume": 50, "maker_bps": 0, "taker_bps": 2},
    ]
    schedule = tiers.build(tiers.Tiered(tiers=rows, earlier_volume=20, volume_days=7))
    assert schedule.tiers == (FeeTier(0.0, 1e-4, 3 * 1e-4), FeeTier(30.0, 0.0, 2e-4))
    assert schedule.volume_days == 7


def test_binances_tiers_fall() -> None:
    schedule = tiers.build(tiers.BinanceUsdmTiers())
    assert len(schedule.all_tiers) == 10
    for key in ("maker_value_frac", "taker_value_frac"):
        fees = [getattr(tier, key) for tier in schedule.all_tiers]
        assert fees == sorted(fees, reverse=True)
    assert [schedule.all_tiers[0].taker_value_frac, schedule.all_tiers[-1].maker_value_frac] == [5e-4, 0.0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: PowerProb(exponent=0), "exponent must be > 0 and finite, was 0"),
        (lambda: PowerProb3(exponent=math.inf), "exponent must be > 0 and finite, was inf"),
        (lambda: schedules.ByValue(maker_bps=math.nan), "maker_bps must be a finite number, was nan"),
        (
            lambda: schedules.ByValue(by_symbol={"A": {"taker": 1}}),
            "by_symbol.A's keys must be one of maker_bps, taker_bps, was 'taker'. Did you mean 'taker_bps'?",
        ),
        (lambda: schedules.ByQty(by_symbol={"A": 3}), "by_symbol.A must be keys with values, was 3"),
        (
            lambda: schedules.FlatPerTrade(by_symbol={"A": {"fee_per_fill": "much"}}),
            "by_symbol.A.fee_per_fill must be a finite number, was 'much'",
        ),
        (lambda: tiers.BinanceUsdmTiers(earlier_volume=-1), "earlier_volume must be >= 0 and finite, was -1"),
        (lambda: tiers.Tiered(volume_days=0), "volume_days must be 1 to 366, was 0"),
        (
            lambda: tiers.Tiered(tiers=[{"min_volume": 5}]),
            "tiers[0] must have the keys min_volume, maker_bps, taker_bps, was {'min_volume': 5}",
        ),
        (
            lambda: tiers.Tiered(tiers=[dict.fromkeys(("min_volume", "maker_bps", "taker_bps"), 1)] * 2),
            "tiers[1].min_volume must be > 1, was 1",
        ),
        (lambda: fixed_bps.FixedBps(bps=-1), "bps must be >= 0 and below 10,000, was -1"),
        (
            lambda: fixed_bps.FixedBps(by_symbol={"A": 10_000}),
            "by_symbol.A must be >= 0 and below 10,000, was 10000",
        ),
        (lambda: sqrt_impact.SqrtImpact(coefficient=-1), "coefficient must be >= 0 and finite, was -1"),
        (lambda: sqrt_impact.SqrtImpact(max_bps=0), "max_bps must be > 0 and below 10,000, was 0"),
        (
            lambda: sqrt_impact.SqrtImpact(daily_volume_qty={"A": 0}),
            "daily_volume_qty.A must be > 0 and finite, was 0",
        ),
        (lambda: Inverse(contract_size={"A": 0.0}), "contract_size.A must be > 0 and finite, was 0.0"),
        (lambda: Auto(levels=-1), "levels must be >= 0, was -1"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert text in str(caught.value)


def test_slippage_models_keep_their_contract() -> None:
    assert set(check_slippage(fixed_bps.build(fixed_bps.FixedBps(bps=2, by_symbol={"TESTB": 5})))) == {
        2.0,
        5.0,
    }
    impact = sqrt_impact.SqrtImpact(**IMPACT, max_bps=50)  # type: ignore[arg-type]
    answers = check_slippage(sqrt_impact.build(impact))
    assert len(set(answers)) > 50
    assert max(answers) <= 50


@pytest.mark.parametrize("form", [lambda f: getattr(f, "py_func", f), lambda f: f], ids=["plain", "compiled"])
def test_impact_is_the_square_root_of_the_share_of_the_day(form: Any) -> None:
    """Of a market of 10,000 a day with 2 %, 100 are a hundredth: 1.5 x 2 % x sqrt(0.01) = 0.3 % = 30 bps."""
    desk = Desk(INSTRUMENTS)
    model = sqrt_impact.build(sqrt_impact.SqrtImpact(coefficient=1.5, max_bps=40, **IMPACT))  # type: ignore[arg-type]
    bps = form(load(model.kernel))
    p = model.params(INSTRUMENTS)
    assert bps(desk.market, 0, 1, 100.0, 100.0, p) == pytest.approx(30.0)
    assert bps(desk.market, 1, -1, 100.0, 100.0, p) == pytest.approx(3.0)
    assert bps(desk.market, 0, 1, 100.0, 400.0, p) == 40.0  # 60, but for the cap


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            fixed_bps.build(fixed_bps.FixedBps(by_symbol={"TESTX": 1})),
            "slippage.by_symbol's symbols must be one of TESTA, TESTB, TESTC, was 'TESTX'",
        ),
        (
            sqrt_impact.build(sqrt_impact.SqrtImpact(daily_volatility_frac={"TESTA": 0.1})),
            "slippage.daily_volatility_frac.TESTB must be given",
        ),
    ],
)
def test_slippage_knows_the_instruments_of_the_run(model: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        model.params(INSTRUMENTS)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (
            "fees.maker_bps=1e308",
            "maker_bps must be at most 10,000 in size, was 1e+308: that is the whole value",
        ),
        (
            "fees.taker_bps=-10_001",
            "taker_bps must be at most 10,000 in size, was -10001.0: that is the whole value",
        ),
    ],
)
def test_a_fee_of_more_than_the_whole_value_is_refused(override: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["+strategy=market_maker", "fees=by_value", override])
    assert text in str(caught.value)
