"""What is known of several feeds together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bt_framework.data.source import FeedReport
from bt_framework.errors import DataError

if TYPE_CHECKING:
    from bt_framework.results.run import Instrument
    from bt_framework.stores.clickhouse.feeds import DatabaseFeed
    from bt_framework.stores.clickhouse.market_data import Slice

_MUST_AGREE = ("contract", "clock", "bar_interval_ns", "adjust")
"""Notes that say what kind of events they are."""


def joined_sizes(
    feeds: Sequence[DatabaseFeed], *, whole: bool
) -> tuple[float | None, float | None, Instrument | None]:
    """Tick and lot size from the configuration of the load, and the instrument of the catalogue, see `Feed`.

    Sizes that were inferred from all events are inferred again from the same; a part takes those of the whole. Of
    several ticks, the finest counts that all others are multiples of.

    Raises
    ------
    DataError
        If there is no such tick, or the contracts differ.
    """
    specs = [feed.spec for feed in feeds]
    if len({spec.contract_size for spec in specs}) > 1:
        raise DataError(f"{feeds[0].symbol}: the feeds cannot be joined, their contract sizes differ.")
    finest = replace(
        specs[0],
        tick_size=_finest([spec.tick_size for spec in specs], feeds[0].symbol),
        lot_size=_finest([spec.lot_size for spec in specs], feeds[0].symbol),
    )
    ticks, lots = ({feed.sources[i] for feed in feeds} for i in range(2))
    tick_size = finest.tick_size if ticks == {"config"} else None
    lot_size = finest.lot_size if lots == {"config"} else None
    inferred = whole and not {"catalogue"} & (ticks | lots) and finest.contract_size == 1.0
    return tick_size, lot_size, None if inferred else finest


def _finest(sizes: Sequence[float], symbol: str) -> float:
    finest = min(sizes)
    for size in sizes:
        if abs(size / finest - round(size / finest)) > 1e-9:
            raise DataError(
                f"{symbol}: the feeds cannot be joined, {size!r} is no multiple of {finest!r}. Read them one by one "
                "with data.feed_ids."
            )
    return finest


def joined_report(parts: Sequence[Slice]) -> FeedReport:
    """Return what the readers found in the feeds, and in ``notes["partial"]`` what has been left out.

    Raises
    ------
    DataError
        If the feeds are of different kinds.
    """
    reports = [part.feed.report for part in parts]
    first: dict[str, str] = {}
    for report in reversed(reports):
        first |= report.first_dropped
    notes = (
        reports[0].notes
        if len(reports) == 1
        else _joined_notes(parts[0].feed.symbol, [r.notes for r in reports])
    )
    partial = _partial(parts)
    if partial:
        notes = {name: value for name, value in notes.items() if name != "announced_span"} | {
            "partial": partial
        }
    return FeedReport(
        symbol=parts[0].feed.symbol,
        rows_read=sum(report.rows_read for report in reports),
        dropped=_summed([report.dropped for report in reports]),
        first_dropped=first,
        gaps=sum(report.gaps for report in reports),
        missing_updates=sum(report.missing_updates for report in reports),
        duplicates=sum(report.duplicates for report in reports),
        first_problem=next((report.first_problem for report in reports if report.first_problem), ""),
        notes=notes,
    )


def _partial(parts: Sequence[Slice]) -> str:
    """What is not there, for people; empty if it is all there."""
    missing = []
    if parts[0].start_ts is not None:
        missing.append(f"the first {parts[0].first:,} events: the book has only levels that changed later")
    if parts[-1].end_ts is not None:
        missing.append(f"the last {parts[-1].feed.events - parts[-1].stop:,} events")
    if parts[0].where is not None:
        missing.append("events that data.where leaves out")
    return f"without {', and without '.join(missing)}" if missing else ""


def _joined_notes(symbol: str, notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Notes that are equal; times that were closed, all of them; the whole span; repairs added up."""
    for name in _MUST_AGREE:
        if len({repr(note.get(name)) for note in notes}) > 1:
            raise DataError(
                f"{symbol}: the feeds cannot be joined, their {name} differs. Choose with data.feed_ids."
            )
    joined = {
        name: value for name, value in notes[0].items() if all(note.get(name) == value for note in notes)
    }
    closed = [phase for note in notes for phase in note.get("closed_phases", ())]
    spans = [note["announced_span"] for note in notes if "announced_span" in note]
    repairs = _summed([note.get("repairs", {}) for note in notes])
    joined |= {"closed_phases": closed} if closed else {}
    joined |= {"repairs": repairs} if repairs else {}
    if len(spans) == len(notes):
        joined["announced_span"] = [min(span[0] for span in spans), max(span[1] for span in spans)]
    return joined


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)
