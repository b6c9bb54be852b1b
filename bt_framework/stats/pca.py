"""Statistical factors of a universe: principal components of its returns.

Returns are standardised to z: mean 0, and for the correlation matrix sd 1. With the eigenvectors v_j of the covariance
of z, ordered by eigenvalue, factor j is ``F_j[t] = v_j . z[t]``, and ``z[t] - sum F_j[t] v_j`` is what they leave, here
in units of returns again. Each factor is the return of a portfolio whose holdings are proportional to v / sd.

References
----------
Jolliffe, I. T. (2002). Principal Component Analysis, 2nd ed., Springer, sections 2.3 and 6.1.
Avellaneda, M. and Lee, J.-H. (2010). Statistical arbitrage in the US equities market. Quantitative Finance 10, 761-782,
section 2.1 (eigenportfolios, residual returns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._inputs import column_names
from bt_framework.stats._series import columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class PcaMatrix(Enum):
    """Whose eigenvectors are taken."""

    correlation = "correlation"
    """Every series counts the same."""
    covariance = "covariance"
    """A series counts by its variance."""


@dataclass(frozen=True)
class PcaFit:
    """Principal components of k series of n returns; m of them are kept as factors.

    Attributes
    ----------
    names : tuple of str, k
        Of the series.
    mean, scale : float64 array of shape (k,)
        A return less `mean`, divided by `scale`, is what the loadings apply to; scale is 1 for the covariance matrix.
    eigenvalues : float64 array of shape (k,)
        Variances along all components, largest first, with n - 1 in the denominator.
    explained : float64 array of shape (k,)
        Part of the whole variance along each.
    loadings : float64 array of shape (k, m)
        Unit eigenvectors, in columns. Signs are chosen so that each adds up to more than 0, or where the sum is 0 but
        for rounding, so that the first of the largest loadings is positive.
    factors : float64 array of shape (n, m)
        Factor returns of the sample.
    residuals : float64 array of shape (n, k)
        Returns that the factors leave, with mean 0.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    eigenvalues: np.ndarray
    explained: np.ndarray
    loadings: np.ndarray
    factors: np.ndarray
    residuals: np.ndarray

    @property
    def holdings(self) -> np.ndarray:
        """Portfolios whose returns less their mean are the factors: loadings / scale, shape (k, m)."""
        holdings: np.ndarray = self.loadings / self.scale[:, None]
        return holdings

    def factors_of(self, returns: ArrayLike) -> np.ndarray:
        """Factor returns, shape (n, m), of other returns of the same series, shape (n, k).

        Raises
        ------
        ValueError
            If the shape is another.
        """
        factors: np.ndarray = self._standardised(returns) @ self.loadings
        return factors

    def residuals_of(self, returns: ArrayLike) -> np.ndarray:
        """Returns that the factors leave, shape (n, k), of other returns of the same series.

        Raises
        ------
        ValueError
            If the shape is another.
        """
        z = self._standardised(returns)
        residuals: np.ndarray = (z - (z @ self.loadings) @ self.loadings.T) * self.scale
        return residuals

    def _standardised(self, returns: ArrayLike) -> np.ndarray:
        array = np.asarray(returns, np.float64)
        if array.ndim != 2 or array.shape[1] != len(self.mean):
            raise ValueError(f"returns must have shape (n, {len(self.mean)}), was {array.shape}.")
        z: np.ndarray = (array - self.mean) / self.scale
        return z


@dataclass(frozen=True)
class Pca:
    """Principal components of returns.

    Parameters
    ----------
    components : int or None
        Factors kept; None: as few as explain `explained` of the variance.
    explained : float
        In (0, 1]; read where `components` is None.
    matrix : PcaMatrix
        Whose eigenvectors are taken.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    components: int | None = None
    explained: float = 0.55
    matrix: PcaMatrix = PcaMatrix.correlation

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.components is not None and self.components < 1:
            raise ValueError(f"components must be >= 1, was {self.components}.")
        if not 0.0 < self.explained <= 1.0:
            raise ValueError(f"explained must be in (0, 1], was {self.explained!r}.")

    def fit(self, returns: ArrayLike, names: Sequence[str] | None = None) -> PcaFit:
        """Find the components of returns of shape (n, k), one series a column.

        Missing returns are refused: drop the rows, or the series, that lack them. Equal eigenvalues leave their vectors
        open; then they are those that the eigenvalue solver returns, the same each time.

        Raises
        ------
        ValueError
            If there are fewer than 3 observations, one is not finite, a series is constant, or `components` is more
            than the rank that n observations of k series can have, min(n - 1, k).
        """
        sample = columns(returns, "returns", 3)
        n, k = sample.shape
        most = min(n - 1, k)
        if self.components is not None and self.components > most:
            raise ValueError(
                f"components must be at most {most} for {n} observations of {k} series, was {self.components}."
            )
        names = column_names(names, k, "series")
        mean = sample.mean(axis=0)
        scale = sample.std(axis=0, ddof=1) if self.matrix is PcaMatrix.correlation else np.ones(k)
        z = (sample - mean) / scale
        values, vectors = np.linalg.eigh(z.T @ z / (n - 1))
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        parts = values / values.sum()
        kept = self.components
        if kept is None:
            kept = min(most, int(np.searchsorted(np.cumsum(parts), self.explained * (1.0 - 1e-12))) + 1)
        loadings = _signed(vectors[:, :kept])
        factors = z @ loadings
        residuals = (z - factors @ loadings.T) * scale
        return PcaFit(names, mean, scale, values, parts, loadings, factors, residuals)


def pca_factors(returns: ArrayLike, components: int) -> PcaFit:
    """Find the first components of the correlation matrix of returns, shape (n, k): `Pca` in one line.

    Examples
    --------
    >>> fit = pca_factors([[0.01, 0.02], [-0.01, -0.02], [0.02, 0.04], [0.0, 0.001]], 1)
    >>> fit.loadings.round(4).ravel().tolist()
    [0.7071, 0.7071]
    """
    return Pca(components).fit(returns)


def _signed(vectors: np.ndarray) -> np.ndarray:
    """Turn columns so that each adds up to more than 0, or its first largest entry is positive."""
    sums = vectors.sum(axis=0)
    size = np.abs(vectors)
    first = np.argmax(size >= size.max(axis=0) * (1.0 - 1e-9), axis=0)
    largest = vectors[first, np.arange(vectors.shape[1])]
    turn = np.where(np.abs(sums) > 1e-9, sums, largest) < 0.0
    return np.where(turn, -vectors, vectors)
