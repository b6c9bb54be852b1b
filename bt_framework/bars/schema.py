"""The one form of bars: a table of `BAR_SCHEMA`, sorted by symbol and time."""

from __future__ import annotations

from enum import IntFlag

import pyarrow as pa

BAR_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("datetime", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("open", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("close", pa.float64()),
        pa.field("volume", pa.float64()),
        pa.field("adj_factor", pa.float64(), nullable=False),
        pa.field("outlier_flag", pa.uint8(), nullable=False),
    ]
)
"""Bars.

``datetime`` is when the bar opens. Prices are quote currency, ``volume`` base units, both as traded, unadjusted.
``adj_factor`` times a price is the price comparable with the newest one; volume divided by it likewise. It is 1 where
nothing is to be adjusted. ``outlier_flag`` holds `BarFlag` bits. A missing value is null.
"""


class BarFlag(IntFlag):
    """What preprocessing has found or done; bits of ``outlier_flag``."""

    NONE = 0
    OUTLIER = 1
    """The close is an outlier against the bars before it."""
    REPLACED = 2
    """The outlier's prices were replaced."""
    FILLED = 4
    """There was no such bar; its values are made from its neighbours."""
    INTERPOLATED = 8
    """Besides FILLED: made with the bar after the gap too, so that it was not known at its own time."""


ACTION_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("ex_date", pa.date32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
"""Corporate actions: ``kind`` is "split" (value: new shares per old one) or "dividend" (value: cash per share)."""
