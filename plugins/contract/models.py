"""Linear and inverse contracts."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import ContractKind, ContractModel
from bt_framework.errors import ConfigError


@dataclass
class FromData(ComponentConfig):
    """What the data says: linear, unless the source knows that its contracts are inverse."""

    name: str = param("from_data", "registry name")
    contract_size: dict[str, float] = param({}, "by symbol; else as the data says", unit="base per unit")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for symbol, size in self.contract_size.items():
            if not 0 < size < float("inf"):
                raise ConfigError(f"contract_size.{symbol} must be > 0 and finite, was {size}.")


@dataclass
class Linear(FromData):
    """A quantity q at price px is worth q x px x contract size, in quote currency."""

    name: str = param("linear", "registry name")


@dataclass
class Inverse(FromData):
    """A quantity q at price px is worth q x contract size / px, in base currency; the account is in base currency."""

    name: str = param("inverse", "registry name")
    contract_size: dict[str, float] = param({}, "by symbol; else as the data says", unit="quote per contract")


def build(config: FromData) -> ContractModel:
    """Return the contract model."""
    return ContractModel(ContractKind(config.name), dict(config.contract_size))
