"""What became of the jobs of a sweep: lines that processes append, and what they add up to."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

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
    profile : mapping
        What this attempt took, see `bt_framework.profiling.Phases.whole`; empty unless that is wanted.
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
    profile: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Place(NamedTuple):
    """Where in a journal a line lies, bytes."""

    path: Path
    offset: int
    length: int


@dataclass(slots=True)
class JobState:
    """What the journals say of a job.

    Attributes
    ----------
    ending : Ending or None
        How it ended: as the attempt that succeeded, or else as the last one.
    attempts, tried : int
        How many have ended: in all, and since the sweep was last started or resumed.
    running : dict of str to Attempt
        Attempts that have started and not ended, by the worker that made them.
    crashes : int
        Attempts whose process ended before they did.
    crashed_alone : bool
        Whether one of those, since the sweep was last started or resumed, was the only job of its process at the time.
    crash : str
        What is known of the last of them.
    worker : str
        Host, process and thread of the last attempt.
    started_at_ns, ended_at_ns : int
        Of the last attempt, wall clock, ns UTC; 0 if it has not.
    end : Outcome or Place or None
        The outcome, or where it can be read.
    """

    ending: Ending | None = None
    attempts: int = 0
    tried: int = 0
    running: dict[str, Attempt] = field(default_factory=dict)
    crashes: int = 0
    crashed_alone: bool = False
    crash: str = ""
    worker: str = ""
    started_at_ns: int = 0
    ended_at_ns: int = 0
    end: Outcome | Place | None = None

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; read from the journal each time, since those of all jobs may not fit into memory."""
        return outcome_at(self.end) if isinstance(self.end, Place) else self.end


class Attempt(NamedTuple):
    """An attempt under way.

    Attributes
    ----------
    alone : bool
        Whether its process does nothing else.
    session : int
        How often the sweep had been started or resumed.
    """

    process: ProcessIdentity
    alone: bool
    session: int


class UnderWay(NamedTuple):
    """What a worker does: a job, since `started_at_ns`, wall clock, ns UTC."""

    worker: str
    job: int
    started_at_ns: int


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
        self._lock = threading.RLock()  # a signal's handler may write as well
        self._file: int | None = None
        self._cut = False

    @property
    def process(self) -> ProcessIdentity:
        """The process that writes it."""
        return self._process

    def session(self) -> None:
        """The sweep is started or resumed: jobs that have failed may be tried again."""
        self._append({"event": "session"})

    def started(self, job: int, *, alone: bool = False) -> None:
        """A job starts in this thread; `alone` if the process does nothing else meanwhile."""
        self._append({"event": "started", "job": job, "alone": alone})

    def ended(self, outcome: Outcome) -> None:
        """An attempt at a job has ended in this thread, or in a process that cannot write it down."""
        self._append({"event": "ended", **dataclasses.asdict(outcome)})

    def stopped(self, job: int) -> None:
        """The job in this thread was asked to stop: it is neither done nor at fault."""
        self._append({"event": "stopped", "job": job})

    def notice(self, job: int, text: str) -> None:
        """Whoever follows the sweep should hear that the job does something that takes time."""
        self._append({"event": "notice", "job": job, "text": text})

    def lost(self, job: int, reason: str, *, alone: bool) -> None:
        """The process that ran the job is gone, as far as its launcher can tell."""
        self._append({"event": "lost", "job": job, "reason": reason, "alone": alone})

    def died(self, process: ProcessIdentity, reason: str, *, innocent: bool = False) -> None:
        """A process has ended before its jobs did; `innocent` if that was none of their doing."""
        content = {"process": dataclasses.asdict(process), "reason": reason, "innocent": innocent}
        self._append({"event": "died", **content})

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _append(self, line: dict[str, Any]) -> None:
        try:
            with self._lock:
                if self._file is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                    self._write(file, {"event": "process", **dataclasses.asdict(self._process)})
                    self._file = file
                self._write(self._file, {**line, "at_ns": time.time_ns(), "thread": threading.get_ident()})
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror}. Free space there or choose another sweep.dir."
            ) from error

    def _write(self, file: int, line: dict[str, Any]) -> None:
        """Write a line at once: a process that is killed leaves whole lines, or a last one cut off."""
        import orjson

        content = b"\n" * self._cut + orjson.dumps(line) + b"\n"
        written = os.write(file, content)
        self._cut = written < len(content)
        if self._cut:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Line(NamedTuple):
    """What of a line decides a job's state."""

    at_ns: int
    event: str
    process: ProcessIdentity
    thread: int
    values: dict[str, Any]
    place: Place


class JournalReader:
    """Follows the journals of a sweep; threads may share it.

    Parameters
    ----------
    folder : Path
        The sweep's.

    Attributes
    ----------
    states : dict of int to JobState
        By job; those that never started are missing.
    ended : deque of int
        Jobs of which an attempt has ended, in the order of time; whoever wants to hear of each takes them from here.
    notices : deque of str
        What jobs have said; the latest ones, taken likewise.
    """

    def __init__(self, folder: Path) -> None:
        self.ended: deque[int] = deque()
        self.notices: deque[str] = deque(maxlen=_NOTICES)
        self.states: dict[int, JobState] = {}
        self._folder = folder / "journal"
        self._offsets: dict[Path, int] = {}
        self._processes: dict[Path, ProcessIdentity] = {}
        self._running: dict[ProcessIdentity, set[int]] = {}
        self._session = 0
        self._lock = threading.Lock()

    def update(self) -> None:
        """Read what is new.

        Raises
        ------
        StorageError
            If a journal cannot be read.
        """
        with self._lock:
            self._apply_new()
            gone = [process for process in self._running if process.is_gone()]
            if gone:
                self._apply_new()  # what they wrote meanwhile
            for process in gone:
                self._died(process, "")

    def under_way(self) -> list[UnderWay]:
        """Return the attempts that have started and not ended."""
        with self._lock:
            jobs = [(job, self.states[job]) for jobs in self._running.values() for job in jobs]
            return [UnderWay(worker, job, s.started_at_ns) for job, s in jobs for worker in s.running]

    def _apply_new(self) -> None:
        lines = [line for path in sorted(self._folder.glob("*.jsonl")) for line in self._new_lines(path)]
        lines.sort(key=lambda line: line.at_ns)
        self.ended += [line.values["job"] for line in lines if self._apply(line)]

    def _new_lines(self, path: Path) -> Iterator[_Line]:
        import orjson

        offset, at_ns = self._offsets.get(path, 0), 0
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                for text in file:
                    if not text.endswith(b"\n"):
                        break  # being written, or cut off when its process was killed
                    place = Place(path, offset, len(text))
                    offset = self._offsets[path] = offset + len(text)
                    try:
                        line = orjson.loads(text)
                    except orjson.JSONDecodeError:
                        continue  # cut off, by a disk that was full
                    event = line.pop("event")
                    if event == "process":
                        self._processes[path] = ProcessIdentity(**line)
                        continue
                    process = self._processes.get(path)
                    if process is None:
                        continue
                    at_ns = max(at_ns, line["at_ns"])  # clocks may be set back
                    values = {name: line[name] for name in _KEPT if name in line}
                    yield _Line(at_ns, event, process, line["thread"], values, place)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error

    def _apply(self, line: _Line) -> bool:
        """Apply a line; return whether an attempt has ended."""
        if line.event == "session":
            self._session += 1
            for state in self.states.values():
                state.tried, state.crashed_alone = 0, False
            return False
        if line.event == "died":
            process = ProcessIdentity(**line.values["process"])
            self._died(process, line.values["reason"], innocent=line.values["innocent"])
            return False
        if line.event == "notice":
            self.notices.append(line.values["text"])
            return False
        job = line.values["job"]
        state = self.states.setdefault(job, JobState())
        if line.event == "started":
            self._start(job, state, line)
            return False
        if line.event == "lost":
            state.running.clear()
            _crash(state, line.values["reason"], alone=line.values["alone"])
            return False
        state.running.pop(_worker(line.process, line.thread), None)
        if all(attempt.process != line.process for attempt in state.running.values()):
            self._running.get(line.process, set()).discard(job)
        state.ended_at_ns = line.at_ns
        if line.event == "stopped":
            return False
        _end(state, Ending(line.values["ending"]), line.place)
        return True

    def _start(self, job: int, state: JobState, line: _Line) -> None:
        worker = _worker(line.process, line.thread)
        state.running[worker] = Attempt(line.process, line.values["alone"], self._session)
        state.worker, state.started_at_ns, state.ended_at_ns = worker, line.at_ns, 0
        self._running.setdefault(line.process, set()).add(job)

    def _died(self, process: ProcessIdentity, reason: str, *, innocent: bool = False) -> None:
        """Take away the attempts that a process had under way; unless `innocent`, each may have ended it."""
        for job in self._running.pop(process, ()):
            state = self.states[job]
            attempts = [(w, a) for w, a in state.running.items() if a.process == process]
            for worker, attempt in attempts:
                del state.running[worker]
                if not innocent:
                    _crash(state, reason, alone=attempt.alone and attempt.session == self._session)


_KEPT = ("job", "alone", "ending", "process", "reason", "innocent", "text")

_NOTICES = 1_000
"""Of those that nobody takes, so many are kept."""


def _worker(process: ProcessIdentity, thread: int) -> str:
    return sys.intern(f"{process.host}:{process.pid}:{process.started}:{thread}")


def _crash(state: JobState, reason: str, *, alone: bool) -> None:
    state.crashes += 1
    state.crashed_alone |= alone
    state.crash = reason


def _end(state: JobState, ending: Ending, place: Place) -> None:
    """Note an end; a success stays, whatever an attempt of somebody else says."""
    state.attempts += 1
    state.tried += 1
    state.crashed_alone = False
    if ending is not Ending.FAILED or state.ending in (None, Ending.FAILED):
        state.ending, state.end = ending, place


def outcome_at(place: Place) -> Outcome:
    """Read an outcome.

    Raises
    ------
    StorageError
        If the journal cannot be read any more.
    """
    import orjson

    try:
        with open(place.path, "rb") as file:
            file.seek(place.offset)
            line = orjson.loads(file.read(place.length))
    except (OSError, orjson.JSONDecodeError) as error:
        raise StorageError(f"{place.path} cannot be read: {error}.") from error
    values = {k: v for k, v in line.items() if k not in ("event", "at_ns", "thread")}
    return Outcome(**{**values, "ending": Ending(values["ending"])})


def read_states(folder: Path) -> dict[int, JobState]:
    """Return what the journals in a sweep's folder say, by job; jobs that never started are missing.

    Raises
    ------
    StorageError
        If one cannot be read.
    """
    reader = JournalReader(folder)
    reader.update()
    return reader.states


def best(outcomes: Iterable[Outcome], metric: str, *, minimize: bool) -> Outcome | None:
    """Return the completed job with the best value of `metric`, the first one of equals; None if none has a value."""
    sign = 1 if minimize else -1
    valued = [(o, o.metrics.get(metric)) for o in outcomes if o.ending is Ending.COMPLETED]
    found = [(sign * value, outcome.job, outcome) for outcome, value in valued if value is not None]
    return min(found, key=lambda entry: entry[:2])[2] if found else None
