"""What strategies that hold several legs share: the keys of sampling and execution, and the state of the legs.

Their kernels are in `bt_framework.engine.leg_kernels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError


class PriceKind(Enum):
    """Which price is sampled."""

    mid = "mid"
    micro = "micro"


class Execution(Enum):
    """How legs are traded. Stops and the flattening at the end always take."""

    maker = "maker"
    taker = "taker"


@dataclass
class LegsConfig(ComponentConfig):
    """Base of the configuration of strategies of several legs: when prices are sampled, how legs are traded."""

    sample_ns: Duration = param(
        "100ms",
        "time between samples of the prices; 0: whenever all have been updated, as bars are",
        unit="ns",
    )
    price: PriceKind = param(PriceKind.mid, "price that is sampled: mid or micro")
    execution: Execution = param(Execution.maker, "maker (post-only at the touch, re-quoted) or taker")
    chase_after_ns: Duration = param("2s", "take with the leg that lags when the other has filled", unit="ns")
    flat_at_end: bool = param(True, "close the position before the end")
    flatten_before_ns: Duration = param("5s", "how long before the end", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("sample_ns", "chase_after_ns", "flatten_before_ns"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")


def legs_fields(count: int) -> list[tuple[Any, ...]]:
    """Fields that the kernels of `bt_framework.engine.leg_kernels` need in the state of a strategy of `count` legs.

    ``direction`` is 1, -1 or 0, ``kind`` the last decision (a `SignalKind`), taken at ``decided_ts``; ``armed`` is 0
    from a stop of the direction ``stopped`` on until entries are allowed again; ``target_qty`` is what each leg is to
    hold. ``refused`` is 1 when an entry that the estimates do not allow is to be recorded, 2 when it has been.
    ``first_px`` are the first prices, ``moved`` says which of them there have been others than. Where
    prices are sampled at updates, ``sampled_ts`` is when they last were and ``gap_ns`` how long after the time before:
    the end is near when no other sample is to be expected before it.
    """
    return [
        ("direction", "i8"),
        ("kind", "i8"),
        ("decided_ts", "i8"),
        ("sampled_ts", "i8"),
        ("gap_ns", "i8"),
        ("armed", "i8"),
        ("stopped", "i8"),
        ("refused", "i8"),
        ("hedge_ratio", "f8"),
        ("half_life_s", "f8"),
        ("target_qty", "f8", (count,)),
        ("first_px", "f8", (count,)),
        ("moved", "i8", (count,)),
    ]
