"""What latency, queue, exchange and fee plugins build: descriptions that the engine understands.

Plugins never touch hftbacktest; `bt_framework.engine.session` turns these into its models.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class LatencyModel:
    """Constant order latency.

    Attributes
    ----------
    entry_ns : int
        From our decision to the matching engine.
    response_ns : int
        From the matching engine back to us.
    feed_offset_ns : int
        Added to the recorded feed latency, for data recorded elsewhere than where the strategy would run.
    """

    entry_ns: int
    response_ns: int
    feed_offset_ns: int = 0


class QueueKind(StrEnum):
    """Queue models of hftbacktest."""

    RISK_AVERSE = "risk_averse"
    LOG_PROB = "log_prob"
    POWER_PROB = "power_prob"


@dataclass(frozen=True)
class QueueModel:
    """How the queue ahead of a resting order is taken to shrink. ``exponent`` is for POWER_PROB."""

    kind: QueueKind
    exponent: float = 0.0


class ExchangeKind(StrEnum):
    """Exchange models of hftbacktest."""

    NO_PARTIAL_FILL = "no_partial_fill"


@dataclass(frozen=True)
class ExchangeModel:
    """How orders are matched."""

    kind: ExchangeKind


@dataclass(frozen=True)
class FeeSchedule:
    """Fee of a fill = value x fraction + quantity x rate + flat amount; negative numbers are rebates.

    Attributes
    ----------
    maker_value_frac, taker_value_frac : float
        Fraction of the traded value.
    maker_per_qty, taker_per_qty : float
        Quote currency per base unit.
    per_fill : float
        Quote currency per fill.
    """

    maker_value_frac: float = 0.0
    taker_value_frac: float = 0.0
    maker_per_qty: float = 0.0
    taker_per_qty: float = 0.0
    per_fill: float = 0.0
