"""Kelly fractions and risk parity weights agree with numbers computed and printed elsewhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.stats.factors import factor_regression
from bt_framework.stats.kelly import (
    Kelly,
    KellyMethod,
    growth_rate,
    kelly_continuous,
    kelly_discrete,
    kelly_empirical,
    kelly_weights,
)
from bt_framework.stats.risk_parity import RiskParity, two_leg_weights


@pytest.fixture(scope="module")
def references(shared_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_dir / "references" / "kelly_rp_refs.json").read_text())
    return found


def returns_of(path: Path, column: str, rows: slice = slice(None)) -> np.ndarray:
    """Numbers of a column."""
    with path.open() as file:
        return np.array([float(row[column] or "nan") for row in list(csv.DictReader(file))[rows]])


def test_kelly_fractions_agree(references: dict[str, Any]) -> None:
    kelly = references["kelly"]
    for bet in kelly["discrete"]:
        assert kelly_discrete(bet["p"], bet["b"]) == pytest.approx(bet["f"], abs=1e-15)
    one = kelly["continuous"]
    fraction = kelly_continuous(one["mu"], one["sigma"] ** 2, one["rf"])
    assert fraction == pytest.approx(one["f"], abs=1e-14)
    assert growth_rate(fraction, one["mu"], one["sigma"] ** 2, one["rf"]) == pytest.approx(
        one["growth"], abs=1e-15
    )
    several = kelly["multi"]
    fractions = kelly_weights(several["mu"], several["cov"])
    np.testing.assert_allclose(fractions, several["f"], atol=1e-14)
    assert growth_rate(fractions, several["mu"], several["cov"]) == pytest.approx(
        several["growth"], abs=1e-15
    )


def test_thorps_index_has_its_fraction_and_growth(references: dict[str, Any]) -> None:
    thorp = references["kelly"]["thorp"]
    fraction = kelly_continuous(0.11, 0.15**2, 0.06)
    assert fraction == pytest.approx(thorp["f"], abs=1e-12)
    assert growth_rate(fraction, 0.11, 0.15**2, 0.06) == pytest.approx(thorp["g"], abs=1e-12)


def test_fractions_of_daily_returns_agree(shared_dir: Path, references: dict[str, Any]) -> None:
    expected = references["kelly"]["empirical_daily"]
    returns = returns_of(shared_dir / "references" / "returns_daily.csv", "ret")
    # Found there by a search that compares growth, which is flat at the top: half of the digits.
    exact = kelly_empirical(returns)
    assert exact[0] == pytest.approx(expected["exact_log_opt"], abs=1e-7)
    assert abs((returns / (1.0 + exact[0] * returns)).mean()) < 1e-18
    assert Kelly().fit(returns).full[0] == pytest.approx(expected["mean_over_var_ddof1"], abs=1e-13)
    best = Kelly(method=KellyMethod.log_optimal).fit(returns)
    assert best.growth == np.log1p(exact[0] * returns).mean()


def test_the_printed_half_kelly_of_a_manager_is_reproduced(
    shared_dir: Path, references: dict[str, Any]
) -> None:
    returns = returns_of(shared_dir / "references" / "pa_managers.csv", "HAM1")
    fit = Kelly(fraction=0.5, risk_free=0.04 / 12).fit(returns)
    printed = references["kelly"]["R_PA"]["HAM1_half_kelly_rf4pct"]
    assert fit.fractions[0] == pytest.approx(printed, abs=1e-4), "its last digit is cut, not rounded"


@pytest.mark.parametrize("case", ["2asset", "3asset_equal_corr", "4asset", "3asset_budget"])
def test_risk_parity_weights_agree(references: dict[str, Any], case: str) -> None:
    expected = references["risk_parity"][case]
    covariance = np.outer(expected["vol"], expected["vol"]) * np.array(expected["corr"])
    fit = RiskParity(tuple(expected["budget"])).fit(covariance)
    np.testing.assert_allclose(fit.weights, expected["weights"], atol=1e-14)
    np.testing.assert_allclose(fit.contributions, expected["budget"], atol=1e-14)
    if case == "2asset":
        np.testing.assert_allclose(two_leg_weights(0.1, 0.2, 0.3), expected["weights"], atol=1e-15)


def test_a_managers_regression_on_two_benchmarks_is_that_of_statsmodels(shared_dir: Path) -> None:
    sm = pytest.importorskip("statsmodels.api")
    path = shared_dir / "references" / "pa_managers.csv"
    rows = slice(24, None)
    benchmarks = np.column_stack([returns_of(path, name, rows) for name in ("SP500 TR", "US 10Y TR")])
    fund = returns_of(path, "HAM1", rows)
    fit = factor_regression(fund, benchmarks, 12.0, ("SP500 TR", "US 10Y TR"))
    theirs = sm.OLS(fund, sm.add_constant(benchmarks)).fit(cov_type="HAC", cov_kwds={"maxlags": fit.lags})
    ours = (fit.alpha, *fit.betas)
    np.testing.assert_allclose([c.value for c in ours], theirs.params, rtol=1e-10)
    np.testing.assert_allclose([c.t for c in ours], theirs.tvalues, rtol=1e-10)
    assert fit.r_squared == pytest.approx(theirs.rsquared, rel=1e-12)
