"""Runs and tables to test what a run leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.cli._run_selection import open_store
from bt_framework.cli.main import main
from bt_framework.records import (
    Direction,
    OrderEvent,
    OrderType,
    RefusalReason,
    RiskAction,
    RiskEvent,
    SignalKind,
    Tag,
    TimeInForce,
)
from bt_framework.results.folder import finish, start
from bt_framework.results.process import this_process
from bt_framework.results.run import TABLES, Identity, Instrument, RunContext, RunSummary, Status
from bt_framework.results.schemas import RECORDS

Tables = dict[str, np.ndarray]
RUN_ID = "20240809-120000-abc123"
INTERVAL_NS = 1_000_000_000


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunContext]:
    """Return a function that makes a run context in a folder."""

    def make(
        folder: Path = Path("runs"), run_id: str = "20240809-120000-abc123", **changes: Any
    ) -> RunContext:
        values: dict[str, Any] = {
            "run_id": run_id,
            "run_dir": folder / run_id,
            "strategy": "ou_pairs",
            "config": {"seed": 7, "strategy": {"name": "ou_pairs", "entry_z": 2.0}, "note": "größer"},
            "identity": Identity("c" * 64, "d" * 64, "e" * 64, 7),
            "instruments": (Instrument("BTCUSDT", 0.1, 0.001), Instrument("ETHUSDT", 0.01, 0.01, 10.0)),
            "rules": ("max_position", "max_order_notional"),
            "start_ts": 1_723_161_600_000_000_000,
            "end_ts": 1_723_165_200_000_000_000,
            "events": 944_088,
            "capital": 100_000.0,
            "equity_interval_ns": INTERVAL_NS,
            "started_at_ns": 1_763_640_000_000_000_000,
            "jit": "miss",
            "versions": {"python": "3.12.1", "numpy": "2.2.6"},
            "data_grade": {"grade": "ok", "findings": [], "line": "BTCUSDT: ok; ETHUSDT: 1 gap"},
        }
        return RunContext(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_summary() -> Callable[..., RunSummary]:
    """Return a function that makes the summary of a completed run."""

    def make(**changes: Any) -> RunSummary:
        values: dict[str, Any] = {
            "status": Status.COMPLETED,
            "local_ts": 1_723_165_200_000_000_000,
            "result_hash": "f" * 64,
            "counts": {
                "signals": 39,
                "orders": 191,
                "fills": 72,
                "refusals": 0,
                "risk_events": 0,
                "equity": 1_202,
                "trades": 35,
            },
            "metrics": {
                "pnl": -123.456,
                "gross_pnl": 14.0,
                "fees": 137.456,
                "return_frac": -0.00123456,
                "sharpe": float("nan"),
                "max_drawdown": 166.6,
                "max_drawdown_frac": 0.001666,
                "trades": 72,
                "fill_ratio": 0.377,
                "maker_share": 0.9726,
                "turnover": 6.5986,
            },
            "timings": {"kernel_s": 0.05, "wall_s": 0.75},
            "events": 944_088,
        }
        return RunSummary(**(values | changes))

    return make


@pytest.fixture
def runs_dir(
    tmp_path: Path, make_run: Callable[..., RunContext], make_summary: Callable[..., RunSummary]
) -> Path:
    """Hold a completed run, a failed one, and one whose process was killed."""
    folder = tmp_path / "runs"
    store = open_store([f"runs_dir={folder}"])
    for number, status in enumerate((Status.COMPLETED, Status.FAILED, Status.RUNNING)):
        strategy = "market_maker" if number == 1 else "ou_pairs"
        run = make_run(folder, run_id=f"2024080{number}-abc", strategy=strategy, started_at_ns=number + 1)
        record = start(run)
        if status == Status.RUNNING:
            record = dataclasses.replace(record, process=dataclasses.replace(this_process(), started="0:1"))
            (run.run_dir / "run.json").write_bytes(record.to_json())
        else:
            record = finish(run, make_summary(status=status, error="code 14" if number else ""))
        store.put(record)
    return folder


@pytest.fixture
def bt(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `bt runs ...` on these runs: (exit code, stdout, stderr)."""

    def bt(*arguments: str) -> tuple[int, str, str]:
        code = main(["runs", *arguments, f"runs_dir={runs_dir}"])
        return code, *capsys.readouterr()

    return bt


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., Tables]:
    """Return a function that makes random but consistent tables of a run with two instruments."""
    return _random_tables


@pytest.fixture(scope="session")
def cut() -> Callable[..., list[Tables]]:
    """Return a function that cuts tables into slices, each table at its own places."""

    def cut(tables: Mapping[str, np.ndarray], places: Sequence[float]) -> list[Tables]:
        slices: list[Tables] = [{} for _ in range(len(places) + 1)]
        for shift, (name, rows) in enumerate(tables.items()):
            moved = sorted((place + 0.13 * shift) % 1.0 for place in places)
            ends = [0, *(int(place * (len(rows) + 1)) for place in moved), len(rows)]
            for part, (first, last) in zip(slices, pairwise(ends), strict=True):
                part[name] = rows[first:last]
        return slices

    return cut


def _random_tables(seed: int, orders: int = 30, samples: int = 40) -> Tables:
    rng = np.random.default_rng(seed)
    tables = {
        "signals": _signals(rng, 12),
        "orders": _orders(rng, orders),
        "fills": _fills(rng, orders),
        "refusals": _refusals(rng, 9),
        "risk_events": _risk_events(rng, 5),
        "equity": _equity(rng, samples),
        "trades": _trades(rng, 20),
    }
    assert tuple(tables) == TABLES
    return tables


def _filled(rng: np.random.Generator, table: str, rows: int, **values: Any) -> np.ndarray:
    records = np.zeros(rows, RECORDS[table])
    for name in records.dtype.names:
        if records.dtype[name].kind == "f":
            records[name] = rng.normal(size=rows)
    if "local_ts" in records.dtype.names:
        records["local_ts"] = np.sort(rng.integers(1, 10**12, rows))
    for name, value in values.items():
        records[name] = value
    return records


def _trades(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Closed trades and, at the end, two that are open."""
    trades = _filled(rng, "trades", rows, asset=rng.integers(0, 2, rows))
    trades["direction"] = rng.choice([int(d) for d in Direction], rows)
    trades["entry_tag"], trades["exit_tag"] = rng.choice([int(t) for t in Tag], (2, rows))
    trades["exit_ts"] = np.sort(rng.integers(10**9, 10**12, rows))
    trades["duration_ns"] = rng.integers(0, 10**9, rows)
    trades["entry_ts"] = trades["exit_ts"] - trades["duration_ns"]
    trades["open"][-2:] = 1
    return trades


def _risk_events(rng: np.random.Generator, rows: int) -> np.ndarray:
    events, actions = [int(e) for e in RiskEvent], [int(a) for a in RiskAction]
    return _filled(
        rng,
        "risk_events",
        rows,
        rule=rng.integers(0, 2, rows),
        event=rng.choice(events, rows),
        action=rng.choice(actions, rows),
    )


def _signals(rng: np.random.Generator, rows: int) -> np.ndarray:
    signals = _filled(rng, "signals", rows, kind=rng.choice([int(k) for k in SignalKind], rows))
    signals["signal_id"], signals["direction"] = np.arange(1, rows + 1), rng.integers(-1, 2, rows)
    signals["half_life_s"][::3] = np.nan
    return signals


def _orders(rng: np.random.Generator, orders: int) -> np.ndarray:
    """Lives of orders, interleaved: submitted, some accepted, some partly filled, most finished."""
    steps: list[tuple[float, int, int]] = []
    for order_id in range(1, orders + 1):
        events = [OrderEvent.SUBMITTED]
        if rng.random() < 0.8:
            events.append(OrderEvent.ACCEPTED)
            events += [OrderEvent.PARTIALLY_FILLED] * int(rng.integers(0, 4))
        ends = [OrderEvent.FILLED, OrderEvent.CANCELLED, OrderEvent.EXPIRED, OrderEvent.REJECTED, None]
        end = ends[int(rng.integers(0, len(ends)))]
        events += [end] if end is not None else []
        steps += [
            (t, order_id, int(e)) for t, e in zip(np.sort(rng.random(len(events))), events, strict=True)
        ]
    steps.sort()
    rows = _filled(rng, "orders", len(steps))
    rows["order_id"], rows["event"] = [s[1] for s in steps], [s[2] for s in steps]
    rows["asset"], rows["side"] = rows["order_id"] % 2, np.where(rows["order_id"] % 3, 1, -1)
    rows["order_type"] = rng.choice([int(t) for t in OrderType], len(rows))
    rows["time_in_force"] = rng.choice([int(t) for t in TimeInForce], len(rows))
    rows["tag"] = rng.choice([int(t) for t in Tag], len(rows))
    return rows


def _fills(rng: np.random.Generator, rows: int) -> np.ndarray:
    fills = _filled(rng, "fills", rows, asset=rng.integers(0, 2, rows), side=rng.choice([-1, 1], rows))
    fills["qty"], fills["px"] = rng.integers(1, 4, rows) * 0.01, rng.uniform(10, 20, rows)
    fills["maker"], fills["tag"] = rng.integers(0, 2, rows), rng.choice([int(t) for t in Tag], rows)
    for asset in (0, 1):
        own = fills["asset"] == asset
        fills["position_qty"][own] = np.cumsum(fills["side"][own] * fills["qty"][own]).round(9)
    return fills


def _refusals(rng: np.random.Generator, rows: int) -> np.ndarray:
    refusals = _filled(rng, "refusals", rows, reason=rng.choice([int(r) for r in RefusalReason], rows))
    refusals["rule"] = np.where(refusals["reason"] == RefusalReason.RULE, rng.integers(0, 2, rows), -1)
    refusals["kind"], refusals["side"] = rng.integers(1, 4, rows), rng.choice([-1, 0, 1], rows)
    return refusals


def _equity(rng: np.random.Generator, samples: int) -> np.ndarray:
    equity = _filled(rng, "equity", 2 * samples, asset=np.tile([0, 1], samples))
    equity["local_ts"] = 10**12 + np.repeat(np.arange(samples), 2) * INTERVAL_NS
    if samples > 1:  # the end of a run cuts the last interval short
        equity["local_ts"][-2:] -= INTERVAL_NS // 2
    equity["equity"] = np.cumsum(rng.normal(size=(samples, 2)) * 50, axis=0).ravel()
    equity["fees"] = np.cumsum(rng.random((samples, 2)), axis=0).ravel()
    return equity
