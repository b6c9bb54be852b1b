"""A progress bar and a summary table on a terminal; plain lines elsewhere."""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError
from bt_framework.results.console import Console, PlainLines, Showing, done_frac
from bt_framework.results.record import RunRecord
from bt_framework.results.run import RunContext, SliceBatch, Status
from bt_framework.results.summary import (
    books_line,
    format_metric,
    format_rate,
    format_ts,
    latency_line,
    speed_line,
    summary_rows,
)

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.progress import Progress
    from rich.table import Table

_REFRESH_S = 0.1
_STYLES = {Status.COMPLETED: "green", Status.STOPPED: "yellow", Status.FAILED: "red"}


@dataclass
class RichConsole(ComponentConfig):
    """A progress bar and a summary table; plain lines when stdout is no terminal."""

    name: str = param("rich", "registry name")
    interval_ns: Duration = param("5s", "wall time between two plain lines of progress", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.interval_ns) < 0:
            raise ConfigError(f"interval_ns must be >= 0, was {self.interval_ns}.")


def build(config: RichConsole) -> Console:
    """Return the console that suits stdout."""
    draws = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return TerminalConsole() if draws else PlainLines(int(config.interval_ns))


class TerminalConsole(Console):
    """Draws on a terminal with rich, which is imported when the first line is due."""

    showing = Showing.LIVE

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._terminal = terminal
        self._progress: Progress | None = None
        self._task: Any = None
        self._next_s = 0.0

    @property
    def terminal(self) -> Terminal:
        """Where to draw."""
        if self._terminal is None:
            from rich.console import Console as Terminal

            self._terminal = Terminal(highlight=False)
        return self._terminal

    def notice(self, text: str) -> None:
        """Print a dim line, above the bar if there is one."""
        self.terminal.print(text, style="dim", markup=False)

    def begin(self, run: RunContext) -> None:
        """Say what runs, and draw the bar."""
        from rich.text import Text

        symbols = " ".join(i.symbol for i in run.instruments)
        line = Text.assemble((run.strategy, "bold cyan"), " on ", (symbols, "bold"))
        self.terminal.print(line.append(f"  {format_ts(run.start_ts)} to {format_ts(run.end_ts)}", "dim"))
        if run.data_grade.get("line"):
            style = "dim" if run.data_grade.get("grade") == "ok" else "yellow"
            self.terminal.print(f"data: {run.data_grade['line']}", style=style, markup=False)
        if run.latency:
            self.terminal.print(f"latency: {latency_line(run.latency)}", style="dim", markup=False)
        if run.books:
            self.terminal.print(f"order book: {books_line(run.books)}", style="dim", markup=False)
        self._progress = _new_progress(self.terminal)
        self._task = self._progress.add_task("", total=1.0, at="", rate="", pnl="", left="")
        atexit.register(self._progress.stop)  # a broken run must not leave the terminal without its cursor
        self._progress.start()

    def progress(self, run: RunContext, batch: SliceBatch) -> None:
        """Move the bar, at most ten times a second."""
        if self._progress is None or batch.wall_s < self._next_s:
            return
        self._next_s = batch.wall_s + _REFRESH_S
        done = done_frac(run, batch)
        self._progress.update(
            self._task,
            completed=done,
            at=format_ts(batch.local_ts),
            rate=format_rate(batch.events / batch.wall_s) if batch.wall_s > 0 else "",
            pnl=f"PnL {format_metric(batch.metrics, 'pnl', 'amount')}",
            left=f"{batch.wall_s * (1 - done) / done:.0f} s left" if done > 0 else "",
            refresh=True,
        )

    def end(self, record: RunRecord) -> None:
        """Replace the bar by the summary."""
        if self._progress is not None:
            self._progress.stop()
            atexit.unregister(self._progress.stop)
            self._progress = None
        self.terminal.print(summary_table(record))
        self.terminal.print(speed_line(record), style="dim", markup=False)
        self.terminal.print(f"run {record.run_id}", markup=False)
        self.terminal.print(str(record.run_dir), markup=False, soft_wrap=True)


def summary_table(record: RunRecord) -> Table:
    """Metrics of a run as a rich table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble(
        (record.strategy, "bold"), "  ", (str(record.status), _STYLES.get(record.status, ""))
    )
    table = Table(title=title, title_justify="left", show_header=False, box=box.ROUNDED)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for label, value in summary_rows(record):
        table.add_row(label, Text(value, _tone(label, value)))
    return table


def _tone(label: str, value: str) -> str:
    if label not in ("PnL", "return") or not any(digit in value for digit in "123456789"):
        return ""
    return "red" if value.startswith("-") else "green"


def _new_progress(terminal: Terminal) -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[at]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[pnl]}"),
        TextColumn("{task.fields[left]}", style="dim"),
        console=terminal,
        auto_refresh=False,
        transient=True,
    )
