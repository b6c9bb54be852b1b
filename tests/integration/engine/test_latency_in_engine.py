"""Orders through a real engine take the times that the latency table says, to the nanosecond."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from probe import GTX, do, flat_book, session_of
from probe_kernels import CANCEL, LIMIT

from bt_framework.engine._latency_at import latencies_at
from bt_framework.engine.latency import Curve, Disturbed, Rows, Window, latency_rows
from bt_framework.engine.models import LatencyModel
from bt_framework.engine.session import Session
from bt_framework.records import OrderEvent
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

SCRIPT = [do(LIMIT, at_ms, px=98.0, qty=1.0, tif=GTX) for at_ms in range(5, 400, 5)]
SUBMITTED, ACCEPTED, REJECTED = (
    int(e) for e in (OrderEvent.SUBMITTED, OrderEvent.ACCEPTED, OrderEvent.REJECTED)
)


def drawn(seed: int) -> Rows:
    """Latencies of some ms that change every 7 ms, none overtaking."""
    rng = np.random.default_rng(seed)
    req_ts = START_TS + np.arange(-1, 80) * 7 * MS
    exch_ts = np.maximum.accumulate(req_ts + rng.integers(0, 9 * MS, len(req_ts)))
    resp_ts = np.maximum.accumulate(exch_ts + rng.integers(0, 9 * MS, len(req_ts)))
    return latency_rows(req_ts, exch_ts - req_ts, resp_ts - exch_ts)


def laid(rows: Rows, outages: list[tuple[int, int]], windows: list[Window]) -> Rows:
    return np.concatenate([p.copy() for p in Disturbed(Curve(rows), outages, windows).pieces()])


def session_with(rows: Rows, script: Any = SCRIPT) -> Session:
    """Return a session of the probe with these latencies."""
    feed = flat_book(until_ms=700)
    return session_of([feed], script, end_ms=600, timer_ms=5, latency=LatencyModel(), latency_rows=rows)[0]


def orders_of(rows: Rows, *, max_wakes: int = 1_000, script: Any = SCRIPT) -> np.ndarray:
    """The orders table of a run with these latencies."""
    session = session_with(rows, script)
    try:
        return np.concatenate([tables["orders"].copy() for tables in session.slices(max_wakes)])
    finally:
        session.close()


def expected_of(rows: Rows, sent_ts: np.ndarray) -> list[tuple[int, int, int]]:
    """(event, exchange time, time of the answer) of orders sent at `sent_ts`: what the table says, in order."""
    entry_ns, response_ns = np.empty_like(sent_ts), np.empty_like(sent_ts)
    latencies_at(rows, sent_ts, entry_ns, response_ns)
    answers, exch_ts = [], sent_ts + entry_ns
    latencies_at(rows, np.sort(exch_ts[entry_ns >= 0]), np.empty_like(exch_ts), response_ns)
    back = iter(response_ns)
    for sent, entry, exch in zip(sent_ts.tolist(), entry_ns.tolist(), exch_ts.tolist(), strict=True):
        if entry < 0:
            answers.append((REJECTED, 0, sent - entry))
        else:
            answers.append((ACCEPTED, exch, exch + int(next(back))))
    return answers


OUTAGE = (START_TS + 100 * MS, START_TS + 160 * MS)
NOTICE_NS = 4 * MS
TABLES = {
    "drawn": drawn(1),
    "delayed": laid(drawn(2), [OUTAGE], [Window(*OUTAGE)]),
    "rejected": laid(drawn(3), [OUTAGE], [Window(*OUTAGE, ((OUTAGE[0], NOTICE_NS),))]),
    "log": laid(drawn(4), [], [Window(*OUTAGE, ((OUTAGE[0], NOTICE_NS), (OUTAGE[0] + 30 * MS, MS)))]),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_sent_accepted_and_answered_times_are_those_of_the_table(name: str) -> None:
    rows = TABLES[name]
    orders = orders_of(rows)
    sent = orders[orders["event"] == SUBMITTED]
    assert len(sent) == len(SCRIPT)
    answers = orders[np.isin(orders["event"], [ACCEPTED, REJECTED])]
    answers = answers[np.argsort(answers["order_id"])]
    expected = expected_of(rows, sent["local_ts"].copy())
    assert answers["event"].tolist() == [event for event, _, _ in expected]
    accepted = answers["event"] == ACCEPTED
    assert answers["exch_ts"][accepted].tolist() == [exch for event, exch, _ in expected if event == ACCEPTED]
    # Answers come in the order in which they were sent: a rejection on its way holds up what was sent after it.
    left_ts = [
        exch if event == ACCEPTED else int(s["local_ts"])
        for (event, exch, _), s in zip(expected, sent, strict=False)
    ]
    order = np.argsort(left_ts, kind="stable")
    back_ts = np.maximum.accumulate(np.array([back for _, _, back in expected])[order])
    assert answers["local_ts"][order].tolist() == back_ts.tolist()


def test_rejected_orders_are_rows_that_the_exchange_has_not_seen() -> None:
    orders = orders_of(TABLES["rejected"])
    sent = {int(o["order_id"]): int(o["local_ts"]) for o in orders if o["event"] == SUBMITTED}
    rejected = orders[orders["event"] == REJECTED]
    inside = {k for k, ts in sent.items() if OUTAGE[0] <= ts < OUTAGE[1]}
    assert set(rejected["order_id"].tolist()) == inside
    assert len(inside) == 12
    assert set(rejected["exch_ts"].tolist()) == {0}


def test_a_cancel_in_an_outage_is_rejected_and_the_order_lives_on() -> None:
    rows = laid(latency_rows([START_TS], MS, MS), [OUTAGE], [Window(*OUTAGE, ((OUTAGE[0], NOTICE_NS),))])
    script = [
        do(LIMIT, 20, px=98.0, tif=GTX),
        do(CANCEL, 120, order_id=1),
        do(CANCEL, 200, order_id=1),
    ]
    orders = orders_of(rows, script=script)
    events = [OrderEvent(e).name for e in orders["event"]]
    assert events == [
        "SUBMITTED",
        "ACCEPTED",
        "CANCEL_REQUESTED",
        "REQUEST_REJECTED",
        "CANCEL_REQUESTED",
        "CANCELLED",
    ]
    assert ((orders["local_ts"] - START_TS) / MS).tolist() == [20, 22, 120, 124, 200, 202]


@pytest.mark.parametrize("name", list(TABLES))
def test_slices_do_not_matter(name: str) -> None:
    whole = orders_of(TABLES[name], max_wakes=10**9)
    for max_wakes in (1, 7):
        assert orders_of(TABLES[name], max_wakes=max_wakes).tobytes() == whole.tobytes()


def test_a_table_lives_as_long_as_the_engine_that_reads_it() -> None:
    rows = drawn(6)
    known, session = weakref.ref(rows), session_with(rows)
    del rows
    gc.collect()
    assert known() is not None
    session.close()
    del session
    gc.collect()
    assert known() is None
