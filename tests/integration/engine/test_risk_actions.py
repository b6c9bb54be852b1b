"""What follows a breach, on the real engine: refuse, cancel, flatten, halt, resume; rows that say when and why.

Orders reach the exchange 2 ms after they are sent and are answered 3 ms later; books are seen 1 ms late, and the timer
is at 10, 20, ... ms.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import probe_kernels as pk
import pytest
from probe import BUY, GTC, SELL, Outcome, do
from risk_runs import OFF, events_of, run, stepped_book, submissions, walk

from bt_framework.engine.models import LatencyModel
from bt_framework.records import OrderEvent as E
from bt_framework.records import RefusalReason as R
from bt_framework.records import RiskAction as A
from bt_framework.records import Tag
from bt_framework.results.run import LOGS
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

FALL = [(-10, 100.0), (50, 98.0)]
"""A mid of 100, and of 98 from 50 ms on: 4 bought at 100.5 have lost 2, then 10."""
FALL_AND_RISE = [*FALL, (100, 100.0)]
LONG_4 = do(pk.MARKET, 10, side=BUY, qty=4)


def with_drawdown(
    action: A, script: list[Any], mids: list[Any] = FALL, limit: float = 5.0, **options: Any
) -> Outcome:
    """Run a script under a limit of the fall from the peak."""
    rule = {"limit_notional": limit, "limit_frac": 0.0, "action": action}
    rule |= {key: options.pop(key) for key in ("resume_after_ns",) if key in options}
    feeds = options.pop("feeds", [stepped_book(mids)])
    return run(feeds, rules={"max_drawdown": rule}, script=script, **({"end_ms": 400} | options))


def refused(done: Outcome) -> list[tuple[float, int, float, float]]:
    """(ms, reason, value, limit) of each refusal."""
    start_ts = int(done.session.arrays.clock[0]["start_ts"])
    return [
        ((int(r["local_ts"]) - start_ts) / MS, int(r["reason"]), float(r["value"]), float(r["limit"]))
        for r in done.tables["refusals"]
    ]


def sent(done: Outcome, event: E = E.SUBMITTED) -> list[tuple[float, int, float, int]]:
    """(ms, side, quantity, tag) of each order sent."""
    start_ts = int(done.session.arrays.clock[0]["start_ts"])
    return [
        ((int(r["local_ts"]) - start_ts) / MS, int(r["side"]), float(r["qty"]), int(r["tag"]))
        for r in done.tables["orders"]
        if r["event"] == event
    ]


def position(done: Outcome, asset: int = 0) -> float:
    """Position at the end."""
    return float(done.session.arrays.ledger[asset]["position_qty"])


def test_refuse_keeps_back_what_increases_until_the_limit_holds_again() -> None:
    script = [
        LONG_4,
        do(pk.MARKET, 60, side=BUY),
        do(pk.MARKET, 60, side=SELL, qty=2),
        do(pk.MARKET, 60, side=SELL, qty=3),
        do(pk.MARKET, 110, side=BUY, qty=1),
    ]
    done = with_drawdown(A.REFUSE, script, FALL_AND_RISE)
    # 2 were sold at 97.5: at 100 again, 7 of the loss of 10 are left.
    assert refused(done)[:2] == [(60.0, R.RULE, 10.0, 5.0), (60.0, R.RULE, 10.0, 5.0)]
    assert sent(done)[:2] == [(10.0, BUY, 4.0, 0), (60.0, SELL, 2.0, 0)]
    assert events_of(done) == [(60.0, "max_drawdown", "BREACH")]
    done = with_drawdown(A.REFUSE, script, FALL_AND_RISE, limit=9.0)
    assert events_of(done) == [(60.0, "max_drawdown", "BREACH"), (110.0, "max_drawdown", "RESUME")]
    assert sent(done)[-1] == (110.0, BUY, 1.0, 0)
    assert [row[:2] for row in refused(done)] == [(60.0, R.RULE)] * 2
    (breach, resume) = done.tables["risk_events"]
    assert (breach["value"], breach["limit"], breach["action"], breach["until_ts"]) == (
        10.0,
        9.0,
        A.REFUSE,
        0,
    )
    assert (resume["value"], resume["limit"]) == (7.0, 9.0)


def test_an_order_that_is_refused_is_no_event() -> None:
    done = run(
        [stepped_book(FALL)],
        rules={"max_order_qty": {"limit_qty": 2.0}},
        script=[do(pk.MARKET, 10, qty=3), do(pk.MARKET, 10, qty=2)],
        end_ms=100,
    )
    assert refused(done) == [(10.0, R.RULE, 3.0, 2.0)]
    assert sent(done) == [(10.0, BUY, 2.0, 0)]
    assert events_of(done) == []


def test_refuse_with_a_time_goes_on_refusing_that_long() -> None:
    rule = {"limit_qty": 2.0, "resume_after_ns": 25 * MS}
    orders = [do(pk.MARKET, at, qty=3 if at == 10 else 1) for at in (10, 20, 30, 40, 50)]
    done = run([stepped_book(FALL)], rules={"max_order_qty": rule}, script=orders, end_ms=100)
    assert [row[0] for row in refused(done)] == [10.0, 20.0, 30.0]
    assert [row[2:] for row in refused(done)] == [(3.0, 2.0)] * 3
    assert events_of(done) == [(10.0, "max_order_qty", "BREACH"), (40.0, "max_order_qty", "RESUME")]
    assert [row[0] for row in sent(done)] == [40.0, 50.0]


def test_cancel_all_cancels_what_works_and_what_is_still_on_its_way() -> None:
    script = [
        LONG_4,
        do(pk.LIMIT, 20, side=BUY, px=95.0),
        do(pk.LIMIT, 20, side=SELL, px=103.0),
        do(pk.LIMIT, 50, side=BUY, px=94.0),
        do(pk.LIMIT, 70, side=SELL, px=104.0),
        do(pk.LIMIT, 70, side=BUY, px=93.0),
    ]
    done = with_drawdown(A.CANCEL_ALL, script, latency=LatencyModel(10 * MS, 10 * MS))
    # The order of 50 ms is answered at 70 ms, and cancelled then.
    assert [(row[0], row[1]) for row in sent(done, E.CANCEL_REQUESTED)] == [
        (60.0, BUY),
        (60.0, SELL),
        (70.0, BUY),
    ]
    assert [row[0] for row in sent(done, E.CANCELLED)] == [80.0, 80.0, 90.0]
    assert sent(done)[-1] == (70.0, SELL, 1.0, 0)
    assert refused(done) == [(70.0, R.RULE, 10.0, 5.0)]
    assert events_of(done) == [(60.0, "max_drawdown", "BREACH")]
    assert len(done.session.arrays.open_orders[: int(done.session.arrays.clock[0]["open_orders"])]) == 1


def test_a_refusal_may_cancel_all_at_once_and_is_over_with_the_next_look() -> None:
    rule = {"limit_qty": 2.0, "action": A.CANCEL_ALL}
    script = [do(pk.LIMIT, 10, px=99.5), do(pk.MARKET, 20, qty=3), do(pk.MARKET, 20), do(pk.MARKET, 30)]
    done = run([stepped_book([(-10, 100.0)])], rules={"max_order_qty": rule}, script=script, end_ms=100)
    assert [row[0] for row in sent(done, E.CANCEL_REQUESTED)] == [20.0]
    assert refused(done) == [(20.0, R.RULE, 3.0, 2.0), (20.0, R.RULE, 3.0, 2.0)]
    assert events_of(done) == [(20.0, "max_order_qty", "BREACH"), (25.0, "max_order_qty", "RESUME")]
    assert sent(done)[-1][0] == 30.0


def test_flatten_closes_everything_even_what_fills_after_the_breach_and_sends_nothing_more() -> None:
    script = [
        LONG_4,
        do(pk.MARKET, 10, asset=1, side=SELL, qty=3),
        do(pk.LIMIT, 20, side=SELL, px=103.0),
        do(pk.MARKET, 60, side=BUY, qty=2),
        do(pk.MARKET, 50, side=BUY, qty=2),
        *[do(pk.MARKET, at, side=side) for at in (70, 100, 200, 300) for side in (BUY, SELL)],
    ]
    feeds = [stepped_book(FALL), stepped_book([(-10, 100.0)])]
    done = with_drawdown(A.FLATTEN_AND_HALT, script, feeds=feeds, latency=LatencyModel(10 * MS, 10 * MS))
    assert (position(done), position(done, 1)) == (0.0, 0.0)
    # The other instrument has nothing working; the first waits for the order of 50 ms and the cancel.
    assert sent(done)[4:] == [(60.0, BUY, 3.0, Tag.RISK), (80.0, SELL, 6.0, Tag.RISK)]
    assert events_of(done) == [(60.0, "max_drawdown", "BREACH"), (100.0, "max_drawdown", "FLAT")]
    assert {row[1] for row in refused(done)} == {R.HALTED}
    assert len(refused(done)) == 9
    (breach, flat) = done.tables["risk_events"]
    assert breach["value"] >= breach["limit"] == 5.0
    assert math.isnan(flat["value"])
    assert (breach["until_ts"], breach["action"]) == (0, A.FLATTEN_AND_HALT)


def test_flatten_sends_again_what_was_filled_in_part() -> None:
    done = with_drawdown(
        A.FLATTEN_AND_HALT,
        [do(pk.MARKET, 10, qty=6)],
        feeds=[stepped_book(FALL, bid_qty=2.5)],
        partial=True,
        limit=8.0,
    )
    closing = [row for row in sent(done) if row[3] == Tag.RISK]
    assert [row[:3] for row in closing] == [(60.0, SELL, 6.0), (65.0, SELL, 3.5), (70.0, SELL, 1.0)]
    assert position(done) == 0.0
    assert events_of(done)[-1] == (75.0, "max_drawdown", "FLAT")


def test_flatten_waits_for_a_side_of_the_book_that_is_missing() -> None:
    feed = stepped_book(FALL, until_ms=40)
    feed.level(50 * MS, 1, 99.5, 0.0).level(50 * MS, -1, 100.5, 0.0).level(50 * MS, -1, 98.5, 10.0)
    feed.level(75 * MS, 1, 97.5, 10.0)
    for at in range(80, 400, 10):
        feed.level(at * MS, 1, 97.5, 10.0)
    rules = {
        "max_order_qty": {"limit_qty": 5.0, "action": A.FLATTEN_AND_HALT},
    }
    done = run([feed], rules=rules, script=[LONG_4, do(pk.LIMIT, 60, px=97.5, qty=9)], end_ms=300)
    assert [row for row in sent(done) if row[3] == Tag.RISK] == [(80.0, SELL, 4.0, Tag.RISK)]
    assert events_of(done) == [(60.0, "max_order_qty", "BREACH"), (85.0, "max_order_qty", "FLAT")]


def test_flatten_without_latency_and_liquidity_lets_time_pass() -> None:
    # The bid is gone at 50 ms, which is seen at 51 ms: what is sent at 50 ms expires at once.
    feed = stepped_book(FALL, until_ms=40)
    feed.level(50 * MS, 1, 99.5, 0.0)
    for at in range(90, 400, 10):
        feed.level(at * MS, 1, 97.5, 10.0)
    rules = {"max_order_qty": {"limit_qty": 5.0, "action": A.FLATTEN_AND_HALT}}
    script = [LONG_4, do(pk.MARKET, 50, qty=9)]
    done = run([feed], rules=rules, script=script, end_ms=300, latency=LatencyModel(0, 0), partial=True)
    assert [row[0] for row in sent(done) if row[3] == Tag.RISK] == [50.0, 100.0]
    assert events_of(done)[-1] == (100.0, "max_order_qty", "FLAT")
    assert position(done) == 0.0


def test_flatten_waits_for_room_among_the_working_orders() -> None:
    script = [
        do(pk.MARKET, 10, side=BUY, qty=4),
        *[do(pk.FILL_UP, at, asset=1, px=95.0, order_id=128) for at in (20, 30)],
    ]
    feeds = [stepped_book(FALL), stepped_book([(-10, 100.0)])]
    done = with_drawdown(A.FLATTEN_AND_HALT, script, feeds=feeds)
    assert max(len(books.working) for _, _, books in walk(done)) == 256
    assert [row for row in sent(done) if row[3] == Tag.RISK] == [(65.0, SELL, 4.0, Tag.RISK)]
    assert events_of(done)[-1] == (70.0, "max_drawdown", "FLAT")


def test_a_halt_may_resume_after_a_time_with_a_new_peak() -> None:
    script = [LONG_4, do(pk.MARKET, 80), do(pk.MARKET, 110), do(pk.MARKET, 120)]
    done = with_drawdown(A.FLATTEN_AND_HALT, script, resume_after_ns=50 * MS)
    assert events_of(done) == [
        (60.0, "max_drawdown", "BREACH"),
        (65.0, "max_drawdown", "FLAT"),
        (110.0, "max_drawdown", "RESUME"),
    ]
    assert [row[:2] for row in refused(done)] == [(80.0, R.HALTED)]
    assert [row[0] for row in sent(done)] == [10.0, 60.0, 110.0, 120.0]
    assert done.tables["risk_events"]["until_ts"][0] == START_TS + 110 * MS
    assert done.tables["risk_events"]["value"][-1] == 0.0


def test_a_halt_does_not_resume_before_all_is_closed() -> None:
    done = with_drawdown(
        A.FLATTEN_AND_HALT,
        [do(pk.MARKET, 10, qty=6), *[do(pk.MARKET, at) for at in (70, 80, 90, 100)]],
        feeds=[stepped_book(FALL, bid_qty=1.0)],
        partial=True,
        limit=8.0,
        resume_after_ns=5 * MS,
    )
    assert events_of(done) == [
        (60.0, "max_drawdown", "BREACH"),
        (90.0, "max_drawdown", "FLAT"),
        (100.0, "max_drawdown", "RESUME"),
    ]
    assert [row[0] for row in sent(done) if row[3] != Tag.RISK] == [10.0, 100.0]
    assert [row[:2] for row in refused(done)] == [(ms, R.HALTED) for ms in (70.0, 80.0, 90.0)]


def test_the_loss_of_a_day_is_not_forgiven_by_time() -> None:
    rule = {
        "limit_notional": 5.0,
        "limit_frac": 0.0,
        "action": A.FLATTEN_AND_HALT,
        "resume_after_ns": 20 * MS,
    }
    script = [LONG_4, *[do(pk.MARKET, at) for at in range(90, 300, 10)]]
    done = run([stepped_book(FALL)], rules={"daily_loss": rule}, script=script, end_ms=400)
    assert events_of(done) == [(60.0, "daily_loss", "BREACH"), (65.0, "daily_loss", "FLAT")]
    assert len(refused(done)) == 21


@pytest.mark.parametrize(
    ("time_zone", "midnight"),
    [
        ("UTC", "2024-01-03T00:00"),
        ("America/New_York", "2024-01-03T05:00"),
        ("Asia/Kolkata", "2024-01-03T18:30"),
        ("Europe/Berlin", "2024-03-30T23:00"),
        ("Europe/Berlin", "2024-03-31T22:00"),
        ("Europe/Berlin", "2024-10-27T23:00"),
        ("Australia/Lord_Howe", "2024-10-06T13:00"),
    ],
)
def test_a_halt_for_the_day_ends_at_local_midnight(time_zone: str, midnight: str) -> None:
    ms = round((datetime.fromisoformat(f"{midnight}+00:00").timestamp() * 1e9 - START_TS) / MS)
    rule = {"limit_notional": 5.0, "limit_frac": 0.0, "time_zone": time_zone}
    script = [
        LONG_4,
        do(pk.LIMIT, 20, px=90.0),
        do(pk.MARKET, 80, side=SELL, qty=1),
        do(pk.MARKET, 190),
        do(pk.MARKET, 200),
    ]
    done = run(
        [stepped_book(FALL, start_ms=ms - 200)],
        rules={"daily_loss": rule},
        script=script,
        end_ms=400,
        start_ts=START_TS + (ms - 200) * MS,
    )
    assert events_of(done) == [(60.0, "daily_loss", "BREACH"), (200.0, "daily_loss", "RESUME")]
    assert done.tables["risk_events"]["until_ts"][0] == START_TS + ms * MS
    assert [row[0] for row in sent(done)] == [10.0, 20.0, 80.0, 200.0]
    assert [row[0] for row in sent(done, E.CANCELLED)] == [65.0]
    assert [row[:2] for row in refused(done)] == [(190.0, R.HALTED)]


def test_two_rules_that_flatten_are_both_told_and_the_first_is_flat() -> None:
    rules = {
        "max_drawdown": {"limit_notional": 5.0, "limit_frac": 0.0},
        "daily_loss": {"limit_notional": 6.0, "limit_frac": 0.0, "action": A.FLATTEN_AND_HALT},
    }
    done = run([stepped_book(FALL)], rules=rules, script=[LONG_4], end_ms=200)
    names = sorted(list(OFF).index(name) for name in rules)
    assert [e for e in events_of(done) if e[2] == "BREACH"] == [
        (60.0, list(OFF)[index], "BREACH") for index in names
    ]
    assert [e for e in events_of(done) if e[2] == "FLAT"] == [(65.0, list(OFF)[names[0]], "FLAT")]


def test_actions_are_the_same_however_the_run_is_sliced() -> None:
    def tables(max_wakes: int) -> list[bytes]:
        rules = {"max_drawdown": {"limit_notional": 5.0, "limit_frac": 0.0, "resume_after_ns": 30 * MS}}
        rules |= {"order_rate": {"rate_per_s": 200.0, "burst": 3}}
        options: dict[str, Any] = {"greedy": {"intents": 3}, "end_ms": 400, "max_wakes": max_wakes}
        done = run([stepped_book(FALL_AND_RISE)], rules=rules, **options)
        assert {"BREACH", "FLAT", "RESUME"} <= {e for _, _, e in events_of(done)}
        return [done.tables[name].tobytes() for name in LOGS]

    assert tables(1) == tables(7) == tables(10_000)


@pytest.mark.parametrize("seed", range(1, 6))
def test_between_breach_and_resumption_nothing_is_sent_by_a_greedy_strategy(seed: int) -> None:
    rule = {"limit_notional": 5.0, "limit_frac": 0.0, "resume_after_ns": 40 * MS}
    done = run(
        [stepped_book(FALL_AND_RISE), stepped_book([(-10, 100.0)])],
        rules={"max_drawdown": rule},
        greedy={"intents": 3},
        seed=seed,
        end_ms=400,
        latency=LatencyModel(7 * MS, 9 * MS),
    )
    events = done.tables["risk_events"]
    own = np.array([row["local_ts"] for row, _, _ in submissions(done)])
    begun = None
    assert len(events) > 2
    for event in events:
        kind = ("", "BREACH", "RESUME", "FLAT")[event["event"]]
        if kind == "BREACH":
            begun = event["local_ts"]
        elif kind == "FLAT":
            _assert_flat(done, int(event["local_ts"]))
        else:
            assert not ((own > begun) & (own < event["local_ts"])).any()
            begun = None


def _assert_flat(done: Outcome, ts: int) -> None:
    """Nothing is held and nothing works after what happened up to a time."""
    books = None
    for row, _, after in walk(done):
        if row["local_ts"] > ts or (row["local_ts"] == ts and row["event"] == E.SUBMITTED):
            break
        books = (dict(after.position_qty), dict(after.working))
    assert books is not None
    assert all(abs(qty) < 1e-9 for qty in books[0].values())
    assert not books[1]


def test_orders_that_flatten_wait_for_cancels_that_come_too_late() -> None:
    # The resting buy at 97.5 is hit before the cancel reaches the exchange: it is sold as well.
    feed = SmallFeed()
    for at in range(-10, 300, 10):
        mid = 100.0 if at < 50 else 98.5
        if at == 50:
            feed.level(at * MS, 1, 99.5, 0.0)
        feed.level(at * MS, 1, mid - 0.5 if at < 50 else 97.5, 10.0).level(at * MS, -1, 100.5, 10.0)
        if at == 60:
            feed.trade(61 * MS, SELL, 96.0, 100.0)
    script = [LONG_4, do(pk.LIMIT, 20, side=BUY, px=97.0, qty=2, tif=GTC)]
    done = with_drawdown(A.FLATTEN_AND_HALT, script, feeds=[feed])
    assert E.FILLED in done.steps(2)
    assert sum(row[2] for row in sent(done) if row[3] == Tag.RISK) == 6.0
    assert position(done) == 0.0
    assert events_of(done)[-1][2] == "FLAT"
