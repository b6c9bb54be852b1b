"""Sizes of the built-in sizings, by hand on a desk without an engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sizer import INVERSE, Sizer

from bt_framework.errors import ConfigError


def test_fixed_sizes_and_those_of_single_instruments() -> None:
    sizer = Sizer("fixed_notional", notional=1_000.0, by_symbol={"B": 500.0})
    assert sizer.at(100.0) == 10.0
    assert sizer.at(5.0, asset=1) == pytest.approx(10.0)
    sizer.desk.quote(0, bid_px=math.nan, ask_px=100.0)
    assert sizer.unit_qty() == 0.0
    sizer = Sizer("fixed_qty", qty=0.3, by_symbol={"B": 2.0})
    assert (sizer.at(100.0), sizer.at(5.0, asset=1)) == (0.3, 2.0)


def test_a_part_of_the_equity_grows_and_shrinks_with_it() -> None:
    sizer = Sizer("percent_of_equity", equity_frac=0.1)
    assert sizer.at(100.0) == pytest.approx(100.0)
    assert sizer.at(5.0, asset=1) == pytest.approx(200.0)
    sizer.desk.ledger[1]["cash"] = 50_000.0
    assert sizer.at(100.0) == pytest.approx(150.0)
    sizer.desk.ledger[1]["cash"] = -150_000.0
    assert sizer.at(100.0) == 0.0
    # 0.1 x 2 of the base currency; a contract of 100 at 50,000 is worth 0.002
    assert Sizer("percent_of_equity", INVERSE, capital=2.0).at(50_000.0) == pytest.approx(100.0)


def test_a_volatility_by_hand() -> None:
    settings = {"target_frac": 0.02, "period_ns": "100s", "sample_ns": "1s", "half_life_ns": "1s"}
    sizer = Sizer("volatility_target", warmup_samples=2, max_equity_frac=50.0, **settings)
    mids = [100.0, 101.0, 101.0, 100.0]
    assert [sizer.at(mid, second) for second, mid in enumerate(mids[:2])] == [0.0, 0.0]
    # Returns of ln(1.01) and 0 with weights 1/4 and 1/2.
    variance = (0.25 * math.log(1.01) ** 2) / 0.75
    expected = 100_000.0 * 0.02 / math.sqrt(variance * 100) / 101.0
    assert sizer.at(101.0, 2) == pytest.approx(expected)
    # A look between two samples changes nothing but the price of a unit.
    assert sizer.at(102.0, 2.9) == pytest.approx(expected * 101.0 / 102.0)
    variance = (0.125 * math.log(1.01) ** 2 + 0.5 * math.log(101.0 / 100.0) ** 2) / 0.875
    assert sizer.at(100.0, 3) == pytest.approx(100_000.0 * 0.02 / math.sqrt(variance * 100) / 100.0)


def test_a_return_over_a_longer_time_counts_by_its_time() -> None:
    settings = {"target_frac": 0.02, "period_ns": "100s", "half_life_ns": "1s", "warmup_samples": 1}
    sizer = Sizer("volatility_target", max_equity_frac=50.0, **settings)
    sizer.at(100.0, 0)
    sizer.at(math.nan, 1)
    volatility = math.log(1.02) / math.sqrt(4.0) * math.sqrt(100.0)
    assert sizer.at(102.0, 4) == pytest.approx(100_000.0 * 0.02 / volatility / 102.0)


def test_a_calm_price_gives_no_more_than_the_cap() -> None:
    sizer = Sizer("volatility_target", warmup_samples=1, max_equity_frac=0.5)
    assert [sizer.at(100.0, second) for second in range(3)] == [0.0, 500.0, 500.0]
    sizer = Sizer("atr", bars=1, bar_ns="1s", max_equity_frac=0.5)
    assert [sizer.at(100.0, second) for second in range(3)] == [0.0, 500.0, 500.0]


def test_a_random_walk_is_given_its_volatility() -> None:
    rng = np.random.default_rng(3)
    daily = 0.03
    step = daily / math.sqrt(86_400.0)
    sizer = Sizer(
        "volatility_target", target_frac=0.01, period_ns="1d", half_life_ns="20min", max_equity_frac=5.0
    )
    mids = 100.0 * np.exp(np.cumsum(rng.normal(0.0, step, 6_000)))
    fracs = [sizer.at(mid, second) * mid / 100_000.0 for second, mid in enumerate(mids)][3_000:]
    assert np.mean(fracs) == pytest.approx(0.01 / daily, rel=0.05)


def test_true_ranges_by_hand() -> None:
    sizer = Sizer("atr", risk_frac=0.01, atr_multiple=2.0, bar_ns="10s", bars=2, max_equity_frac=50.0)
    bars = [[100.0, 102.0, 101.0], [104.0, 103.0], [101.0, 100.0, 99.0], [99.0]]
    sizes = []
    for bar, mids in enumerate(bars):
        for place, mid in enumerate(mids):
            sizes.append(sizer.at(mid, 10 * bar + place))
    # Ranges: 2; max(104, 101) - min(103, 101) = 3; the close of 103 - 99 = 4.
    assert sizes[:5] == [0.0] * 5
    mean = (2.0 + 3.0) / 2
    for place, mid in ((5, 101.0), (6, 100.0), (7, 99.0)):
        assert sizes[place] == pytest.approx(100_000.0 * 0.01 / (2.0 * mean), rel=1e-12), mid
    assert sizes[8] == pytest.approx(100_000.0 * 0.01 / (2.0 * (mean + (4.0 - mean) / 2)))


def test_the_range_of_an_inverse_contract_is_in_its_settlement_currency() -> None:
    sizer = Sizer("atr", INVERSE, capital=2.0, bars=1, bar_ns="10s", max_equity_frac=50.0)
    sizer.at(50_000.0, 0)
    sizer.at(50_500.0, 1)
    # A move of 2 x 500 of 50,000 takes about 2 % of 0.002 a contract: 500 contracts lose 1 % of the 2.
    assert sizer.at(50_000.0, 10) == pytest.approx(0.02 / (0.02 * 0.002))


def test_a_bar_without_a_mid_is_left_out() -> None:
    sizer = Sizer("atr", bars=1, bar_ns="10s", max_equity_frac=50.0)
    sizer.at(100.0, 0)
    assert sizer.at(math.nan, 10) == 0.0
    assert sizer.s.closed_bars[0] == 0
    sizer.at(101.0, 35)
    assert sizer.s.closed_bars[0] == 1


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("fixed_qty", {"qty": 0.0}, "qty must be > 0 and finite, was 0.0."),
        ("fixed_notional", {"by_symbol": {"A": -1.0}}, "by_symbol.A must be > 0 and finite, was -1.0."),
        ("percent_of_equity", {"equity_frac": 0.0}, "equity_frac must be > 0 and finite, was 0.0."),
        ("volatility_target", {"half_life_ns": 0}, "half_life_ns must be > 0 and finite, was 0."),
        ("volatility_target", {"warmup_samples": 0}, "warmup_samples must be > 0 and finite, was 0."),
        ("percent_of_equity", {"equity_frac": math.inf}, "equity_frac must be > 0 and finite, was inf."),
        (
            "volatility_target",
            {"max_equity_frac": math.inf},
            "max_equity_frac must be > 0 and finite, was inf.",
        ),
        ("atr", {"max_equity_frac": math.inf}, "max_equity_frac must be > 0 and finite, was inf."),
        ("atr", {"bars": 0}, "bars must be > 0 and finite, was 0."),
        ("atr", {"bar_ns": -5}, "bar_ns must be > 0 and finite, was -5."),
    ],
)
def test_sizes_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Sizer(name, **settings)
    assert str(error.value) == text


def test_a_size_of_an_instrument_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of A, B, was 'C'"):
        Sizer("fixed_qty", by_symbol={"C": 1.0})
