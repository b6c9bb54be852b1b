"""Weights at which every leg bears its part of the risk.

The risk of weights w is ``sd = sqrt(w' C w)`` with the covariance C. Leg i contributes ``w_i (C w)_i / sd``, and the
contributions add up to sd. Risk parity makes each contribution its budget's part of the whole.

References
----------
Maillard, S., Roncalli, T. and Teiletche, J. (2010). The properties of equally weighted risk contribution portfolios.
Journal of Portfolio Management 36, 60-70: equations (4) to (7), and weights ~ 1 / sd for two legs.
Spinu, F. (2013). An algorithm for computing risk parity weights. SSRN 2297383: the convex form and its Newton method.
Roncalli, T. (2013). Introduction to Risk Parity and Budgeting. Chapman & Hall, section 2.2.1 (two legs with budgets).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._inputs import covariance_matrix, positive, vector
from bt_framework.stats._newton import minimised
from bt_framework.stats._series import columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def two_leg_weights(
    first_sd: float, second_sd: float, correlation: float = 0.0, first_budget: float = 0.5
) -> tuple[float, float]:
    """Weights of two legs, in closed form; they add up to 1.

    With equal budgets they are proportional to 1 / sd whatever the correlation. Otherwise the ratio
    ``t = w1 sd1 / (w2 sd2)`` solves ``(1 - b) t^2 + rho (1 - 2 b) t - b = 0``.

    Parameters
    ----------
    first_sd, second_sd : float
        Standard deviations of the legs' profits per unit of weight, > 0. For a short leg turn the sign of
        `correlation`.
    correlation : float
        In (-1, 1]. At -1 the legs of equal risk cancel, and there is no risk to share.
    first_budget : float
        b, part of the risk that the first leg bears, in (0, 1).

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> [round(w, 12) for w in two_leg_weights(0.1, 0.2, 0.3)]
    [0.666666666667, 0.333333333333]
    """
    positive(first_sd, "first_sd")
    positive(second_sd, "second_sd")
    if not -1.0 < correlation <= 1.0:
        raise ValueError(f"correlation must be in (-1, 1], was {correlation!r}.")
    if not 0.0 < first_budget < 1.0:
        raise ValueError(f"first_budget must be in (0, 1), was {first_budget!r}.")
    tilt = correlation * (1.0 - 2.0 * first_budget)
    root = math.sqrt(tilt * tilt + 4.0 * first_budget * (1.0 - first_budget))
    # The positive root, written so that nothing cancels.
    ratio = (root - tilt) / (2.0 * (1.0 - first_budget)) if tilt < 0 else 2.0 * first_budget / (root + tilt)
    first, second = ratio / first_sd, 1.0 / second_sd
    return first / (first + second), second / (first + second)


def risk_contributions(weights: ArrayLike, covariance: ArrayLike) -> np.ndarray:
    """Part of the risk that each leg bears, ``w_i (C w)_i / w' C w``; they add up to 1.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, the covariance is not positive definite, or all weights are 0.
    """
    matrix = covariance_matrix(covariance)
    w = vector(weights, "weights", len(matrix))
    if not w.any():
        raise ValueError("weights must not all be 0.")
    parts = w * (matrix @ w)
    shares: np.ndarray = parts / parts.sum()
    return shares


@dataclass(frozen=True)
class RiskParityFit:
    """Weights of risk parity.

    Attributes
    ----------
    weights : float64 array of shape (k,)
        Their absolute values add up to 1; the sign is the leg's direction.
    contributions : float64 array of shape (k,)
        Part of the risk that each leg bears.
    sd : float
        Of the whole, per period of the covariance.
    """

    weights: np.ndarray
    contributions: np.ndarray
    sd: float


@dataclass(frozen=True)
class RiskParity:
    """Risk parity of any number of legs.

    Parameters
    ----------
    budgets : sequence of float, shape (k,), or None
        Parts of the risk, > 0, relative to each other; None: equal.
    directions : sequence of int, shape (k,), or None
        1 for a long leg, -1 for a short one; None: all long.
    tolerance : float
        Largest difference allowed between a contribution and its budget.

    Notes
    -----
    With correlations R and budgets b that add up to 1, ``x' R x / 2 - b' log x`` is convex and least where
    ``x_i (R x)_i = b_i``; weights are x / sd, scaled. Newton's method finds it for every positive definite R, with
    negative correlations too.
    """

    budgets: tuple[float, ...] | None = None
    directions: tuple[int, ...] | None = None
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self.tolerance, "tolerance")
        for at, budget in enumerate(self.budgets or ()):
            positive(budget, f"budgets[{at}]")
        for at, direction in enumerate(self.directions or ()):
            if direction not in (1, -1):
                raise ValueError(f"directions[{at}] must be 1 or -1, was {direction!r}.")

    def fit(self, covariance: ArrayLike) -> RiskParityFit:
        """Solve for weights, given the covariance of the legs' returns, shape (k, k).

        Raises
        ------
        ValueError
            If the shapes do not fit, a value is not finite, the covariance is not positive definite, or the
            contributions do not come within `tolerance` of the budgets.
        """
        matrix = covariance_matrix(covariance)
        k = len(matrix)
        budgets = vector(np.ones(k) if self.budgets is None else self.budgets, "budgets", k)
        signs = vector(np.ones(k) if self.directions is None else self.directions, "directions", k)
        budgets = budgets / budgets.sum()
        sd = np.sqrt(np.diagonal(matrix))
        weights = signs * _shares(matrix / np.outer(signs * sd, signs * sd), budgets) / sd
        weights /= np.abs(weights).sum()
        parts = risk_contributions(weights, matrix)
        worst = float(np.abs(parts - budgets).max())
        if worst > self.tolerance:
            raise ValueError(
                f"risk contributions must be within {self.tolerance:g} of their budgets, were off by {worst:.3g}. "
                "Leave out one of the legs that move alike, or raise tolerance."
            )
        return RiskParityFit(weights, parts, math.sqrt(float(weights @ matrix @ weights)))

    def fit_returns(self, returns: ArrayLike) -> RiskParityFit:
        """`fit` with the sample covariance of returns of shape (n, k)."""
        return self.fit(np.cov(columns(returns, "returns", 3), rowvar=False))


def risk_parity_weights(covariance: ArrayLike, budgets: ArrayLike | None = None) -> np.ndarray:
    """Weights of long legs at which each bears its budget of the risk, shape (k,): `RiskParity` in one line.

    Examples
    --------
    >>> risk_parity_weights([[0.01, 0.0], [0.0, 0.04]]).round(12).tolist()
    [0.666666666667, 0.333333333333]
    """
    chosen = None if budgets is None else tuple(vector(budgets, "budgets").tolist())
    return RiskParity(chosen).fit(covariance).weights


def _shares(correlation: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """Minimise ``x' R x / 2 - b' log x``, where each x_i (R x)_i is b_i."""

    def value(x: np.ndarray) -> float:
        return float(0.5 * x @ correlation @ x - budgets @ np.log(x)) if x.min() > 0.0 else math.inf

    def derivatives(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return correlation @ x - budgets / x, correlation + np.diag(budgets / (x * x))

    roots = np.sqrt(budgets)
    start = roots / math.sqrt(float(roots @ correlation @ roots))
    return minimised(start, value, derivatives, float(budgets.min()))[0]
