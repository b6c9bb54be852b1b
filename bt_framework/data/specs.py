"""Tick, lot and contract size of an instrument: from the configuration, a catalogue, or the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bt_framework.data.source import Feed, FeedReport
from bt_framework.errors import DataError
from bt_framework.results.run import Instrument

MIN_TICK_FRAC = 1e-9
"""A tick inferred to be a smaller part of the price than this is taken for noise."""

OFF_FRAC = 1e-3
"""Part of the values off a catalogue's grid above which the catalogue is taken to be about something else."""


@dataclass(frozen=True)
class KnownSizes:
    """Sizes known before the data are read; None is for the data to tell.

    ``tick_source`` and ``lot_source`` are ``"config"``, ``"catalogue"`` or ``"inferred"``.
    """

    tick_size: float | None
    lot_size: float | None
    contract_size: float
    tick_source: str
    lot_source: str


@dataclass(frozen=True)
class Spec:
    """An instrument, where its sizes come from, and what there is to say about them."""

    instrument: Instrument
    tick_source: str
    lot_source: str
    notices: list[str] = field(default_factory=list)


def known_sizes(feed: Feed, report: FeedReport) -> KnownSizes:
    """Sizes from the feed's configuration, else from its catalogue."""
    listed = feed.known_instrument(report)
    tick_size, tick_source = _first(feed.tick_size, listed.tick_size if listed else None)
    lot_size, lot_source = _first(feed.lot_size, listed.lot_size if listed else None)
    contract_size = listed.contract_size if listed else 1.0
    return KnownSizes(tick_size, lot_size, contract_size, tick_source, lot_source)


def _first(configured: float | None, listed: float | None) -> tuple[float | None, str]:
    if configured is not None:
        return configured, "config"
    return (None, "inferred") if listed is None else (listed, "catalogue")


def resolve(symbol: str, known: KnownSizes, px_grid: Any, qty_grid: Any, max_px: float) -> Spec:
    """Settle the sizes once all events have been seen.

    Parameters
    ----------
    px_grid, qty_grid : records of `bt_framework.data._grid.GRID`
        What the prices and quantities say.
    max_px : float
        Highest price of the first block, quote currency.

    Raises
    ------
    DataError
        If a configured tick size does not divide the prices (with an example), or none can be inferred.
    """
    if known.tick_source == "config" and px_grid.known_off:
        off, example = int(px_grid.known_off), float(px_grid.known_value)
        raise DataError(
            f"tick_size of {symbol} must divide the prices, was {known.tick_size!r}: "
            f"row {px_grid.known_first} has the price {example!r}, 1 of {off:,} of {int(px_grid.values):,}. "
            f"Leave it out to use the size that the prices suggest, {inferred_size(px_grid)!r}."
        )
    notices: list[str] = []
    tick_size, tick_source = _settle("tick", symbol, known.tick_size, known.tick_source, px_grid, notices)
    lot_size, lot_source = _settle("lot", symbol, known.lot_size, known.lot_source, qty_grid, notices)
    if tick_source == "inferred" and tick_size < max_px * MIN_TICK_FRAC:
        raise DataError(
            f"tick_size of {symbol} cannot be inferred: the prices lie on no decimal grid coarser than "
            f"{tick_size!r}. Give it in the configuration of the data source."
        )
    return Spec(
        Instrument(symbol, tick_size, lot_size, known.contract_size), tick_source, lot_source, notices
    )


def _settle(
    what: str, symbol: str, size: float | None, source: str, grid: Any, notices: list[str]
) -> tuple[float, str]:
    suggested = inferred_size(grid)
    if size is not None and source == "catalogue" and contradicts(grid):
        notices.append(
            f"{what} size of {symbol}: the catalogue's {size!r} does not fit the data, inferred {suggested!r}"
        )
        return suggested, "inferred"
    if size is not None:
        return size, source
    notices.append(f"{what} size of {symbol}: inferred {suggested!r} from the data")
    return suggested, source


def contradicts(grid: Any) -> bool:
    """Whether too many values are off the size known beforehand for that size to be theirs."""
    return bool(grid.known_off > OFF_FRAC * grid.values)


def inferred_size(grid: Any) -> float:
    """Size of the decimal grid that the values lie on; 1.0 if there were none."""
    return float(int(grid.unit) / float(grid.scale)) if grid.unit else 1.0


def decimals_scale(max_value: float, decimals: int) -> float:
    """Power of ten that makes integers of decimals: at most `decimals` places, and what float64 resolves."""
    scale = 10.0**decimals
    while scale > 1.0 and max_value * scale > 2.0**47:
        scale /= 10.0
    return scale
