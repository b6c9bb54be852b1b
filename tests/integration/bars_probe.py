"""Runs a scripted strategy on bars, through everything that a run goes through."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bar_stores import DAY_NS, OPEN_US

from bt_framework.config.compose import compose
from bt_framework.engine.strategy import Kernels, PlainStrategy, Strategy, numbers_record
from bt_framework.registry import Kind
from bt_framework.results.result import RunResult
from bt_framework.results.run import Instrument
from bt_framework.runner import run_composition

FIRST_CLOSE_TS = OPEN_US * 1_000 + DAY_NS
Order = tuple[int, int, int, float]
"""Number of the bar at whose close it is sent, asset, side, quantity."""


class Scripted(Strategy):
    """Sends market orders at the closes given; ``notes`` are its wake-ups.

    Parameters
    ----------
    book : bool
        Whether it wakes at each feed update, else every `timer_ns`.
    """

    def __init__(
        self, orders: Sequence[Order], *, book: bool = True, timer_ns: int = 0, bar_ns: int = DAY_NS
    ) -> None:
        module = importlib.import_module("bars_probe_kernels")
        self.timer_ns = timer_ns
        self.kernels = Kernels(
            on_timer="bars_probe_kernels:on_timer" if timer_ns else None,
            on_book="bars_probe_kernels:on_book" if book else None,
        )
        reason = module.BOOK if book else module.TIMER
        self._rows = [(reason, *order) for order in orders] or [(0,) * 5]
        self._bar_ns = bar_ns
        self.notes = np.zeros(1, module.STATE).view(np.recarray)[0]

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """When the first bar closes, and how long a bar is."""
        return numbers_record(
            {"first_ts": FIRST_CLOSE_TS - DAY_NS + self._bar_ns, "interval_ns": self._bar_ns}
        )

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """The notes."""
        return self.notes

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray[Any, Any]:
        """The orders."""
        return np.array(self._rows, float)

    def woken(self) -> list[tuple[float, int]]:
        """(bars since the first close, reason) of each wake-up."""
        times = (self.notes.ts[: self.notes.count] - FIRST_CLOSE_TS) / DAY_NS
        return list(zip(times.tolist(), self.notes.reason[: self.notes.count].tolist(), strict=True))


def run_bars(store_dir: Path, strategy: Strategy | PlainStrategy, *overrides: str) -> RunResult:
    """Run `strategy` on source ``test`` of the bar store, without fees, latency and rules unless told otherwise."""
    base = ["+strategy=imbalance", "data=bars", "data.source=test", "latency=zero", "fees=zero", "risk=[]"]
    folders = [f"store_dir={store_dir}", f"runs_dir={store_dir / 'runs'}", "console=plain"]
    composition = compose([*base, *folders, *overrides])
    chosen = composition.one(Kind.STRATEGY)
    other = chosen._replace(component=replace(chosen.component, build=lambda _: strategy))
    choices = {**composition.choices, Kind.STRATEGY: (other,)}
    return run_composition(replace(composition, choices=choices))


def columns(result: RunResult, symbol: str, *names: str) -> Mapping[str, Any]:
    """Columns of the equity of one symbol, as arrays."""
    rows = [row for row in result.equity.to_pylist() if row["symbol"] == symbol]
    return {name: np.array([row[name] for row in rows]) for name in names}
