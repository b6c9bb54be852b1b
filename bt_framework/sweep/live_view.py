"""A sweep on a terminal: a bar, the best job so far, what each worker does; what happens is printed above them."""

from __future__ import annotations

import atexit
import platform
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, JournalReader, Outcome
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.view import PlainView, failure_line
from bt_framework.sweep.words import seconds_text, varied_text

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.live import Live
    from rich.text import Text

_REDRAW_S = 0.4
_BAR = 40
_TEXT = 32
"""Columns that the bar leaves to the counts beside it."""
_WORKERS = 16
"""Workers that are shown; there may be many more."""


class LiveView(PlainView):
    """Draws with rich, which is imported when there is something to draw.

    Parameters
    ----------
    terminal : rich.console.Console, optional
        Where to draw.
    clock, wall : callable
        Seconds: of any beginning, and since 1970.
    """

    def __init__(
        self,
        terminal: Terminal | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(_REDRAW_S, clock)
        self._terminal = terminal
        self._wall = wall
        self._live: Live | None = None
        self._jobs: dict[int, Job] = {}
        self._workers: list[str] = []
        self._above: list[Text] = []
        self._drawn_s = float("-inf")
        self._drawing = threading.RLock()

    @property
    def terminal(self) -> Terminal:
        """Where to draw."""
        if self._terminal is None:
            from rich.console import Console as Terminal

            self._terminal = Terminal(highlight=False)
        return self._terminal

    def begin(self, folder: SweepFolder, plan: SweepPlan, jobs: Sequence[Job], reader: JournalReader) -> None:
        """Start to draw."""
        self._jobs |= {job.number: job for job in jobs}
        super().begin(folder, plan, jobs, reader)
        self._draw()

    def end(self) -> None:
        """Replace the view by the summary."""
        self._stop()
        if self.reader is not None:
            for line in self.summary():
                self.terminal.print(line, markup=False, soft_wrap=True)

    def confirm(self, question: str) -> bool:
        """Ask below what was printed, instead of the view."""
        with self._drawing:
            self._stop()
            return super().confirm(question)

    def head(self) -> None:
        """Print what is going to run; it stays."""
        self.terminal.print(self.title(), markup=False, soft_wrap=True)

    def notice(self, text: str) -> None:
        """Print a dim line above."""
        if text not in self._said:
            self._said.add(text)
            self._print_above(text, "dim")

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Print a red line above for a failure."""
        if outcome.ending is Ending.FAILED:
            self._print_above(failure_line(job, outcome), "red")

    def progress(self) -> None:
        """Draw, a few times per second."""
        with self._drawing:
            now = self._clock()
            if self._above or now - self._drawn_s >= _REDRAW_S:
                self._drawn_s = now
                self._draw()

    def _print_above(self, text: str, style: str) -> None:
        from rich.text import Text

        self._above.append(Text(text, style))

    def _draw(self) -> None:
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=self.terminal, auto_refresh=False, transient=True)
            atexit.register(self._live.stop)
            self._live.start()
            self.terminal.show_cursor(True)  # a process that is killed cannot bring it back
        if self._above:
            self.terminal.print(Text("\n").join(self._above), soft_wrap=True)
            self._above.clear()
        self._live.update(self.picture(), refresh=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            atexit.unregister(self._live.stop)
            self._live = None

    def picture(self) -> Text:
        """Return the view: a line each for the bar, the pace, the best job, and the workers."""
        from rich.text import Text

        tally = self.tally
        lines = [self._bar(), Text("  ".join(self.parts()[1:]) or "...", "dim")]
        if tally.best:
            lines.append(Text(f"best {self.best_text()}", "bold"))
        return Text("\n", no_wrap=True, overflow="ellipsis").join([*lines, *self._worker_lines()])

    def parts(self) -> list[str]:
        """The best job has a line of its own."""
        return [part for part in super().parts() if not part.startswith("best ")]

    def _bar(self) -> Text:
        from rich.text import Text

        tally, width = self.tally, max(10, min(_BAR, self.terminal.width - _TEXT))
        failed = tally.count(Ending.FAILED)
        ended = round(width * tally.done / max(1, tally.planned))
        red = min(ended, max(bool(failed), round(width * failed / max(1, tally.planned))))
        share = int(100 * tally.done / max(1, tally.planned))
        return Text.assemble(
            ("━" * (ended - red), "green"),
            ("━" * red, "red"),
            ("━" * (width - ended), "bright_black"),
            f" {share:3d}%  {super().parts()[0]}",
        )

    def _worker_lines(self) -> list[Text]:
        """Return what each worker does; a worker keeps its line, one that is gone leaves it to the next."""
        from rich.text import Text

        assert self.reader is not None
        under_way = {entry.worker: entry for entry in self.reader.under_way()}
        new = [worker for worker in under_way if worker not in self._workers]
        for worker in sorted(new, key=lambda name: under_way[name].started_at_ns):
            free = [place for place, name in enumerate(self._workers) if name not in under_way]
            if free:
                self._workers[free[0]] = worker
            else:
                self._workers.append(worker)
        lines = []
        for place, worker in enumerate(self._workers[:_WORKERS]):
            host = worker.partition(":")[0]
            where = "" if host == platform.node() else f" on {host}"
            text = Text.assemble((f"worker {place + 1}{where}", "cyan"))
            entry = under_way.get(worker)
            if entry is not None:
                for_s = max(0, int(self._wall() - entry.started_at_ns / 1e9))
                job = self._jobs.get(entry.job)
                text.append(f"  job {entry.job}  {seconds_text(for_s):>4}  {varied_text(job) if job else ''}")
            lines.append(text)
        if len(self._workers) > _WORKERS:
            lines.append(Text(f"and {len(self._workers) - _WORKERS} more", "dim"))
        return lines
