"""Which form of order book the engine uses for an instrument."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bt_framework.engine.clears import Range
from bt_framework.engine.models import DepthForm
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument

_MARGIN_FRAC = 0.05
_MIN_MARGIN_TICKS = 2_000
_MAX_TICKS = 4_000_000
"""A vector of prices costs 32 bytes a tick: two sides, for the exchange and for us."""

ForVector = Callable[[Range], Sequence[np.ndarray] | None]


@dataclass(frozen=True)
class BookChoice:
    """A vector over the prices from `low_px` to `high_px`, or a hash map (None); `reason` is for people.

    ``range_px`` is the range of prices that a vector has, or would have; ``events`` are to be read instead of the
    feed's, in these pieces, if it has clears that a vector must be told in another way.
    """

    low_px: float | None
    high_px: float | None
    reason: str
    range_px: tuple[float, float] | None = None
    events: tuple[np.ndarray, ...] = ()

    def as_hash_map(self) -> BookChoice:
        """Return the hash map for the same instrument."""
        return replace(self, low_px=None, high_px=None, events=())


def choose_book(
    instrument: Instrument,
    touch_low_px: float,
    touch_high_px: float,
    *,
    clears: ForVector | None = None,
    form: DepthForm = DepthForm.AUTO,
) -> BookChoice:
    """Choose the vector, which is faster, where it is right and not too large.

    Parameters
    ----------
    touch_low_px, touch_high_px : float
        Lowest best bid and highest best ask in the data, quote currency.
    clears : callable, optional
        If the data clears the book: returns the events for a vector of that range, None if there are none, see
        `bt_framework.engine.clears`.
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
    events: Sequence[np.ndarray] | None = ()
    if range_px is not None and clears is not None:
        low_ticks, high_ticks = range_ticks(instrument, range_px)
        events = clears(Range(instrument.tick_size, instrument.lot_size, low_ticks, high_ticks + 1))
        if events is None:
            why_none = "the data clears the book in a way that the price vector does not"
    if range_px is None or why_none:
        if form == DepthForm.PRICE_VECTOR:
            raise ConfigError(
                f"depth must be auto or hash_map for {instrument.symbol}, was price_vector: {why_none}."
            )
        return BookChoice(None, None, f"hash map: {why_none}", range_px)
    low_ticks, high_ticks = range_ticks(instrument, range_px)
    reason = f"price vector of {high_ticks - low_ticks + 1:,} ticks"
    return BookChoice(*range_px, reason, range_px, tuple(events or ()))


def range_ticks(instrument: Instrument, range_px: tuple[float, float]) -> tuple[int, int]:
    """Return a range of prices in ticks; both ends belong to it."""
    low_px, high_px = range_px
    return round(low_px / instrument.tick_size), round(high_px / instrument.tick_size)


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
