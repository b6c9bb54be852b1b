"""What a sweep shows while it runs and when it ends: on a terminal one live view, elsewhere lines, for programs JSON.

The journals say what to show (`bt_framework.sweep.reporting.Reporter` follows them), so it is the same for every
launcher, and goes on with the right counts after a restart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from bt_framework.errors import RunStopped
from bt_framework.results.console import Console, Showing
from bt_framework.sweep.folder import ERRORS_FOLDER, TABLE_FILE, SweepFolder
from bt_framework.sweep.journal import Ending, JournalReader, Outcome
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.reporting import View
from bt_framework.sweep.tally import Tally
from bt_framework.sweep.words import seconds_text, varied_text


def view_of(console: Console) -> View:
    """Return the view that suits a console."""
    if console.showing is Showing.LIVE:
        from bt_framework.sweep.live_view import LiveView

        return LiveView()
    return JsonView() if console.showing is Showing.JSON else PlainView(console.interval_s)


class PlainView:
    """Lines: failures and notices on stderr as they happen, how far it is every few seconds, and a summary.

    The other views change some of its lines.

    Parameters
    ----------
    interval_s : float
        Wall time between two lines of progress.
    clock : callable
        Seconds.
    """

    def __init__(self, interval_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = Tally(clock)
        self.folder: SweepFolder
        self.plan: SweepPlan
        self.reader: JournalReader | None = None
        self._clock = clock
        self._interval_s = interval_s
        self._next_s = interval_s
        self._said: set[str] = set()

    def begin(self, folder: SweepFolder, plan: SweepPlan, jobs: Sequence[Job], reader: JournalReader) -> None:
        """Count the jobs; the first time, say what is going to run."""
        first = self.reader is None
        self.folder, self.plan, self.reader = folder, plan, reader
        self.tally.begin(plan, jobs, reader.states)
        if first:
            self.head()
        for job in jobs:
            state = reader.states.get(job.number)
            if state is not None and state.crashes and state.ending is None and not state.running:
                self.notice(f"job {job.number} runs again, alone: {state.crash or 'its process ended.'}")

    def update(self, ended: Sequence[tuple[Job, Outcome]]) -> None:
        """Tell of what has happened, and how far it is if it is time."""
        assert self.reader is not None
        self.tally.take(ended)
        while self.reader.notices:
            self.notice(self.reader.notices.popleft())
        for job, outcome in ended:
            self.job_ended(job, outcome)
        self.progress()

    def end(self) -> None:
        """Sum up."""
        if self.reader is not None:
            for line in self.summary():
                print(line)
            sys.stdout.flush()

    def confirm(self, question: str) -> bool:
        """Ask whether to go on; without a terminal the answer is no."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        print(f"{question} [y/N] ", end="", flush=True)
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except RunStopped:
            print()
            raise

    def head(self) -> None:
        """Say what is going to run."""
        print(self.title(), flush=True)

    def title(self) -> str:
        """The sweep, its jobs, and how many of them have been run before."""
        before = f", {self.tally.done:,} of them done before" if self.tally.done else ""
        return f"sweep {self.folder.path}: {jobs_text(self.tally.planned)}{before}"

    def notice(self, text: str) -> None:
        """Print a line on stderr; what several jobs say is printed once."""
        if text not in self._said:
            self._said.add(text)
            print(text, file=sys.stderr, flush=True)

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Tell of a failure."""
        if outcome.ending is Ending.FAILED:
            print(f"bt: {failure_line(job, outcome)}", file=sys.stderr, flush=True)

    def progress(self) -> None:
        """Print a line if it is time."""
        if self.tally.wall_s >= self._next_s and self.tally.left:
            self._next_s = self.tally.wall_s + self._interval_s
            print("  ".join(self.parts()), flush=True)

    def parts(self) -> list[str]:
        """How far the sweep is: jobs done, running and so on, pace, time left, the best job so far."""
        assert self.reader is not None
        tally = self.tally
        counts = [(len(self.reader.under_way()), "running"), (tally.count(Ending.FAILED), "failed")]
        counts += [(tally.reused, "reused"), (tally.count(Ending.PRUNED), "pruned")]
        found = [
            f"{tally.done:,} of {jobs_text(tally.planned)}",
            *(f"{n:,} {what}" for n, what in counts if n),
        ]
        if tally.per_s > 0:
            found.append(f"{tally.per_s:.3g} jobs/s")
        if tally.left_s is not None:
            found.append(f"{seconds_text(tally.left_s)} left")
        return [*found, f"best {self.best_text()}"] if tally.best else found

    def best_text(self) -> str:
        """Return the best job so far in words."""
        best = self.tally.best
        return (
            f"{self.plan.metric} {best.value:.6g}: job {best.job.number} ({varied_text(best.job)})"
            if best
            else ""
        )

    def summary(self) -> list[str]:
        """Counts, time, the best job, where everything is; how to go on is said with the error."""
        tally, path, sweep_id = self.tally, self.folder.path, self.plan.sweep_id
        completed, failed = tally.count(Ending.COMPLETED), tally.count(Ending.FAILED)
        parts = [f"{completed:,} of {jobs_text(tally.planned)} completed"]
        parts += [f"{tally.reused:,} of them reused"] * bool(tally.reused)
        further = ((failed, "failed"), (tally.count(Ending.PRUNED), "pruned"), (tally.left, "left"))
        parts += [f"{number:,} {what}" for number, what in further if number]
        lines = [f"sweep {path}: {', '.join(parts)}"]
        lines.append(f"time: {seconds_text(tally.wall_s)}, {tally.mean_per_s:.3g} jobs/s")
        if tally.best:
            lines.append(f"best {self.best_text()}; its command: bt sweep best {sweep_id}")
        lines.append(f"table: {path / TABLE_FILE}")
        if failed:
            lines.append(f"failures: {path / ERRORS_FOLDER}")
        return lines


class JsonView(PlainView):
    """For programs: on stdout one JSON object per job that ends and one at the end; the rest on stderr."""

    def head(self) -> None:
        """Say nothing: the last line says it all."""

    def progress(self) -> None:
        """Say nothing: there is a line for each job."""

    def confirm(self, question: str) -> bool:
        """Ask nobody."""
        return False

    def job_ended(self, job: Job, outcome: Outcome) -> None:
        """Print the job's line."""
        super().job_ended(job, outcome)
        _print_json(
            {
                "job": job.number,
                "status": outcome.ending,
                "varied": {key.lstrip("+"): value for key, value in job.varied.items()},
                "reused": outcome.reused,
                "run_id": outcome.run_id,
                "run_dir": outcome.run_dir,
                "result_hash": outcome.result_hash,
                "metrics": outcome.metrics,
                "error": outcome.error,
            }
        )

    def end(self) -> None:
        """Print the sweep's line."""
        if self.reader is None:
            return
        tally, best = self.tally, self.tally.best
        shown_best = best and {
            "job": best.job.number,
            "metric": self.plan.metric,
            "value": best.value,
            "varied": {key.lstrip("+"): value for key, value in best.job.varied.items()},
        }
        _print_json(
            {
                "sweep_id": self.plan.sweep_id,
                "folder": str(self.folder.path),
                "jobs": tally.planned,
                **{str(ending): tally.count(ending) for ending in Ending},
                "reused": tally.reused,
                "left": tally.left,
                "wall_s": round(tally.wall_s, 3),
                "jobs_per_s": round(tally.mean_per_s, 3),
                "best": shown_best,
                "table": str(self.folder.path / TABLE_FILE),
            }
        )


def failure_line(job: Job, outcome: Outcome) -> str:
    """One line on a job that has failed."""
    return f"job {job.number} has failed ({varied_text(job)}): {outcome.error.partition(chr(10))[0]}"


def jobs_text(number: int) -> str:
    """A number of jobs.

    >>> jobs_text(1), jobs_text(1200)
    ('1 job', '1,200 jobs')
    """
    return f"{number:,} job{'s' * (number != 1)}"


def _print_json(values: dict[str, object]) -> None:
    import orjson

    print(orjson.dumps(values).decode(), flush=True)
