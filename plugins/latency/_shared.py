"""What every latency model can do beside its own: a later or jittered feed, and outages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.config.settings import parse_time_ns
from bt_framework.engine.jitter import Distribution, Jitter
from bt_framework.engine.latency import LatencyTable
from bt_framework.engine.models import LatencyModel, Moment, Outage, OutageMode
from bt_framework.errors import ConfigError
from bt_framework.units import parse_duration_ns


class InOutage(Enum):
    """What becomes of orders sent in an outage."""

    delay = "delay"
    reject = "reject"


@dataclass
class Disturbances(ComponentConfig):
    """Keys of every latency model."""

    feed_offset_ns: Duration = param(0, "added to the recorded feed latency", unit="ns")
    feed_jitter_ns: Duration = param(0, "median of a random delay of the feed, lognormal; 0: none", unit="ns")
    feed_jitter_sigma: float = param(0.5, "its sigma")
    feed_jitter_step_ns: Duration = param("1ms", "feed delays are drawn at this distance", unit="ns")
    outages: list[list[str]] = param([], "[start, end] of each, ISO-8601 or since the start of the run (90s)")
    outage_mode: InOutage = param(InOutage.delay, "orders sent in an outage: delay or reject")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for outage in self.outages:
            if len(outage) != 2:
                raise ConfigError(f"outages must be pairs of start and end, was {list(outage)!r}.")
            for text in outage:
                _moment(text)
        if self.feed_jitter_ns < 0:
            raise ConfigError(f"feed_jitter_ns must be >= 0, was {self.feed_jitter_ns}.")
        self.feed_jitter().check(
            {
                "shape": "feed_jitter_sigma",
                "step_ns": "feed_jitter_step_ns",
                "scale_ns": "feed_jitter_ns",
                "correlation_ns": "",
            }
        )

    def feed_jitter(self) -> Jitter:
        """The random delay of the feed."""
        return Jitter(
            Distribution.LOGNORMAL,
            int(self.feed_jitter_ns),
            float(self.feed_jitter_sigma),
            int(self.feed_jitter_step_ns),
        )

    def check_not_negative(self, *keys: str) -> None:
        """Refuse negative values of `keys`."""
        for key in keys:
            value = getattr(self, key)
            if not 0 <= value < float("inf"):
                raise ConfigError(f"{key} must be >= 0, was {value}.")


def model_of(
    config: Disturbances, *, entry_ns: int = 0, response_ns: int = 0, table: LatencyTable | None = None
) -> LatencyModel:
    """Return a latency model with what `Disturbances` adds to it."""
    return LatencyModel(
        entry_ns=entry_ns,
        response_ns=response_ns,
        feed_offset_ns=int(config.feed_offset_ns),
        table=table,
        outages=tuple(Outage(_moment(start), _moment(end)) for start, end in config.outages),
        outage_mode=OutageMode(config.outage_mode.value),
        feed_jitter=config.feed_jitter() if config.feed_jitter_ns else None,
    )


def _moment(text: str) -> Moment:
    """A duration such as ``90s`` counts from the start of the run; all else is a time."""
    if "-" in text[1:] or ":" in text:
        return Moment(parse_time_ns(text, "outages"), is_utc=True)
    return Moment(parse_duration_ns(text, "outages"))
