"""What the life-cycle hooks are given: the run, one slice of it, its summary."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class Status(StrEnum):
    """Status of a run. ``lost`` is never written: it is a run still marked running whose process is gone."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


LOGS = ("signals", "orders", "fills", "refusals", "risk_events", "equity")
"""What the loop logs, each table of the record in `bt_framework.records`."""

TABLES = (*LOGS, "trades")
"""The tables of a run: the logs, and what follows from them while it goes on."""


@dataclass(frozen=True)
class Identity:
    """What a run is: equal identities have equal result hashes. Each hash is a SHA-256 in hexadecimal."""

    config_hash: str
    data_hash: str
    code_hash: str
    seed: int


@dataclass(frozen=True)
class Instrument:
    """What the loop knows of an instrument.

    Attributes
    ----------
    tick_size : float
        Quote currency.
    lot_size : float
        Base units of a linear contract, contracts of an inverse one.
    contract_size : float
        Base units per unit of quantity; of an inverse contract its value, quote currency.
    inverse : bool
        Whether it pays in its base: cash, fees and equity are then in base currency.
    """

    symbol: str
    tick_size: float
    lot_size: float
    contract_size: float = 1.0
    inverse: bool = False


@dataclass(frozen=True)
class Membership:
    """Which job of which sweep a run is; an empty `sweep_id` is none."""

    sweep_id: str = ""
    job: int = 0


ALONE = Membership()
"""Of a run that belongs to no sweep."""


@dataclass(frozen=True)
class RunContext:
    """One run, as it is before its first slice.

    Attributes
    ----------
    config : mapping
        The resolved composition as plain dicts, lists and scalars, without secrets.
    start_ts, end_ts : int
        Simulated interval, ns UTC.
    events : int
        Feed events in the interval, all instruments together.
    rules : tuple of str
        Names of the risk rules in chain order; ``rule`` of a refusal is an index into it.
    books : tuple of str
        For each instrument, which form of order book the engine uses, and why.
    mode : str
        "compiled", or "plain" if the strategy runs as plain Python.
    data_grade : mapping
        The doctor's findings: ``{"grade": "ok" | "warn", "findings": [...], "line": "one line for people"}``.
    latency : mapping
        For each symbol, percentiles of the order latency model over the interval: ``entry_p50_ns``, ``entry_p99_ns``,
        ``response_p50_ns``, ``response_p99_ns``, and ``rejected_frac``, the part of it in which orders are rejected.
    inputs : mapping
        What the strategy took from a store, such as parameters estimated earlier; part of the data hash.
    feeds : tuple of str
        Content hash of each instrument's events, by which the event store and market_data know them.
    tags, note
        For people; they can be edited later.
    git_commit : str
        Commit of the working folder's repository, with ``-dirty`` if files have changed since; empty if there is none.
    sweep : Membership
        The sweep that it belongs to.
    """

    run_id: str
    run_dir: Path
    strategy: str
    config: Mapping[str, Any]
    identity: Identity
    instruments: tuple[Instrument, ...]
    rules: tuple[str, ...]
    start_ts: int
    end_ts: int
    events: int
    capital: float
    equity_interval_ns: int
    started_at_ns: int
    jit: str
    versions: Mapping[str, str]
    data_grade: Mapping[str, Any]
    books: tuple[str, ...] = ()
    mode: str = "compiled"
    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    feeds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    note: str = ""
    git_commit: str = ""
    sweep: Membership = ALONE


@dataclass(frozen=True)
class SliceBatch:
    """What one slice produced.

    Attributes
    ----------
    tables : mapping of str to array
        For each of `TABLES` a record array of shape (n_rows,), a view that is reused by the next slice.
    local_ts : int
        Simulated time at the end of the slice, ns UTC.
    events : int
        Feed events up to `local_ts`, estimated from the time passed.
    wall_s : float
        Wall time since the first slice started.
    metrics : mapping
        Metrics so far, see `bt_framework.results.metrics`.
    """

    tables: Mapping[str, np.ndarray]
    local_ts: int
    events: int
    wall_s: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunSummary:
    """How a run ended; `finished_at_ns` is when, wall clock, ns UTC."""

    status: Status
    local_ts: int
    result_hash: str
    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    timings: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    events: int = 0
    finished_at_ns: int = field(default_factory=time.time_ns)
