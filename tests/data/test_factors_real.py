"""Factors of real funds: those that are sold as multiples of an index are, and the first component is the market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bt_framework.stats.factors import FactorModel, factor_regression, rolling_beta
from bt_framework.stats.kelly import Kelly, KellyMethod
from bt_framework.stats.pca import Pca, PcaMatrix
from bt_framework.stats.risk_parity import RiskParity


@pytest.fixture(scope="module")
def returns(shared_dir: Path) -> dict[str, np.ndarray]:
    """The last 1,000 daily returns of the funds that were listed by then."""
    folder = shared_dir / "data" / "bars"
    names = (folder / "inputData_ETF_stocks.csv").read_text().splitlines()[1].split(",")
    closes = np.genfromtxt(folder / "inputData_ETF_cl.csv", delimiter=",", skip_header=1)[
        :, 1:
    ]  # dates come first
    daily = (closes[1:] / closes[:-1] - 1.0)[-1_000:]
    return {name: column for name, column in zip(names, daily.T, strict=True) if np.isfinite(column).all()}


@pytest.mark.parametrize(
    ("fund", "index", "multiple"), [("SSO", "SPY", 2.0), ("SDS", "SPY", -2.0), ("MVV", "MDY", 2.0)]
)
def test_leveraged_funds_have_the_betas_they_are_sold_with(
    returns: dict[str, np.ndarray], fund: str, index: str, multiple: float
) -> None:
    fit = factor_regression(returns[fund], returns[index])
    assert fit.r_squared > 0.97
    assert abs(fit.alpha.t) < 2.0
    # From 2008 on it is up to 0.2 smaller; in the last year it is what is sold.
    assert fit.betas[0].value == pytest.approx(multiple, abs=0.2)
    rolling = rolling_beta(returns[fund], returns[index], 250)
    assert rolling[-1, 0] == pytest.approx(multiple, abs=0.04)


def test_a_hedged_pair_of_funds_is_attributed_as_statsmodels_does(returns: dict[str, np.ndarray]) -> None:
    sm = pytest.importorskip("statsmodels.api")
    pair = 0.5 * returns["SSO"] + 0.5 * returns["SDS"] + 0.3 * (returns["EWA"] - returns["EWC"])
    benchmarks = np.column_stack([returns[name] for name in ("SPY", "XLE", "GLD")])
    fit = FactorModel(lags=8).fit(pair, benchmarks, ("SPY", "XLE", "GLD"))
    theirs = sm.OLS(pair, sm.add_constant(benchmarks)).fit(cov_type="HAC", cov_kwds={"maxlags": 8})
    ours = (fit.alpha, *fit.betas)
    np.testing.assert_allclose([c.value for c in ours], theirs.params, rtol=1e-10)
    np.testing.assert_allclose([c.t for c in ours], theirs.tvalues, rtol=1e-10)
    assert fit.r_squared == pytest.approx(theirs.rsquared, rel=1e-10)


@pytest.mark.parametrize("matrix", PcaMatrix)
def test_components_of_the_universe_are_those_of_statsmodels(
    returns: dict[str, np.ndarray], matrix: PcaMatrix
) -> None:
    multivariate = pytest.importorskip("statsmodels.multivariate.pca")
    table = np.column_stack(list(returns.values()))
    fit = Pca(5, matrix=matrix).fit(table, tuple(returns))
    correlation = matrix is PcaMatrix.correlation
    theirs = multivariate.PCA(table, ncomp=5, standardize=correlation, demean=True)
    n = len(table)
    # Theirs divides by n, and scales by the standard deviation with n in the denominator.
    size = n if correlation else n - 1
    np.testing.assert_allclose(fit.eigenvalues[:5], theirs.eigenvals[:5] / size, rtol=1e-9)
    np.testing.assert_allclose(np.abs(fit.loadings), np.abs(theirs.eigenvecs[:, :5]), atol=1e-8)
    np.testing.assert_allclose(table - fit.residuals - fit.mean, theirs.projection - fit.mean, atol=1e-10)


def test_the_first_component_is_the_market(returns: dict[str, np.ndarray]) -> None:
    table = np.column_stack(list(returns.values()))
    fit = Pca(1).fit(table)
    assert fit.explained[0] > 0.5
    assert np.corrcoef(fit.factors[:, 0], returns["SPY"])[0, 1] > 0.93
    signs = dict(zip(returns, fit.loadings[:, 0], strict=True))
    assert all(signs[name] > 0 for name in ("SPY", "EWA", "XLE", "IWM"))
    assert signs["SDS"] < 0


def test_risk_and_growth_of_real_funds_are_shared_and_found(returns: dict[str, np.ndarray]) -> None:
    table = np.column_stack([returns[name] for name in ("SPY", "GLD", "EWA", "XLP")])
    np.testing.assert_allclose(RiskParity().fit_returns(table).contributions, 0.25, atol=1e-12)
    moments = Kelly(fraction=0.5, cap=2.0).fit(table)
    exact = Kelly(fraction=0.5, cap=2.0, method=KellyMethod.log_optimal).fit(table)
    assert np.abs(moments.fractions).sum() <= 2.0 + 1e-12
    wealth = 1.0 + table @ exact.full
    np.testing.assert_allclose((table / wealth[:, None]).mean(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(exact.fractions, moments.fractions, atol=0.1)
