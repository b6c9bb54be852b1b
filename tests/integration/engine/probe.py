"""Runs the probe strategy through a real engine on a feed written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import probe_kernels as pk

from bt_framework.engine.models import (
    ExchangeKind,
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.engine.program import KernelSet, Program, build_program
from bt_framework.engine.rules import RiskRuleConfig, RuleKernels, rule_state
from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, RuleRecords, Session
from bt_framework.engine.strategy import Kernels
from bt_framework.records import Side, TimeInForce, record
from bt_framework.results.run import LOGS, Instrument
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

BUY, SELL = int(Side.BUY), int(Side.SELL)
GTC, GTX, FOK, IOC = (int(t) for t in TimeInForce)


def program(*, book: bool = False) -> Program:
    """Return the compiled probe; with `book` it also wakes at every feed update."""
    kernels = Kernels(
        on_timer="probe_kernels:on_timer",
        on_book="probe_kernels:on_book" if book else None,
        on_order="probe_kernels:on_order",
    )
    return build_program(KernelSet(kernels, [RuleKernels("probe_kernels:allow_all")], "probe_kernels:one"))


def do(action: int, at_ms: float = 0, *, reason: int = 0, **values: float) -> tuple[float, ...]:
    """One row of the probe's script."""
    fields = {"asset": 0, "side": BUY, "px": 0.0, "qty": 1.0, "tif": GTX, "order_id": 0} | values
    return (reason, at_ms * MS, action, *fields.values())


@dataclass
class Outcome:
    """Tables, notes and session of a probe run."""

    tables: dict[str, np.ndarray[Any, Any]]
    state: Any
    session: Session

    @property
    def notes(self) -> list[tuple[float, int]]:
        """(milliseconds since the start, reason) of each wake-up."""
        return [
            ((int(self.state.ts[i]) - START_TS) / MS, int(self.state.reason[i]))
            for i in range(self.state.count)
        ]

    def steps(self, order_id: int = 1) -> list[int]:
        """Events of an order."""
        rows = self.tables["orders"]
        return rows["event"][rows["order_id"] == order_id].tolist()


def session_of(
    feeds: Sequence[SmallFeed],
    script: Sequence[tuple[float, ...]] = (),
    *,
    end_ms: float = 100,
    timer_ms: float = 10,
    latency: LatencyModel = LatencyModel(2 * MS, 3 * MS),  # noqa: B008
    fees: FeeSchedule = FeeSchedule(),  # noqa: B008
    contract_size: float = 1.0,
    roi: bool = True,
    book: bool = False,
    log_rows: int = 16_384,
    latency_rows: np.ndarray[Any, Any] | None = None,
    start_ms: float = 0,
    seen_levels: int = 0,
) -> tuple[Session, Any]:
    """Return a session of the probe on `feeds`, and its state. Prices 90 to 110, tick 0.5, lot 0.25."""
    markets = [
        Market(
            Instrument(f"TEST{index}", 0.5, 0.25, contract_size),
            [feed.events()],
            latency,
            QueueModel(QueueKind.RISK_AVERSE),
            ExchangeModel(ExchangeKind.NO_PARTIAL_FILL),
            fees,
            low_px=90.0 if roi else None,
            high_px=110.0 if roi else None,
            latency_rows=latency_rows,
        )
        for index, feed in enumerate(feeds)
    ]
    state = np.zeros(1, pk.STATE).view(np.recarray)[0]
    start_ts = START_TS + int(start_ms * MS)
    records = Records(
        params=record(pk.PARAMS, start_ts=start_ts),
        state=state,
        work=np.array([*script, (0.0,) * 9]),
        rules=(RuleRecords(rule_state(), rule_state(), RiskRuleConfig()),),
        sizing=(rule_state(), rule_state()),
        slippage=rule_state(),
    )
    clocking = Clocking(start_ts, START_TS + int(end_ms * MS), int(timer_ms * MS), 1_000 * MS)
    return Session(
        markets,
        program(book=book),
        clocking,
        records,
        AccountTerms(100_000.0, seen_levels),
        log_rows=log_rows,
    ), state


def collect(session: Session, state: Any, max_wakes: int = 1_000) -> Outcome:
    """Run to the end."""
    parts: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in LOGS}
    try:
        for tables in session.slices(max_wakes):
            for name in LOGS:
                parts[name].append(tables[name].copy())
    finally:
        session.close()
    return Outcome({name: np.concatenate(rows) for name, rows in parts.items()}, state, session)


def run_probe(
    feeds: Sequence[SmallFeed], script: Sequence[tuple[float, ...]] = (), **options: Any
) -> Outcome:
    """Run the probe to the end."""
    max_wakes = options.pop("max_wakes", 1_000)
    return collect(*session_of(feeds, script, **options), max_wakes)


def flat_book(
    *, until_ms: int = 200, every_ms: int = 10, bid_px: float = 99.5, ask_px: float = 100.5
) -> SmallFeed:
    """A book that is confirmed every so often and does not move; seen 1 ms after the exchange has it."""
    feed = SmallFeed()
    for at in range(-every_ms, until_ms + 1, every_ms):
        feed.book(at * MS, bid_px=bid_px, ask_px=ask_px)
    return feed
