"""Queue models of hftbacktest: how the queue ahead of a resting order is taken to shrink."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import QueueKind, QueueModel
from bt_framework.errors import ConfigError


@dataclass
class RiskAverse(ComponentConfig):
    """The queue ahead shrinks by trades only: nobody in front of us ever cancels."""

    name: str = param("risk_averse", "registry name")


@dataclass
class LogProb(ComponentConfig):
    """Cancels are shared between front f and back b of the queue as log(1+b) / (log(1+b) + log(1+f))."""

    name: str = param("log_prob", "registry name")


@dataclass
class LogProb2(ComponentConfig):
    """Cancels are shared between front f and back b of the queue as log(1+b) / log(1+b+f)."""

    name: str = param("log_prob2", "registry name")


@dataclass
class PowerProb(ComponentConfig):
    """Cancels are shared between front f and back b of the queue as b^n / (b^n + f^n)."""

    name: str = param("power_prob", "registry name")
    exponent: float = param(3.0, "n: the larger, the more cancels come from the longer part")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 < self.exponent < math.inf:
            raise ConfigError(f"exponent must be > 0 and finite, was {self.exponent}.")


@dataclass
class PowerProb2(PowerProb):
    """Cancels are shared between front f and back b of the queue as b^n / (b+f)^n."""

    name: str = param("power_prob2", "registry name")
    exponent: float = param(3.0, "n: the larger, the more cancels come from the front")


@dataclass
class PowerProb3(PowerProb):
    """Cancels are shared between front f and back b of the queue as 1 - (f / (f+b))^n."""

    name: str = param("power_prob3", "registry name")
    exponent: float = param(3.0, "n: the larger, the more cancels come from the back")


@dataclass
class L3Fifo(ComponentConfig):
    """First in, first out among the single orders of L3 data: nothing is estimated."""

    name: str = param("l3_fifo", "registry name")


def build(config: ComponentConfig) -> QueueModel:
    """Return the queue model."""
    return QueueModel(QueueKind(config.name), float(getattr(config, "exponent", 0.0)))
