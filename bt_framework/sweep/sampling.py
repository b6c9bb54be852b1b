"""Jobs drawn at random from a space: independently, or as a Latin hypercube."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bt_framework.sweep.plan import Job
from bt_framework.sweep.space import Space


def random_fractions(trials: int, keys: int, seed: int) -> np.ndarray:
    """Return independent, uniform numbers.

    Parameters
    ----------
    trials, keys : int
        How many jobs, and how many keys vary.
    seed : int
        Equal seeds give equal numbers.

    Returns
    -------
    float64 array of shape (trials, keys), in [0, 1)
    """
    return np.random.default_rng(seed).random((trials, keys))


def latin_hypercube(trials: int, keys: int, seed: int) -> np.ndarray:
    """Return numbers of which each of the `trials` equal parts of every key has exactly one.

    Parameters
    ----------
    trials, keys : int
        How many jobs, and how many keys vary.
    seed : int
        Equal seeds give equal numbers.

    Returns
    -------
    float64 array of shape (trials, keys), in [0, 1)

    References
    ----------
    M. D. McKay, R. J. Beckman and W. J. Conover, "A Comparison of Three Methods for Selecting Values of Input
    Variables in the Analysis of Output from a Computer Code", Technometrics 21 (1979), 239-245.
    """
    generator = np.random.default_rng(seed)
    parts = np.column_stack([generator.permutation(trials) for _ in range(keys)])
    # Rounding up to the next part would put two numbers into it.
    inside = np.minimum(generator.random((trials, keys)), 1 - 1e-9)
    drawn: np.ndarray = (parts + inside) / trials
    return drawn


DRAWS: Mapping[str, Callable[[int, int, int], np.ndarray]] = {
    "random": random_fractions,
    "lhs": latin_hypercube,
}
"""Ways to draw, by the name of the sweeper."""


def drawn_jobs(sweeper: str, space: Space, trials: int, seed: int) -> list[Job]:
    """Return `trials` jobs from `space`, drawn as `sweeper` does."""
    fractions = DRAWS[sweeper](trials, len(space.dimensions), seed)
    return [
        space.job(number, dict(zip(space.dimensions, row, strict=True)))
        for number, row in enumerate(fractions.tolist())
    ]
