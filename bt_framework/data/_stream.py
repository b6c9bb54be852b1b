"""One pass from a feed to the store: order, examine, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from bt_framework.data._sink import BLOCK_ROWS, BlockSink, MemorySink, Rows, Sink
from bt_framework.data.doctor import Doctor, Finding
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.data.specs import KnownSizes, Spec, known_sizes
from bt_framework.errors import DataError
from bt_framework.records import EVENT

_LONGEST_SYMBOL = 60
"""Symbols are folders of the archive, whose names may have 255 bytes."""


@dataclass
class Examined:
    """What one pass over a feed has found; the rest of it is read from the doctor's statistics."""

    symbol: str
    report: FeedReport
    known: KnownSizes
    doctor: Doctor
    content_hash: str = ""
    days: list[tuple[str, int]] = field(default_factory=list)
    held: Rows | None = None
    spec: Spec | None = None
    findings: list[Finding] = field(default_factory=list)


class Target(Enum):
    """Where the events of a feed go."""

    NOWHERE = "nowhere"
    FILES = "files"
    MEMORY = "memory"


def stream(feed: Feed, spool_dir: Path, progress: Progress, target: Target) -> Examined:
    """Examine `feed`, and write its events into `spool_dir` or keep them, as `target` says.

    Raises
    ------
    DataError
        If the input cannot be used, or a configured tick size does not divide the prices.
    """
    report = FeedReport()
    chunks = ordered_chunks(feed, report, progress, spool_dir)
    first = next(_not_empty(chunks), None)
    symbol = stored_symbol(feed, report)
    known = known_sizes(feed, report)
    examined = Examined(symbol, report, known, Doctor(known))
    if first is not None:
        rest = _joined(first, chunks)
        if target is Target.FILES:
            with Sink(spool_dir, reader_name(feed), symbol) as sink:
                _pump(rest, examined.doctor, sink)
                examined.content_hash, examined.days = sink.finish()
        elif target is Target.MEMORY:
            memory = MemorySink()
            _pump(rest, examined.doctor, memory)
            examined.content_hash, examined.held = memory.finish()
        else:
            _pump(rest, examined.doctor, None)
        examined.doctor.finish()
        examined.spec = examined.doctor.spec(symbol)
    examined.findings = examined.doctor.findings(report, examined.spec)
    return examined


def _not_empty(chunks: Iterator[Rows]) -> Iterator[Rows]:
    return (chunk for chunk in chunks if len(chunk))


def _joined(first: Rows, rest: Iterator[Rows]) -> Iterator[Rows]:
    yield first
    yield from rest


def _pump(chunks: Iterator[Rows], doctor: Doctor, sink: BlockSink | None) -> None:
    """Gather chunks of any size into blocks of one size; each is examined, then handed to `sink`."""
    block = sink.block() if sink else np.empty(BLOCK_ROWS, EVENT)
    filled = 0
    for chunk in chunks:
        taken = 0
        while taken < len(chunk):
            count = min(len(block) - filled, len(chunk) - taken)
            block[filled : filled + count] = chunk[taken : taken + count]
            filled += count
            taken += count
            if filled == len(block):
                doctor.examine(block)
                if sink:
                    sink.submit(block)
                    block = sink.block()
                filled = 0
    if filled:
        doctor.examine(block[:filled])
        if sink:
            sink.submit(block[:filled])


def reader_name(feed: Feed) -> str:
    """Name of the reader, a folder of the archive."""
    return safe_name(str(feed.identity().get("reader", type(feed).__name__)))


def stored_symbol(feed: Feed, report: FeedReport) -> str:
    """Symbol that was asked for, else the data's, else the first file's name.

    Raises
    ------
    DataError
        If the data are of another symbol than the one asked for, or the symbol can be no name of anything.
    """
    if feed.symbol and report.symbol and feed.symbol != report.symbol:
        raise DataError(f"symbol must be {feed.symbol}, was {report.symbol} in {_names(feed)}.")
    symbol = feed.symbol or report.symbol or (feed.files[0].name.partition(".")[0] if feed.files else "")
    if len(symbol) > _LONGEST_SYMBOL or not symbol.isprintable():
        raise DataError(
            f"symbol must be at most {_LONGEST_SYMBOL} printable characters, was {symbol[:80]!r} in {_names(feed)}."
        )
    return symbol or "UNKNOWN"


def _names(feed: Feed) -> str:
    return ", ".join(str(path) for path in feed.files) or "the data"


def safe_name(name: str) -> str:
    """`name` as the name of a folder."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "_"
