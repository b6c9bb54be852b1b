"""Forms of order book, and how much of it is seen."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import DepthForm, DepthModel
from bt_framework.errors import ConfigError


@dataclass
class Auto(ComponentConfig):
    """A vector over the prices that the data has, where that is right and not too large; else a hash map."""

    name: str = param("auto", "registry name")
    levels: int = param(0, "levels a side that strategy and broker see, 5 in the classic set-up; 0: all")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.levels < 0:
            raise ConfigError(f"levels must be >= 0, was {self.levels}.")


@dataclass
class PriceVector(Auto):
    """A vector over a range of prices: about twice as fast; refused where it would be wrong."""

    name: str = param("price_vector", "registry name")


@dataclass
class HashMap(Auto):
    """A hash map of prices: right for all data."""

    name: str = param("hash_map", "registry name")


def build(config: Auto) -> DepthModel:
    """Return the choice."""
    return DepthModel(DepthForm(config.name), config.levels)
