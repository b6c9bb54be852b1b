"""Queue models of hftbacktest: how the queue ahead of a resting order is taken to shrink."""

from __future__ import annotations

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
class PowerProb(ComponentConfig):
    """Cancels are shared between front f and back b of the queue as b^n / (b^n + f^n)."""

    name: str = param("power_prob", "registry name")
    exponent: float = param(3.0, "n: the larger, the more cancels come from the longer part")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.exponent > 0:
            raise ConfigError(f"exponent must be > 0, was {self.exponent}.")


def build(config: ComponentConfig) -> QueueModel:
    """Return the queue model."""
    return QueueModel(QueueKind(config.name), float(getattr(config, "exponent", 0.0)))
