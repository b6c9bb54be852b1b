"""The base of what talks to the user while a run goes on."""

from __future__ import annotations

import sys
from enum import Enum, auto

from bt_framework.hookspecs import hookimpl
from bt_framework.results.record import RunRecord
from bt_framework.results.run import RunContext, RunSummary, SliceBatch
from bt_framework.results.summary import (
    books_line,
    format_metric,
    format_rate,
    format_ts,
    latency_line,
    speed_line,
    summary_rows,
)
from bt_framework.units import NS_PER_S


class Showing(Enum):
    """How a sweep is shown."""

    LINES = auto()
    LIVE = auto()
    """One view on a terminal, drawn again and again."""
    JSON = auto()


class Console:
    """A console plugin: what the ``console`` group builds.

    The runner calls `notice` at any time, also before `before_run`, and the hooks in the order of a run's
    life. Subclasses override `notice`, `begin`, `progress` and `end`; each does nothing here.

    Attributes
    ----------
    showing : Showing
        How a sweep with this console is shown; its runs have none of their own.
    interval_s : float
        Wall time between two lines of progress.
    """

    showing = Showing.LINES
    interval_s = 5.0

    def notice(self, text: str) -> None:
        """Tell the user something that is worth a line, such as a compilation that takes seconds."""

    def begin(self, run: RunContext) -> None:
        """Show that `run` begins."""

    def progress(self, run: RunContext, batch: SliceBatch) -> None:
        """Show how far `run` is."""

    def end(self, record: RunRecord) -> None:
        """Show how the run ended, whatever its status."""

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Call `begin`."""
        self.begin(run)

    @hookimpl
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Call `progress`."""
        self.progress(run, batch)

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Call `end`."""
        self.end(RunRecord.started(run).finished(summary))

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Call `end`; the command line prints the error itself."""
        self.end(RunRecord.started(run).finished(summary))


class PlainLines(Console):
    """Plain lines: progress every `interval_ns` of wall time, then the summary."""

    def __init__(self, interval_ns: int) -> None:
        self.interval_s = interval_ns / NS_PER_S
        self._next_s = self.interval_s

    def notice(self, text: str) -> None:
        """Print `text` on stderr."""
        print(text, file=sys.stderr, flush=True)

    def begin(self, run: RunContext) -> None:
        """Print what runs."""
        symbols = " ".join(i.symbol for i in run.instruments)
        span = f"{format_ts(run.start_ts)} to {format_ts(run.end_ts)}"
        print(f"{run.run_id}: {run.strategy} on {symbols}, {span}, {run.events:,} events", flush=True)
        if run.data_grade.get("line"):
            print(f"data: {run.data_grade['line']}", flush=True)
        if run.latency:
            print(f"latency: {latency_line(run.latency)}", flush=True)
        if run.books:
            print(f"order book: {books_line(run.books)}", flush=True)

    def progress(self, run: RunContext, batch: SliceBatch) -> None:
        """Print a line if it is time."""
        if batch.wall_s >= self._next_s:
            self._next_s = batch.wall_s + self.interval_s
            print(progress_line(run, batch), flush=True)

    def end(self, record: RunRecord) -> None:
        """Print the summary."""
        print(f"status: {record.status}")
        for label, value in summary_rows(record):
            print(f"{label}: {value}")
        print(f"speed: {speed_line(record)}")
        print(f"run: {record.run_id}")
        print(f"folder: {record.run_dir}", flush=True)


def done_frac(run: RunContext, batch: SliceBatch) -> float:
    """How much of the simulated interval is done, between 0 and 1."""
    return min(1.0, max(0.0, (batch.local_ts - run.start_ts) / max(1, run.end_ts - run.start_ts)))


def progress_line(run: RunContext, batch: SliceBatch) -> str:
    """How far a run is: simulated time, events per second, PnL, time left."""
    done = done_frac(run, batch)
    parts = [f"{done:4.0%}", format_ts(batch.local_ts)]
    if batch.wall_s > 0:
        parts.append(format_rate(batch.events / batch.wall_s))
    parts.append(f"PnL {format_metric(batch.metrics, 'pnl', 'amount')}")
    if done > 0:
        parts.append(f"{batch.wall_s * (1 - done) / done:.0f} s left")
    return "  ".join(parts)
