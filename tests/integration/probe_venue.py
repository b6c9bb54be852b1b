"""A venue for tests: 2 ms to the exchange, 3 ms back, maker and taker fees."""

from __future__ import annotations

from typing import Any

from bt_framework.engine.models import (
    ExchangeKind,
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.units import NS_PER_MS as MS


def venue() -> tuple[Any, ...]:
    """Latency, queue, exchange and fees, as `Market` takes them."""
    return (
        LatencyModel(2 * MS, 3 * MS),
        QueueModel(QueueKind.RISK_AVERSE),
        ExchangeModel(ExchangeKind.NO_PARTIAL_FILL),
        FeeSchedule(maker_value_frac=1e-4, taker_value_frac=5e-4),
    )
