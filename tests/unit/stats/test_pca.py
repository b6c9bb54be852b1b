"""Principal components: what they must be, and always the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.stats.pca import Pca, PcaMatrix, pca_factors


def universe(n: int, k: int, seed: int = 1) -> np.ndarray:
    """Returns with a market, a sector and noise of their own."""
    rng = np.random.default_rng(seed)
    market, sector = rng.normal(size=(2, n, 1))
    exposed = np.arange(k) % 2
    return 0.01 * (market * rng.uniform(0.5, 1.5, k) + sector * exposed + rng.normal(size=(n, k)))


@given(st.integers(3, 40), st.integers(1, 8), st.sampled_from(PcaMatrix), st.integers(0, 2**32 - 1))
def test_components_are_orthogonal_and_with_all_of_them_nothing_is_left(
    n: int, k: int, matrix: PcaMatrix, seed: int
) -> None:
    returns = universe(n, k, seed)
    fit = Pca(min(n - 1, k), matrix=matrix).fit(returns)
    m = fit.loadings.shape[1]
    np.testing.assert_allclose(fit.loadings.T @ fit.loadings, np.eye(m), atol=1e-12)
    np.testing.assert_allclose(fit.residuals, 0.0, atol=1e-12)
    np.testing.assert_allclose(
        fit.factors.T @ fit.factors / (n - 1), np.diag(fit.eigenvalues[:m]), atol=1e-11
    )
    assert fit.explained.sum() == pytest.approx(1.0)
    assert (np.diff(fit.eigenvalues) <= 0).all()
    if matrix is PcaMatrix.correlation:
        assert fit.eigenvalues.sum() == pytest.approx(k)


@pytest.mark.parametrize("matrix", PcaMatrix)
def test_residuals_are_those_of_a_regression_on_the_factors(matrix: PcaMatrix) -> None:
    returns = universe(300, 6)
    fit = Pca(2, matrix=matrix).fit(returns)
    design = np.column_stack((np.ones(300), fit.factors))
    expected = returns - design @ np.linalg.lstsq(design, returns, rcond=None)[0]
    np.testing.assert_allclose(fit.residuals, expected, atol=1e-14)
    np.testing.assert_allclose((returns - fit.mean) @ fit.holdings, fit.factors, atol=1e-12)
    np.testing.assert_allclose(fit.factors_of(returns), fit.factors, atol=1e-14)
    np.testing.assert_allclose(fit.residuals_of(returns), fit.residuals, atol=1e-14)


def test_components_are_those_of_the_singular_values() -> None:
    returns = universe(200, 5)
    fit = Pca(3, matrix=PcaMatrix.covariance).fit(returns)
    _, singular, vectors = np.linalg.svd(returns - returns.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(fit.eigenvalues, singular**2 / 199, rtol=1e-10)
    np.testing.assert_allclose(np.abs(fit.loadings.T), np.abs(vectors[:3]), atol=1e-9)


def test_loadings_do_not_depend_on_the_sign_of_the_solver() -> None:
    fit = pca_factors(universe(400, 7), 3)
    assert (fit.loadings.sum(axis=0) > 0).all()
    pair = np.random.default_rng(2).normal(size=(100, 1)) * [1.0, -1.0] + 0.01 * np.eye(100, 2)
    first = Pca(1, matrix=PcaMatrix.correlation).fit(pair).loadings[:, 0]
    np.testing.assert_allclose(first, [2**-0.5, -(2**-0.5)], rtol=1e-9)


def test_the_number_of_factors_follows_what_they_explain() -> None:
    returns = universe(500, 10)
    parts = Pca(1).fit(returns).explained
    for wanted in (0.2, 0.55, 0.9, 1.0):
        kept = Pca(explained=wanted).fit(returns).loadings.shape[1]
        assert parts[:kept].sum() >= wanted * (1 - 1e-9)
        assert kept == 1 or parts[: kept - 1].sum() < wanted
    equal = np.eye(4)[:, :2] - np.eye(4)[:, 2:]
    assert Pca(explained=0.5).fit(equal).loadings.shape[1] == 1


def test_a_market_is_found_as_the_first_factor() -> None:
    rng = np.random.default_rng(9)
    market = rng.normal(size=2_000)
    returns = market[:, None] + 0.5 * rng.normal(size=(2_000, 30))
    fit = pca_factors(returns, 1)
    assert np.corrcoef(fit.factors[:, 0], market)[0, 1] > 0.99
    assert fit.explained[0] == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Pca(0), "components must be >= 1, was 0"),
        (lambda: Pca(explained=0.0), r"explained must be in \(0, 1\], was 0.0"),
        (lambda: pca_factors(universe(5, 8), 5), "at most 4 for 5 observations of 8 series, was 5"),
        (lambda: pca_factors(universe(2, 1), 1), "returns must have at least 3 observations, had 2"),
        (lambda: pca_factors([[1.0, np.nan], [0.0, 1.0], [1.0, 0.0]], 1), "returns must be finite, was nan"),
        (
            lambda: pca_factors([[1.0, 2.0], [0.0, 2.0], [1.0, 2.0]], 1),
            "must vary, was constant at 2.0 in column 1",
        ),
        (lambda: Pca(1).fit(universe(9, 2), names=("a",)), "names must be 2 different ones"),
        (lambda: pca_factors(universe(9, 2), 1).factors_of(np.ones((4, 3))), r"must have shape \(n, 2\)"),
        (lambda: pca_factors(universe(9, 2), 1).residuals_of(np.ones(2)), r"must have shape \(n, 2\)"),
    ],
)
def test_what_has_no_answer_is_refused(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
