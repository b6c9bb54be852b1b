"""Constant order latency: four named places to trade from.

Where the numbers come from: they are round assumptions about one-way times between a strategy and the matching
engine, not measurements of a venue. They bracket what participants report for crypto venues hosted in one cloud
region: some hundred microseconds inside the same availability zone, a few milliseconds within the region, tens of
milliseconds from a home connection on the same continent. Measure your own with an order's request, exchange and
response times, and override ``entry_ns`` and ``response_ns``.
"""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.models import LatencyModel
from bt_framework.errors import ConfigError


@dataclass
class ConstantLatency(ComponentConfig):
    """Constant order latency."""

    entry_ns: Duration = param(0, "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param(0, "from the matching engine back to us", unit="ns")
    feed_offset_ns: Duration = param(0, "added to the recorded feed latency", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("entry_ns", "response_ns"):
            value = getattr(self, key)
            if value < 0:
                raise ConfigError(f"{key} must be >= 0, was {value}.")


@dataclass
class Colo(ConstantLatency):
    """Same availability zone as the matching engine: 250 us each way."""

    name: str = param("colo", "registry name")
    entry_ns: Duration = param("250us", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("250us", "from the matching engine back to us", unit="ns")


@dataclass
class SameRegion(ConstantLatency):
    """Same cloud region, another zone: 2 ms each way."""

    name: str = param("same_region", "registry name")
    entry_ns: Duration = param("2ms", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("2ms", "from the matching engine back to us", unit="ns")


@dataclass
class Retail(ConstantLatency):
    """A home connection: 40 ms each way, and 40 ms more on the recorded feed."""

    name: str = param("retail", "registry name")
    entry_ns: Duration = param("40ms", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("40ms", "from the matching engine back to us", unit="ns")
    feed_offset_ns: Duration = param("40ms", "added to the recorded feed latency", unit="ns")


@dataclass
class Zero(ConstantLatency):
    """No order latency: an upper bound that nobody can reach."""

    name: str = param("zero", "registry name")


def build(config: ConstantLatency) -> LatencyModel:
    """Return the latency model."""
    return LatencyModel(int(config.entry_ns), int(config.response_ns), int(config.feed_offset_ns))
