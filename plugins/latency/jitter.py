"""Order latencies that are drawn: a base and a random part, for entry and response apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.jitter import Distribution, Jitter, key_of
from bt_framework.engine.latency import CHUNK_ROWS, LatencySpan, LatencyTable, latency_rows
from bt_framework.engine.models import LatencyModel
from bt_plugins.latency._shared import Disturbances, model_of


class Shape(Enum):
    """Distributions."""

    lognormal = "lognormal"
    gamma = "gamma"


@dataclass
class Drawn(ComponentConfig):
    """Keys of drawn latencies."""

    distribution: Shape = param(Shape.lognormal, "of the random part: lognormal or gamma")
    entry_base_ns: Duration = param("200us", "least latency to the matching engine", unit="ns")
    entry_scale_ns: Duration = param(
        "100us", "random part: median of the lognormal, scale of the gamma", unit="ns"
    )
    entry_shape: float = param(0.8, "random part: sigma of the lognormal, shape of the gamma")
    response_base_ns: Duration = param("200us", "least latency back to us", unit="ns")
    response_scale_ns: Duration = param("100us", "as entry_scale_ns, of responses", unit="ns")
    response_shape: float = param(0.8, "as entry_shape, of responses")
    step_ns: Duration = param("10ms", "latencies are drawn at this distance", unit="ns")
    correlation_ns: Duration = param(
        0, "latencies closer than this are alike; 0: every draw is independent", unit="ns"
    )


@dataclass
class JitterLatency(Disturbances, Drawn):
    """A least latency and a random part, lognormal or gamma, drawn from the run's seed."""

    name: str = param("jitter", "registry name")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check_not_negative("entry_base_ns", "response_base_ns")
        for way in ("entry", "response"):
            keys = {"scale_ns": f"{way}_scale_ns", "shape": f"{way}_shape"}
            self.random_part(way).check(keys | {"step_ns": "step_ns", "correlation_ns": "correlation_ns"})

    def random_part(self, way: str) -> Jitter:
        """The random part of a way, entry or response."""
        return Jitter(
            Distribution(self.distribution.value),
            int(getattr(self, f"{way}_scale_ns")),
            float(getattr(self, f"{way}_shape")),
            int(self.step_ns),
            int(self.correlation_ns),
        )


@dataclass(frozen=True)
class JitterTable(LatencyTable):
    """A row per step of absolute time; every instrument has draws of its own.

    Attributes
    ----------
    entry, response : (int, Jitter)
        Least latency, ns, and random part.
    """

    entry: tuple[int, Jitter]
    response: tuple[int, Jitter]

    def identity(self, span: LatencySpan) -> Mapping[str, Any]:
        """Parameters, symbol and seed."""
        ways = {
            name: {"base_ns": base_ns, **jitter.identity()}
            for name, (base_ns, jitter) in (("entry", self.entry), ("response", self.response))
        }
        return {"model": "jitter", **ways, "symbol": span.symbol, "seed": span.seed}

    def chunks(self, span: LatencySpan) -> Iterator[np.ndarray]:
        """Yield the rows from the step before the run to the one after it."""
        step_ns = self.entry[1].step_ns
        keys = {
            way: key_of({"way": way, "symbol": span.symbol, "seed": span.seed})
            for way in ("entry", "response")
        }
        first, last = span.start_ts // step_ns, span.end_ts // step_ns + 2
        for start in range(first, last, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, last)
            req_ts = np.arange(start, stop, dtype=np.int64) * step_ns
            exch_ts = self.entry[1].arrivals(keys["entry"], start, stop, self.entry[0])
            response_ns = self.response[0] + self.response[1].delays(keys["response"], start, stop)
            yield latency_rows(req_ts, exch_ts - req_ts, response_ns)


def build(config: JitterLatency) -> LatencyModel:
    """Return the latency model."""
    table = JitterTable(
        (int(config.entry_base_ns), config.random_part("entry")),
        (int(config.response_base_ns), config.random_part("response")),
    )
    return model_of(config, table=table)
