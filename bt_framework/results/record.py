"""What is known of a run: the content of its run.json, and of its row in the index."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bt_framework.errors import StorageError
from bt_framework.results.process import ProcessIdentity, this_process
from bt_framework.results.run import TABLES, Identity, Instrument, RunContext, RunSummary, Status


@dataclass(frozen=True)
class RunNames:
    """Instruments, rules, and what else the numbers in a table stand for, each in the order of its numbers."""

    instruments: tuple[Instrument, ...]
    rules: tuple[str, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """A run, as it started and, once it has ended, as it ended.

    Attributes
    ----------
    status : Status
        As written; `as_of_now` knows of lost runs.
    started_at_ns, finished_at_ns : int
        Wall clock, ns UTC; `finished_at_ns` is 0 until the run has ended.
    start_ts, end_ts, local_ts : int
        Simulated interval, and where in it the run ended, ns UTC.
    events : int
        Feed events: in the interval, and once the run has ended those up to `local_ts`.
    jit : str
        "hit" if the compiled loop was on disk, "miss" if it had to be compiled.
    mode : str
        "compiled", or "plain" if the strategy ran as plain Python.
    timings : mapping
        Seconds: compose_s, ingest_s, compile_s, kernel_s, write_s, wall_s; those that were measured.
    metrics : mapping
        See `bt_framework.results.metrics.RunMetrics`; undefined ones are NaN.
    feeds, tags, note, git_commit
        See `bt_framework.results.run.RunContext`.
    sweep_id, job
        See `bt_framework.results.run.Membership`.
    """

    run_id: str
    run_dir: Path
    strategy: str
    symbols: tuple[str, ...]
    status: Status
    error: str
    started_at_ns: int
    finished_at_ns: int
    identity: Identity
    result_hash: str
    start_ts: int
    end_ts: int
    local_ts: int
    events: int
    capital: float
    equity_interval_ns: int
    jit: str
    instruments: tuple[Mapping[str, Any], ...]
    rules: tuple[str, ...]
    data_grade: Mapping[str, Any]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    process: ProcessIdentity
    books: tuple[str, ...] = ()
    mode: str = "compiled"
    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    feeds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    note: str = ""
    git_commit: str = ""
    sweep_id: str = ""
    job: int = 0

    @classmethod
    def started(cls, run: RunContext) -> RunRecord:
        """Record of a run that this process has just started."""
        return cls(
            run_id=run.run_id,
            run_dir=Path(run.run_dir).absolute(),
            strategy=run.strategy,
            symbols=tuple(i.symbol for i in run.instruments),
            status=Status.RUNNING,
            error="",
            started_at_ns=run.started_at_ns,
            finished_at_ns=0,
            identity=run.identity,
            result_hash="",
            start_ts=run.start_ts,
            end_ts=run.end_ts,
            local_ts=run.start_ts,
            events=run.events,
            capital=run.capital,
            equity_interval_ns=run.equity_interval_ns,
            jit=run.jit,
            instruments=tuple(dataclasses.asdict(i) for i in run.instruments),
            rules=tuple(run.rules),
            data_grade=dict(run.data_grade),
            versions=dict(run.versions),
            machine=_machine(),
            process=this_process(),
            books=tuple(run.books),
            mode=run.mode,
            latency={symbol: dict(values) for symbol, values in run.latency.items()},
            inputs=dict(run.inputs),
            feeds=tuple(run.feeds),
            tags=tuple(run.tags),
            note=run.note,
            git_commit=run.git_commit,
            sweep_id=run.sweep.sweep_id,
            job=run.sweep.job,
        )

    def finished(self, summary: RunSummary) -> RunRecord:
        """Return the record of the same run, ended as `summary` says."""
        return dataclasses.replace(
            self,
            status=summary.status,
            error=summary.error,
            finished_at_ns=summary.finished_at_ns,
            result_hash=summary.result_hash,
            local_ts=summary.local_ts,
            events=summary.events or self.events,
            counts={name: int(summary.counts.get(name, 0)) for name in TABLES},
            metrics=dict(summary.metrics),
            timings=dict(summary.timings),
        )

    def as_of_now(self) -> RunRecord:
        """Return the record with the status lost if the run's process is gone and could not end it."""
        if self.status == Status.RUNNING and self.process.is_gone():
            return dataclasses.replace(self, status=Status.LOST)
        return self

    def names(self) -> RunNames:
        """Return what the numbers in the run's tables stand for."""
        return RunNames(tuple(Instrument(**values) for values in self.instruments), self.rules)

    @property
    def wall_s(self) -> float:
        """Wall time of the run, seconds; NaN if it was not measured."""
        return self.timings.get("wall_s", math.nan)

    @property
    def kernel_s(self) -> float:
        """Time in the compiled loop, seconds; NaN if it was not measured."""
        return self.timings.get("kernel_s", math.nan)

    @property
    def events_per_s(self) -> float:
        """Feed events per second in the compiled loop; NaN if it was not measured."""
        return self.events / self.kernel_s if self.kernel_s > 0 else math.nan

    def outcome(self) -> dict[str, Any]:
        """What programs want to know of a run, as ``console=json`` prints it."""
        return {
            "run_id": self.run_id,
            "status": str(self.status),
            "run_dir": str(self.run_dir),
            "config_hash": self.identity.config_hash,
            "data_hash": self.identity.data_hash,
            "code_hash": self.identity.code_hash,
            "result_hash": self.result_hash,
            "seed": self.identity.seed,
            "events": self.events,
            "wall_s": self.wall_s,
            "kernel_s": self.kernel_s,
            "events_per_s": self.events_per_s,
            "jit": self.jit,
            "mode": self.mode,
            "counts": {name: self.counts.get(name, 0) for name in TABLES if name != "equity"},
            "metrics": dict(self.metrics),
            **({"error": self.error} if self.error else {}),
        }

    def to_json(self) -> bytes:
        """Everything but the folder, which is where the JSON lies; NaN is null.

        Raises
        ------
        StorageError
            If a text of it is no Unicode, such as a note of bytes that nobody could decode.
        """
        import orjson

        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "run_dir"}
        layout = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        try:
            return orjson.dumps(content, option=layout | orjson.OPT_SERIALIZE_NUMPY)
        except TypeError as error:
            raise StorageError(f"run {self.run_id} cannot be kept: {error}. Leave the text out.") from None

    @classmethod
    def from_json(cls, content: bytes | str, run_dir: Path, where: str) -> RunRecord:
        """Read what `to_json` wrote; `where` names the source for the message.

        Raises
        ------
        StorageError
            If it is no run record.
        """
        import orjson

        try:
            values = orjson.loads(content)
            values["status"] = Status(values["status"])
            values["identity"] = Identity(**values["identity"])
            values["process"] = ProcessIdentity(**values["process"])
            for name in ("symbols", "instruments", "rules", "books", "feeds", "tags"):
                values[name] = tuple(values.get(name, ()))
            for name in ("metrics", "timings"):
                values[name] = {k: math.nan if v is None else v for k, v in values[name].items()}
            return cls(run_dir=run_dir, **values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{where} must be the record of a run, but is not: {error}.") from error


@lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    return {"platform": platform.platform(), "cpu": platform.machine(), "cpus": os.cpu_count()}
