"""Journals written by hand: what views show of them is known beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from bt_framework.results.process import this_process
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, JournalReader, Outcome
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.view import PlainView

SWEEP_ID = "20261121-120000-abcdef"


class Clock:
    """Time that passes when it is told to, seconds."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class HandMade:
    """A sweep of four jobs or more whose journal the test writes, and a view that follows it."""

    def __init__(
        self, tmp_path: Path, *, jobs: int = 4, minimize: bool = False, options: Mapping | None = None
    ):
        self.jobs = [Job(n, {"+strategy.entry_z": f"{1 + n / 4}", "latency": "colo"}) for n in range(jobs)]
        keys = ("+strategy.entry_z", "latency")
        complete = options is None
        sweeper = "grid" if complete else "optuna"
        self.plan = SweepPlan(
            SWEEP_ID, (), keys, (), sweeper, complete, "sharpe", minimize, 0, options=options or {}
        )
        self.folder = SweepFolder(tmp_path / SWEEP_ID)
        self.folder.create(self.plan, self.jobs)
        self.reader = JournalReader(self.folder.path)
        self._path = self.folder.path / "journal" / "by-hand.jsonl"
        self._path.parent.mkdir()
        self._at_ns = itertools.count(1_000_000_000_000, 1_000_000_000)
        process = this_process()
        self._write(
            {"event": "process", "host": process.host, "pid": process.pid, "started": process.started}
        )

    def started(self, job: int, thread: int = 1) -> None:
        """A job starts."""
        self._line("started", thread, job=job, alone=False)

    def ended(self, job: int, sharpe: float | None = None, *, error: str = "", reused: bool = False) -> None:
        """A job that had started has completed, or has failed with `error`."""
        values = {
            "ending": str(Ending.FAILED if error else Ending.COMPLETED),
            "metrics": {} if error else {"sharpe": sharpe},
            "error": error,
            "reused": reused,
            "run_id": f"run-{job}",
        }
        self._line("ended", 1, job=job, **values)

    def notice(self, text: str) -> None:
        """A job says something."""
        self._line("notice", 1, job=0, text=text)

    def session(self) -> None:
        """The sweep is resumed."""
        self._line("session", 1)

    def begin(self, view: PlainView) -> None:
        """Let a view begin with what the journal says now."""
        self.reader.update()
        self.reader.ended.clear()
        view.begin(self.folder, self.plan, self.jobs, self.reader)

    def update(self, view: PlainView) -> None:
        """Let a view look at what is new."""
        self.reader.update()
        ended: list[tuple[Job, Outcome]] = []
        while self.reader.ended:
            number = self.reader.ended.popleft()
            outcome = self.reader.states[number].outcome
            assert outcome is not None
            ended.append((self.jobs[number], outcome))
        view.update(ended)

    def _line(self, event: str, thread: int, **values: object) -> None:
        self._write({"event": event, **values, "at_ns": next(self._at_ns), "thread": thread})

    def _write(self, line: Mapping[str, object]) -> None:
        import orjson

        with open(self._path, "ab") as file:
            file.write(orjson.dumps(line) + b"\n")
