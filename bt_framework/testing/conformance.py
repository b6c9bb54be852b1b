"""Fill conformance: small feeds with orders whose fills are worked by hand, for any simulator.

``conformance.json`` has the scenarios as plain records; `scenarios` reads them. A simulator takes part by an adapter
with one method, `Simulator.run`; `check` compares what it filled with what must be filled. `BtSimulator` is the adapter
of this framework.

::

    from bt_framework.testing.conformance import BtSimulator, check, scenarios

    for scenario in scenarios():
        for case in scenario.cases:
            print(scenario.name, case.venue, check(BtSimulator(), scenario, case) or "as expected")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from bt_framework.engine.models import (
    ExchangeKind,
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.engine.program import KernelSet, Program, build_program
from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, Session
from bt_framework.engine.strategy import Kernels, numbers_record
from bt_framework.errors import EngineError
from bt_framework.records import EVENT, EventFlag, EventKind, OrderEvent, Side, TimeInForce
from bt_framework.results.run import Instrument
from bt_framework.testing import _script
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS

FILE = Path(__file__).with_name("conformance.json")
EXPONENT = 3.0
"""Of the POWER queue models."""


class Venue(NamedTuple):
    """Names of a queue and of an exchange model, see `QueueKind` and `ExchangeKind`."""

    queue: str
    exchange: str


class Fill(NamedTuple):
    """A fill: place of its order among the scenario's (from 1 on), the exchange's time, price, quantity, maker."""

    order: int
    exch_ms: float
    px: float
    qty: float
    maker: bool


@dataclass(frozen=True)
class Case:
    """What must happen under one venue.

    Attributes
    ----------
    fills : tuple of Fill
        In the order of the exchange.
    ends : tuple of str
        Last state of each order: filled, cancelled, expired, working, refused (not sent, or expired); ``stops`` if the
        simulator must stop with an error rather than fill.
    because : str
        The derivation.
    """

    venue: Venue
    fills: tuple[Fill, ...]
    ends: tuple[str, ...]
    because: str


@dataclass(frozen=True)
class Scenario:
    """A feed, orders, and what must happen.

    Attributes
    ----------
    events : tuple of mappings
        ``at_ms`` at the exchange, ``what`` (depth, trade, clear, add, cancel, fill), ``side`` (of a trade: the
        taker's), ``px``, ``qty``, and ``id`` of the single order for add, cancel and fill.
    orders : tuple of mappings
        ``at_ms`` at our side, ``do`` (limit, market, cancel, modify), ``side``, ``px``, ``qty``, ``tif`` (gtc, gtx,
        fok, ioc), and ``order`` for cancel and modify: place among the limit and market orders, from 1 on.
    feed_ms, entry_ms, response_ms : float
        Latencies: of the feed, of an order to the exchange, of its answer.
    """

    name: str
    title: str
    events: tuple[Mapping[str, Any], ...]
    orders: tuple[Mapping[str, Any], ...]
    cases: tuple[Case, ...]
    end_ms: float
    feed_ms: float
    entry_ms: float
    response_ms: float
    tick_size: float
    lot_size: float


@dataclass(frozen=True)
class Result:
    """What a simulator did: fills in the order of the exchange, and the last state of each order, see `Case`."""

    fills: Sequence[Fill]
    ends: Sequence[str] = field(default=())


class Simulator(Protocol):
    """An adapter.

    A simulator that knows one venue only may ignore ``venue``; one that does not say how orders end returns no
    ``ends``, and they are not compared.
    """

    def run(self, scenario: Scenario, venue: Venue) -> Result:
        """Return the fills of the scenario's orders."""
        ...


def scenarios() -> list[Scenario]:
    """Return all scenarios."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    return [_scenario(document["common"] | row) for row in document["scenarios"]]


def check(simulator: Simulator, scenario: Scenario, case: Case) -> str:
    """Run a case; returns what is different, or nothing."""
    result = simulator.run(scenario, case.venue)
    fills = [Fill(f[0], round(f[1], 6), round(f[2], 9), round(f[3], 9), bool(f[4])) for f in result.fills]
    if fills != list(case.fills):
        return f"fills must be {_told(case.fills)}, were {_told(fills)}"
    if result.ends and not all(map(_ends_as, result.ends, case.ends)):
        return f"orders must end {', '.join(case.ends)}; they ended {', '.join(result.ends)}"
    return ""


def _ends_as(end: str, expected: str) -> bool:
    """Whether an order ended as it must: what must not be sent may as well come back."""
    return end == expected or (expected == "refused" and end == "expired")


def _told(fills: Sequence[Fill]) -> str:
    return "; ".join(describe(fill) for fill in fills) or "none"


def describe(fill: Fill) -> str:
    """One fill for people."""
    kind = "maker" if fill.maker else "taker"
    return f"order {fill.order}: {fill.qty:g} at {fill.px:g}, {fill.exch_ms:g} ms, {kind}"


def _scenario(row: dict[str, Any]) -> Scenario:
    cases = []
    for expected in row.pop("expected"):
        fills = tuple(
            Fill(order, exch_ms, px, qty, kind == "maker")
            for order, exch_ms, px, qty, kind in expected["fills"]
        )
        for queue in expected["queues"]:
            for exchange in expected["exchanges"]:
                ends = tuple(expected["ends"])
                cases.append(Case(Venue(queue, exchange), fills, ends, expected["because"]))
    events, orders = tuple(row.pop("events")), tuple(row.pop("orders"))
    return Scenario(**row, events=events, orders=orders, cases=tuple(cases))


class BtSimulator:
    """The adapter of this framework: strategy script, broker, engine and ledger of a real run.

    Parameters
    ----------
    roi : bool
        Whether the book is a vector of prices, not a hash map.
    """

    def __init__(self, *, roi: bool = False) -> None:
        self._roi = roi

    def run(self, scenario: Scenario, venue: Venue) -> Result:
        """Return the fills that the ledger booked."""
        session = script_session(
            events_of(scenario),
            script_of(scenario),
            Instrument("TEST", scenario.tick_size, scenario.lot_size),
            venue,
            LatencyModel(round(scenario.entry_ms * NS_PER_MS), round(scenario.response_ms * NS_PER_MS)),
            Clocking(START_TS, START_TS + round(scenario.end_ms * NS_PER_MS), NS_PER_MS, 1_000 * NS_PER_MS),
            roi=self._roi,
        )
        placed = sum(order["do"] in ("limit", "market") for order in scenario.orders)
        try:
            tables = run_tables(session)
        except EngineError:
            return Result((), ("stops",) * placed)
        rows = sorted(tables["fills"], key=lambda row: int(row["exch_ts"]))
        fills = [
            Fill(
                int(r["order_id"]),
                (int(r["exch_ts"]) - START_TS) / NS_PER_MS,
                r["px"],
                r["qty"],
                bool(r["maker"]),
            )
            for r in rows
        ]
        return Result(fills, [_end(tables, order_id) for order_id in range(1, placed + 1)])


_ENDS = {
    OrderEvent.FILLED: "filled",
    OrderEvent.CANCELLED: "cancelled",
    OrderEvent.EXPIRED: "expired",
    OrderEvent.REJECTED: "expired",
}


def _end(tables: Mapping[str, np.ndarray], order_id: int) -> str:
    """Last state of an order."""
    events = tables["orders"]["event"][tables["orders"]["order_id"] == order_id].tolist()
    ends = [_ENDS[event] for event in events if event in _ENDS]
    return ends[-1] if ends else ("working" if events else "refused")


_KINDS = {
    "depth": EventKind.DEPTH,
    "trade": EventKind.TRADE,
    "clear": EventKind.DEPTH_CLEAR,
    "add": EventKind.ADD_ORDER,
    "cancel": EventKind.CANCEL_ORDER,
    "fill": EventKind.FILL,
}
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}


def events_of(scenario: Scenario) -> np.ndarray:
    """Return the feed as an EVENT array; its times begin at `START_TS`."""
    rows = []
    for event in scenario.events:
        flag = EventFlag.BUY if event["side"] == "buy" else EventFlag.SELL
        ts = START_TS + round(event["at_ms"] * NS_PER_MS)
        ev = int(EventFlag.EXCH | EventFlag.LOCAL | flag | _KINDS[event["what"]])
        local_ts = ts + round(scenario.feed_ms * NS_PER_MS)
        rows.append((ev, ts, local_ts, event["px"], event["qty"], event.get("id", 0), 0, 0.0))
    return np.array(rows, EVENT)


def script_of(scenario: Scenario) -> np.ndarray:
    """Return the orders as rows of `_script`."""
    does = {"limit": _script.LIMIT, "market": _script.MARKET}
    does |= {"cancel": _script.CANCEL, "modify": _script.MODIFY}
    rows = [
        (
            order["at_ms"] * NS_PER_MS,
            does[order["do"]],
            _SIDES.get(order.get("side", ""), 0),
            order.get("px", 0.0),
            order.get("qty", 0.0),
            TimeInForce[order.get("tif", "gtc").upper()],
            order.get("order", 0),
        )
        for order in scenario.orders
    ]
    return np.array(rows, np.float64).reshape(-1, _script.COLUMNS)


@cache
def _program() -> Program:
    kernels = Kernels(on_timer="bt_framework.testing._script:on_timer")
    return build_program(KernelSet(kernels, (), "bt_framework.testing._script:one"))


def script_session(
    events: np.ndarray,
    script: np.ndarray,
    instrument: Instrument,
    venue: Venue,
    latency: LatencyModel,
    clocking: Clocking,
    *,
    exponent: float = EXPONENT,
    fees: FeeSchedule = FeeSchedule(),  # noqa: B008
    swept_px: tuple[float, float] | None = None,
    roi: bool = False,
) -> Session:
    """Return a session that does what `script` says on `events`; `swept_px` bounds the book, else the feed does."""
    px = events["px"][np.isfinite(events["px"])]
    low, high = swept_px or (float(px.min()), float(px.max()))
    market = Market(
        instrument,
        [events],
        latency,
        QueueModel(QueueKind(venue.queue), exponent),
        ExchangeModel(ExchangeKind(venue.exchange)),
        fees,
        low_px=low if roi else None,
        high_px=high if roi else None,
        swept_low_px=low,
        swept_high_px=high,
    )
    unused = numbers_record({})
    records = Records(
        params=numbers_record({"start_ts": clocking.start_ts}),
        state=numbers_record({"done": 0}),
        work=script,
        rules=(),
        sizing=(unused, unused),
        slippage=unused,
    )
    return Session([market], _program(), clocking, records, AccountTerms(100_000.0))


def run_tables(session: Session) -> dict[str, np.ndarray]:
    """Run to the end; returns the tables of the run."""
    parts: dict[str, list[np.ndarray]] = {}
    try:
        for tables in session.slices(10_000):
            for name, rows in tables.items():
                parts.setdefault(name, []).append(rows.copy())
    finally:
        session.close()
    return {name: np.concatenate(rows) for name, rows in parts.items()}
