"""hftbacktest's exchange models."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import ExchangeKind, ExchangeModel


@dataclass
class NoPartialFill(ComponentConfig):
    """Orders fill whole or not at all; a taker fills at the best price whatever is there."""

    name: str = param("no_partial_fill", "registry name")


@dataclass
class PartialFill(ComponentConfig):
    """Makers fill by as much as is traded, takers level by level by what is there; modifying is refused."""

    name: str = param("partial_fill", "registry name")


def build(config: ComponentConfig) -> ExchangeModel:
    """Return the exchange model."""
    return ExchangeModel(ExchangeKind(config.name))
