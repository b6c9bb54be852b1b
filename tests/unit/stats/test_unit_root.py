"""Augmented Dickey-Fuller: against least squares written out, and what it refuses."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest

from bt_framework.errors import ConfigError
from bt_framework.stats.unit_root import LEVELS, TRENDS, Adf, adf


def written_out(x: np.ndarray, regression: str, lags: int) -> tuple[float, int]:
    """t of the level by the normal equations, and rows."""
    d = np.diff(x)
    rows = range(lags, len(d))
    time = np.arange(1.0, len(rows) + 1.0)
    design = [x[lags:-1]] + [[d[t - i] for t in rows] for i in range(1, lags + 1)]
    design += [time**power for power in range(TRENDS.index(regression))]
    z, y = np.column_stack(design), d[lags:]
    b = np.linalg.solve(z.T @ z, z.T @ y)
    error = y - z @ b
    variance = error @ error / (len(y) - z.shape[1])
    return b[0] / math.sqrt(variance * np.linalg.inv(z.T @ z)[0, 0]), len(y)


@pytest.mark.parametrize("regression", TRENDS)
@pytest.mark.parametrize("lags", [0, 1, 4])
def test_statistic_is_the_t_value_of_the_level(regression, lags):
    x = np.random.default_rng(5).normal(size=80).cumsum()
    found = adf(x, regression, lags)
    statistic, rows = written_out(x, regression, lags)
    assert found.statistic == pytest.approx(statistic, rel=1e-9)
    assert (found.lags, found.n) == (lags, rows)
    assert list(found.critical_values) == list(LEVELS)
    assert sorted(found.critical_values.values()) == list(found.critical_values.values())
    assert found.p_value == Adf(regression, lags).fit(x).p_value


def test_lags_are_chosen_by_akaikes_criterion():
    rng, d = np.random.default_rng(6), [0.0, 0.0, 0.0]
    for _ in range(600):
        d.append(0.5 * d[-3] + rng.normal())  # the change depends on the one three before
    assert 3 <= adf(np.cumsum(d)).lags <= 8


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones(50), {}, "values must vary, was constant at 1.0"),
        ([0.1] * 50, {"lags": 1}, "values must vary, was constant at 0.1"),
        ([1.0, 2.0, 1.0], {"lags": 1}, "values must have at least 9 observations, had 3"),
        (np.arange(24.0), {}, "values must have at least 26 observations, had 24"),
        ([1.0, math.nan] * 30, {}, r"values must be finite, was nan at 1 \(30 in all\)"),
        (np.ones((20, 2)), {}, r"values must have shape \(n,\), was \(20, 2\)"),
        (np.arange(60.0), {"lags": 1}, "must not follow from their own past without error"),
        (0.9 ** np.arange(60), {"lags": 0, "regression": "n"}, "must not follow from their own past"),
        (np.arange(60.0), {"regression": "cc"}, "regression must be one of n, c, ct, ctt, was 'cc'"),
        (np.arange(60.0), {"lags": -1}, "lags must be >= 0, or None to choose them, was -1"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_the_reason(values, options, message):
    with pytest.raises(ValueError, match=message):
        adf(values, **options)


@pytest.mark.parametrize("regression", TRENDS)
@pytest.mark.parametrize("lags", [None, 0, 1, 3])
def test_the_fewest_observations_that_are_accepted_give_a_number(regression, lags):
    rng = np.random.default_rng(7)
    with pytest.raises(ValueError, match=r"must have at least \d+ observations, had 5") as refused:
        adf(rng.normal(size=5), regression, lags)
    least = int(re.findall(r"\d+", str(refused.value))[0])
    with pytest.raises(ValueError, match=f"at least {least} observations"):
        adf(rng.normal(size=least - 1), regression, lags)
    found = adf(rng.normal(size=least), regression, lags)
    assert math.isfinite(found.statistic)
    assert 0.0 <= found.p_value <= 1.0


def test_without_statsmodels_the_message_has_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.tsa.stattools", None)
    with pytest.raises(ConfigError, match=r"needs statsmodels.*pip install 'bt-framework\[stats\]'"):
        adf(np.random.default_rng(1).normal(size=60))
