"""Which form of order book the engine uses for an instrument."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bt_framework.engine.models import DepthForm
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument

_MARGIN_FRAC = 0.05
_MIN_MARGIN_TICKS = 2_000
_MAX_TICKS = 4_000_000
"""A vector of prices costs 32 bytes a tick: two sides, for the exchange and for us."""


@dataclass(frozen=True)
class BookChoice:
    """A vector over the prices from `low_px` to `high_px`, or a hash map (None); `reason` is for people.

    ``range_px`` is the range of prices that a vector has, or would have.
    """

    low_px: float | None
    high_px: float | None
    reason: str
    range_px: tuple[float, float] | None = None


def choose_book(
    instrument: Instrument,
    touch_low_px: float,
    touch_high_px: float,
    *,
    clears_depth: bool,
    form: DepthForm = DepthForm.AUTO,
) -> BookChoice:
    """Choose the vector, which is faster, where it is right and not too large.

    Parameters
    ----------
    touch_low_px, touch_high_px : float
        Lowest best bid and highest best ask in the data, quote currency.
    clears_depth : bool
        Whether the data has depth-clear events: the vector of hftbacktest 2.4 does not clear asks.
    form : DepthForm
        What is asked for.

    Raises
    ------
    ConfigError
        If a vector is asked for where it is not right or too large.
    """
    range_px, why_none = _range(instrument, touch_low_px, touch_high_px)
    if form == DepthForm.HASH_MAP:
        return BookChoice(None, None, "hash map: chosen", range_px)
    if clears_depth:
        why_none = "the data clears the book, which the price vector does not do for asks"
    if range_px is None or why_none:
        if form == DepthForm.PRICE_VECTOR:
            raise ConfigError(
                f"depth must be auto or hash_map for {instrument.symbol}, was price_vector: {why_none}."
            )
        return BookChoice(None, None, f"hash map: {why_none}", range_px)
    low_px, high_px = range_px
    ticks = round((high_px - low_px) / instrument.tick_size) + 1
    return BookChoice(low_px, high_px, f"price vector of {ticks:,} ticks", range_px)


def _range(
    instrument: Instrument, touch_low_px: float, touch_high_px: float
) -> tuple[tuple[float, float] | None, str]:
    """Range of a price vector, or why there is none."""
    if not (math.isfinite(touch_low_px) and math.isfinite(touch_high_px) and touch_low_px > 0):
        return None, "the data has no two-sided book"
    tick = instrument.tick_size
    margin = max(_MARGIN_FRAC * touch_high_px, _MIN_MARGIN_TICKS * tick)
    low_ticks = max(1, math.floor((touch_low_px - margin) / tick))
    high_ticks = math.ceil((touch_high_px + margin) / tick)
    ticks = high_ticks - low_ticks + 1
    if ticks > _MAX_TICKS:
        return None, f"a price vector would have {ticks:,} ticks, more than {_MAX_TICKS:,}"
    return (low_ticks * tick, high_ticks * tick), ""
