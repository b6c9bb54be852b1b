"""Constant order latency: of one's own, and four named places to trade from.

What the named figures rest on stands in each profile. They are round assumptions about one-way times, not measurements
of a venue; whoever has an own log of request, exchange and response times uses ``historical`` instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.models import LatencyModel
from bt_plugins.latency._shared import Disturbances, model_of


@dataclass
class BothWays(ComponentConfig):
    """Keys of constant latencies."""

    entry_ns: Duration = param(0, "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param(0, "from the matching engine back to us", unit="ns")


@dataclass
class Constant(Disturbances, BothWays):
    """Constant order latency, 1 ms each way unless told otherwise."""

    name: str = param("constant", "registry name")
    entry_ns: Duration = param("1ms", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("1ms", "from the matching engine back to us", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check_not_negative("entry_ns", "response_ns")


@dataclass
class Colo(Constant):
    """Same availability zone as the matching engine: 250 us each way.

    Provenance: an assumption, not a measurement: about 100 us for the network inside a zone, the rest for a gateway
    that parses, checks and queues the order.
    """

    name: str = param("colo", "registry name")
    entry_ns: Duration = param("250us", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("250us", "from the matching engine back to us", unit="ns")


@dataclass
class SameRegion(Constant):
    """Same cloud region, another zone: 2 ms each way.

    Provenance: an assumption, not a measurement: up to 1 ms for the network between zones, the rest for a load balancer
    with TLS and the gateway, for an account without a direct line.
    """

    name: str = param("same_region", "registry name")
    entry_ns: Duration = param("2ms", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("2ms", "from the matching engine back to us", unit="ns")


@dataclass
class Retail(Constant):
    """A home connection: 40 ms each way, and 40 ms more on the recorded feed.

    Provenance: an assumption, not a measurement. Light in fibre needs 5 us per km, so 4,000 km of route take 20 ms one
    way; a home line and the detours of the public internet are taken to double that.
    """

    name: str = param("retail", "registry name")
    entry_ns: Duration = param("40ms", "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param("40ms", "from the matching engine back to us", unit="ns")
    feed_offset_ns: Duration = param("40ms", "added to the recorded feed latency", unit="ns")


@dataclass
class Zero(Constant):
    """No order latency: an upper bound that nobody can reach.

    Provenance: none needed.
    """

    name: str = param("zero", "registry name")
    entry_ns: Duration = param(0, "from our decision to the matching engine", unit="ns")
    response_ns: Duration = param(0, "from the matching engine back to us", unit="ns")


def build(config: Constant) -> LatencyModel:
    """Return the latency model."""
    return model_of(config, entry_ns=int(config.entry_ns), response_ns=int(config.response_ns))
