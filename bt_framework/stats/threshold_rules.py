"""Rules of entry and exit with their options, to be applied to fitted Ornstein-Uhlenbeck processes.

Formulas and sources are those of the functions in `bt_framework.stats.thresholds`. A process without estimates has no
thresholds, only a status that is not OK.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bt_framework.stats.ou import OuFit
from bt_framework.stats.thresholds import Thresholds, bertram, fixed_z, leung_li


@dataclass(frozen=True)
class FixedZ:
    """Given z-scores; see `fixed_z`. ``cost`` is of a round trip, units of the spread."""

    entry_z: float
    exit_z: float = 0.0
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not self.exit_z < self.entry_z:
            raise ValueError(f"entry_z must be > exit_z ({self.exit_z!r}), was {self.entry_z!r}.")
        _check_at_least_0("cost", self.cost)

    def fit(self, process: OuFit) -> Thresholds:
        """Levels on the process."""
        return fixed_z(process.theta, process.mu, process.sigma, self.entry_z, self.exit_z, self.cost)


@dataclass(frozen=True)
class Bertram:
    """Bertram's optimal thresholds; see `bertram`. Units of the spread: ``cost`` a round trip, ``rate`` a trade."""

    cost: float
    maximise: str = "return"
    rate: float = 0.0

    def __post_init__(self) -> None:
        _check_at_least_0("cost", self.cost)
        if self.maximise not in ("return", "sharpe"):
            raise ValueError(f"maximise must be return or sharpe, was {self.maximise!r}.")
        if self.maximise == "sharpe" and not 0.0 < self.rate < math.inf:
            raise ValueError(f"rate must be finite and > 0 for a Sharpe ratio, was {self.rate!r}.")

    def fit(self, process: OuFit) -> Thresholds:
        """Levels on the process."""
        theta, mu, sigma = process.theta, process.mu, process.sigma
        return bertram(theta, mu, sigma, self.cost, maximise=self.maximise, rate=self.rate)


@dataclass(frozen=True)
class LeungLi:
    """Leung and Li's optimal stopping; see `leung_li`.

    Attributes
    ----------
    costs : (float, float)
        Of leaving and of entering, units of the spread, >= 0.
    rates : (float, float)
        Discount rates while a trade is held and while it is waited for, 1/s, > 0.
    centred : bool
        Whether the mean counts as zero, as it should for a spread of log prices, whose level means nothing. Levels are
        around the process's own mean either way.
    """

    costs: tuple[float, float]
    rates: tuple[float, float]
    centred: bool = False

    def __post_init__(self) -> None:
        for cost in self.costs:
            _check_at_least_0("costs", cost)
        for rate in self.rates:
            if not 0.0 < rate < math.inf:
                raise ValueError(f"rates must be finite and > 0, was {rate!r}.")

    def fit(self, process: OuFit) -> Thresholds:
        """Levels on the process."""
        mu = 0.0 if self.centred else process.mu
        return replace(leung_li(process.theta, mu, process.sigma, self.costs, self.rates), mu=process.mu)


def _check_at_least_0(name: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and >= 0, was {value!r}.")
