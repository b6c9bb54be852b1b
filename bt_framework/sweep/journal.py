"""What became of the jobs of a sweep: lines that processes append, and what they add up to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from bt_framework.errors import StorageError
from bt_framework.results.process import ProcessIdentity, this_process


class Ending(StrEnum):
    """How a job ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    PRUNED = "pruned"


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a job ended.

    Attributes
    ----------
    run_id, run_dir, result_hash : str
        Of the run; empty if there is none.
    identity : mapping
        ``config_hash``, ``data_hash``, ``code_hash`` and ``seed``; empty if the job failed before they were known.
    metrics : mapping
        See `bt_framework.results.metrics.RunMetrics`; undefined ones are None.
    reused : bool
        Whether the run was there before.
    error, traceback : str
        Of a job that failed.
    timings : mapping
        Seconds per phase.
    """

    job: int
    ending: Ending
    run_id: str = ""
    result_hash: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    reused: bool = False
    error: str = ""
    traceback: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    run_dir: str = ""


@dataclass
class JobState:
    """What the journal says of a job.

    Attributes
    ----------
    outcome : Outcome or None
        Of the last attempt that ended.
    attempts : int
        How many have ended.
    running : dict of str to ProcessIdentity
        Attempts that have started and not ended, by the worker that made them.
    crashes : int
        Attempts whose process ended before they did.
    crashed_alone : bool
        Whether one of those was the only job of its process at the time.
    worker : str
        Host, process and thread of the last attempt.
    started_at_ns, ended_at_ns : int
        Of the last attempt, wall clock, ns UTC; 0 if it has not.
    """

    outcome: Outcome | None = None
    attempts: int = 0
    running: dict[str, tuple[ProcessIdentity, bool]] = field(default_factory=dict)
    crashes: int = 0
    crashed_alone: bool = False
    worker: str = ""
    started_at_ns: int = 0
    ended_at_ns: int = 0


class Journal:
    """Appends to one process's file in a sweep's folder; threads may share it.

    Parameters
    ----------
    folder : Path
        The sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self._process = this_process()
        name = f"{self._process.host}-{os.getpid()}-{time.time_ns()}.jsonl"
        self._path = folder / "journal" / name
        self._lock = threading.Lock()
        self._file: int | None = None

    def started(self, job: int, *, alone: bool = False) -> None:
        """A job starts in this thread; `alone` if the process does nothing else meanwhile."""
        self._append({"event": "started", "job": job, "alone": alone})

    def ended(self, outcome: Outcome) -> None:
        """An attempt at a job has ended in this thread."""
        import dataclasses

        self._append({"event": "ended", **dataclasses.asdict(outcome)})

    def stopped(self, job: int) -> None:
        """The job in this thread was asked to stop: it is neither done nor at fault."""
        self._append({"event": "stopped", "job": job})

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _append(self, line: dict[str, Any]) -> None:
        import dataclasses

        import orjson

        line |= {"at_ns": time.time_ns(), "thread": threading.get_ident()}
        with self._lock:
            try:
                if self._file is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                    head = {"event": "process", **dataclasses.asdict(self._process)}
                    os.write(self._file, orjson.dumps(head) + b"\n")
                # One write per line: a process that is killed leaves whole lines, or a last one cut off.
                os.write(self._file, orjson.dumps(line) + b"\n")
            except OSError as error:
                raise StorageError(
                    f"{self._path} cannot be written: {error.strerror}. Free space there or choose another sweep.dir."
                ) from error


def read_states(folder: Path) -> dict[int, JobState]:
    """Return what the journals in a sweep's folder say, by job; jobs that never started are missing.

    Raises
    ------
    StorageError
        If one cannot be read.
    """
    states: dict[int, JobState] = {}
    for line, process in sorted(_lines(folder), key=lambda pair: pair[0]["at_ns"]):
        _apply(states.setdefault(line["job"], JobState()), line, process)
    for state in states.values():
        for worker, (process, alone) in list(state.running.items()):
            if process.is_gone():
                del state.running[worker]
                state.crashes += 1
                state.crashed_alone |= alone
    return states


def _apply(state: JobState, line: Mapping[str, Any], process: ProcessIdentity) -> None:
    worker = f"{process.host}:{process.pid}:{process.started}:{line['thread']}"
    if line["event"] == "started":
        state.running[worker] = (process, line["alone"])
        state.worker, state.started_at_ns, state.ended_at_ns = worker, line["at_ns"], 0
        return
    state.running.pop(worker, None)
    state.ended_at_ns = line["at_ns"]
    if line["event"] == "stopped":
        return
    values = {k: v for k, v in line.items() if k not in ("event", "at_ns", "thread")}
    state.attempts += 1
    state.outcome = Outcome(**{**values, "ending": Ending(values["ending"])})


def _lines(folder: Path) -> Iterator[tuple[dict[str, Any], ProcessIdentity]]:
    """Yield the lines of all journals, each with its process."""
    import orjson

    for path in sorted((folder / "journal").glob("*.jsonl")):
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        process = None
        for text in lines:
            try:
                line = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue  # cut off when its process was killed
            if line["event"] == "process":
                process = ProcessIdentity(**{k: v for k, v in line.items() if k != "event"})
            elif process is not None:
                yield line, process


def best(outcomes: Iterable[Outcome], metric: str, *, minimize: bool) -> Outcome | None:
    """Return the completed job with the best value of `metric`, the first one of equals; None if none has a value."""
    sign = 1 if minimize else -1
    valued = [(o, o.metrics.get(metric)) for o in outcomes if o.ending is Ending.COMPLETED]
    found = [(sign * value, outcome.job, outcome) for outcome, value in valued if value is not None]
    return min(found, key=lambda entry: entry[:2])[2] if found else None
