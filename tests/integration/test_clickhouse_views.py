"""The views: small cases worked by hand, and a run against its folder and its events."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clickhouse_front import ClickhouseFront

import bt_framework
from bt_framework.data.store import EventStore
from bt_framework.records import EventFlag, EventKind
from bt_framework.results.result import RunResult
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.loading import load_feed
from bt_framework.stores.clickhouse.schema import migrate

MS, S, H = 10**6, 10**9, 3_600 * 10**9
HORIZONS = [MS, 10 * MS, 100 * MS, S, 10 * S]


@dataclass(frozen=True)
class Place:
    """A database, and a run of which it has everything."""

    db: ClickHouse
    result: RunResult
    events: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def place(clickhouse_front: ClickhouseFront, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A synthetic run in a database that has its events too, and runs worked by hand."""
    folder = tmp_path_factory.mktemp("views")
    url = clickhouse_front.url(f"views_{os.getpid()}")
    with ClickHouse(address_of(url, folder)) as db:
        migrate(db)
        result = bt_framework.run(
            [
                "+strategy=ou_pairs",
                "data.duration_ns=4min",
                "writer=[parquet,clickhouse]",
                f"writer.clickhouse.url={url}",
                f"store_dir={folder}/store",
                f"runs_dir={folder}/runs",
                "console=json",
            ]
        )
        store = EventStore(folder / "store")
        events = {}
        for stored in map(store.feed, store.manifests()):
            load_feed(db, stored, lambda *_: None)
            events[stored.symbol] = np.array(stored.open())
        _by_hand(db)
        yield Place(db, result, events)
        db.command("DROP DATABASE {name:Identifier} SYNC", {"name": db.address.database})


def rows(db: ClickHouse, view: str, run_id: str, order_by: str = "ALL") -> list[dict[str, Any]]:
    """Rows of a run."""
    found = db.query(
        f"SELECT * FROM {view} WHERE run_id = {{run:String}} ORDER BY {order_by}", {"run": run_id}
    )
    return list(found.to_pylist())


def insert(db: ClickHouse, table: str, columns: str, values: Sequence[Sequence[Any]]) -> None:
    """Insert rows of the columns given; the others have their defaults."""
    text = ", ".join("(" + ", ".join("nan" if v is None else repr(v) for v in row) + ")" for row in values)
    db.command(f"INSERT INTO {table} ({columns}) VALUES {text}")


def _by_hand(db: ClickHouse) -> None:
    """Two instruments, the second an inverse contract whose feed is not in market_data."""
    record = json.dumps(
        {"instruments": [{"symbol": "A"}, {"symbol": "B", "contract_size": 10.0, "inverse": True}]}
    )
    columns = "run_id, symbols, feeds, record, status, capital, data_hash, updated_at_ns"
    for run_id, status, updated_at_ns in (
        ("hand", "running", 1),
        ("hand", "completed", 2),
        ("worse", "completed", 1),
        ("going", "running", 1),
    ):
        row = (run_id, '["A","B"]', '["fa","fb"]', record, status, 1_000.0, "d", updated_at_ns)
        insert(db, "backtest_runs", columns, [row])
    insert(db, "backtest_runs", columns, [("other", '["A"]', "[]", "", "completed", 1_000.0, "e", 1)])
    metrics = [("hand", 10.0, 1.5, 4.0), ("worse", 5.0, 2.5, 1.0), ("other", 99.0, 9.0, 0.0)]
    insert(db, "backtest_metrics", "run_id, pnl, sharpe, max_drawdown", metrics)
    touch = [
        (0, 99.0, 101.0),
        (MS, 100.0, 102.0),
        (20 * MS, 101.0, 103.0),
        (2 * S, 109.0, None),
        (11 * S, 109.0, 111.0),
    ]
    both = [("fa", "A", "exchange", i, *row) for i, row in enumerate(touch)]
    both += [("fa", "A", "local", i, row[0] + MS, *row[1:]) for i, row in enumerate(touch)]
    for order in (
        1,
        -1,
    ):  # what is stored twice counts once; the same rows in the same order would be stored once
        insert(db, "market_touch", "feed_id, symbol, clock, sequence, ts, bid_px, ask_px", both[::order])
        _orders_and_fills_by_hand(db, order)


def _orders_and_fills_by_hand(db: ClickHouse, order: int) -> None:
    ms = [1_500_000, 2_000_000, 3_000_000]
    steps = [
        (1, "A", "submitted", "entry", ms[0], 1.0, None),
        (1, "A", "accepted", "entry", ms[1], 1.0, 3.0),
        (1, "A", "filled", "entry", 2_100_000, 1.0, None),
        (2, "A", "submitted", "entry", ms[1], 1.0, None),
        (2, "A", "rejected", "entry", ms[2], 1.0, None),
        (3, "A", "submitted", "entry", ms[2], 4.0, None),
        (3, "A", "accepted", "entry", 3_500_000, 4.0, 5.0),
        (3, "A", "partially_filled", "entry", 4_000_000, 4.0, None),
        (3, "A", "cancel_requested", "entry", 5_000_000, 4.0, None),
        (3, "A", "cancelled", "entry", 6_000_000, 4.0, None),
        (4, "B", "submitted", "exit", 2 * H, 2.0, None),
    ]
    columns = "run_id, sequence, order_id, symbol, event, tag, local_ts, qty, queue_ahead_qty"
    insert(db, "backtest_orders", columns, [("hand", i, *step) for i, step in enumerate(steps)][::order])
    fills = [
        (1, "A", "buy", "entry", True, 1_600_000, 2_100_000, 100.5, 1.0, 0.0, 0.25),
        (3, "A", "sell", "entry", False, 5 * S, 4_000_000, 101.0, 2.0, 0.0, 0.5),
        (4, "B", "buy", "exit", False, 2 * H, 2 * H, 101.0, 3.0, 100.0, -1.0),
    ]
    columns = "order_id, symbol, side, tag, maker, exch_ts, local_ts, px, qty, slippage_bps, fee"
    insert(
        db,
        "backtest_fills",
        f"run_id, sequence, {columns}",
        [("hand", i, *f) for i, f in enumerate(fills)][::order],
    )
    trades = [(0, 5 * MS, "A", False, "entry", "stop", 7.0), (5 * MS, 2 * H, "B", True, "exit", "none", -3.0)]
    columns = "entry_ts, exit_ts, symbol, open, entry_tag, exit_tag, gross_pnl"
    insert(
        db,
        "backtest_trades",
        f"run_id, sequence, {columns}",
        [("hand", i, *t) for i, t in enumerate(trades)][::order],
    )
    samples = [
        (S, "A", 1.0, 5.0),
        (S, "B", -1.0, -6.0),
        (H + S, "A", 0.0, 9.0),
        (H + S, "B", 2.0, 0.0),
        (2 * H, "A", 0.0, 6.0),
        (2 * H, "B", 0.0, 1.0),
    ]
    columns = "local_ts, symbol, position_qty, equity"
    insert(
        db,
        "backtest_timeseries",
        f"run_id, sequence, {columns}",
        [("hand", i, *s) for i, s in enumerate(samples)][::order],
    )


def test_order_behaviour_by_hand(place: Place) -> None:
    (doubled,) = place.db.query("SELECT count() AS n FROM backtest_fills WHERE run_id = 'hand'")[
        "n"
    ].to_pylist()
    assert doubled == 2 * len(rows(place.db, "whole_fills", "hand"))
    by_tag = {(row["symbol"], row["tag"]): row for row in rows(place.db, "order_behaviour", "hand")}
    entry, exit_ = by_tag["A", "entry"], by_tag["B", "exit"]
    counts = ("orders", "filled", "partial", "cancelled", "expired", "rejected", "open", "requests", "fills")
    assert [entry[name] for name in counts] == [3, 2, 1, 1, 0, 1, 0, 4, 2]
    assert entry["fill_ratio"] == pytest.approx(2 / 3)
    assert entry["qty_fill_ratio"] == pytest.approx(3.0 / 6.0)
    assert (entry["cancel_ratio"], entry["reject_ratio"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert entry["time_to_first_fill_p50_ns"] == pytest.approx((600_000 + 1_000_000) / 2)
    assert entry["time_to_first_fill_p90_ns"] == pytest.approx(600_000 + 0.9 * 400_000)
    assert (entry["order_to_trade"], entry["queue_ahead_qty"]) == (2.0, 4.0)
    assert [exit_[name] for name in counts] == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert exit_["queue_ahead_qty"] is None


def test_slippage_by_hand(place: Place) -> None:
    bought, sold, elsewhere = rows(place.db, "fill_slippage", "hand", "sequence")
    # Sent at 1.5 ms: what we knew then was the mid of 1 ms, 100; filled at 1.6 ms, when it was 101 at the exchange.
    assert (bought["arrival_mid_px"], bought["fill_mid_px"]) == (100.0, 101.0)
    assert bought["arrival_slippage_bps"] == pytest.approx(50.0)
    assert bought["fill_slippage_bps"] == pytest.approx(-0.5 / 101 * 1e4)
    # Sold at the mid that we knew; at the exchange there was no offer.
    assert (sold["arrival_mid_px"], sold["fill_mid_px"]) == (101.0, None)
    assert (sold["arrival_slippage_bps"], sold["fill_slippage_bps"]) == (0.0, None)
    assert (elsewhere["arrival_slippage_bps"], elsewhere["fill_slippage_bps"]) == (None, None)


def test_markouts_by_hand(place: Place) -> None:
    found = rows(place.db, "fill_markouts", "hand", "sequence, horizon_ns")
    assert [row["horizon_ns"] for row in found] == HORIZONS * 3
    assert [row["mid_px"] for row in found[:5]] == [101.0, 101.0, 102.0, 102.0, None]
    assert found[0]["markout_bps"] == pytest.approx(0.5 / 100.5 * 1e4)
    # Ten seconds after the sale are later than what the feed knows of; before, a side was empty.
    assert [row["markout_bps"] for row in found[5:]] == [None] * 10
    averages = {(r["symbol"], r["maker"], r["horizon_ns"]): r for r in rows(place.db, "markouts", "hand")}
    first = averages["A", True, MS]
    assert (first["fills"], first["mean_bps"], first["stderr_bps"]) == (1, found[0]["markout_bps"], None)
    assert averages["A", False, S]["mean_bps"] is None


def test_pnl_by_hand(place: Place) -> None:
    names = ("trades", "realised_pnl", "unrealised_pnl", "fees", "net_pnl")
    symbols = {row["symbol"]: [row[n] for n in names] for row in rows(place.db, "pnl_by_symbol", "hand")}
    assert symbols == {"A": [1, 7.0, 0.0, 0.75, 6.25], "B": [0, 0.0, -3.0, -1.0, -2.0]}
    tags = {row["tag"]: [row[n] for n in names] for row in rows(place.db, "pnl_by_tag", "hand")}
    assert tags == {
        "entry": [0, 0.0, 0.0, 0.75, -0.75],
        "stop": [1, 7.0, 0.0, 0.0, 7.0],
        "exit": [0, 0.0, -3.0, -1.0, -2.0],
    }
    # Inverse: 3 contracts of 10, bought at 101 instead of 100.
    slippage = {row["symbol"]: row["slippage"] for row in rows(place.db, "pnl_by_symbol", "hand")}
    assert slippage == {"A": 0.0, "B": pytest.approx(3 * 10 * (1 / 100 - 1 / 101))}
    hours = rows(place.db, "pnl_by_hour", "hand", "symbol, hour_ts")
    columns = ("symbol", "hour_ts", "hour_of_day", "pnl", "realised_pnl", "fees", "trades", "fills")
    assert [tuple(row[c] for c in columns) for row in hours] == [
        ("A", 0, 0, 5.0, 7.0, 0.75, 1, 2),
        ("A", H, 1, 4.0, 0.0, 0.0, 0, 0),
        ("A", 2 * H, 2, -3.0, 0.0, 0.0, 0, 0),
        ("B", 0, 0, -6.0, 0.0, 0.0, 0, 0),
        ("B", H, 1, 6.0, 0.0, 0.0, 0, 0),
        ("B", 2 * H, 2, 1.0, 0.0, -1.0, 0, 1),
    ]


def test_progress_by_hand(place: Place) -> None:
    first, second, last = rows(place.db, "session_progress", "hand", "local_ts")
    columns = ("equity", "peak", "drawdown", "fills", "trades")
    assert [first[c] for c in columns] == [-1.0, 0.0, 1.0, 2, 1]
    assert [second[c] for c in columns] == [9.0, 9.0, 0.0, 2, 1]
    assert [last[c] for c in columns] == [7.0, 9.0, 2.0, 3, 1]
    assert last["drawdown_frac"] == pytest.approx(2 / 1_009)
    assert dict(second["position_qty"]) == {"A": 0.0, "B": 2.0}


def test_comparison_by_hand(place: Place) -> None:
    columns = ("peers", "pnl_rank", "sharpe_rank", "pnl_behind", "sharpe_behind", "max_drawdown_behind")

    def of(run_id: str) -> list[Any]:
        (row,) = rows(place.db, "run_comparison", run_id)
        return [row[c] for c in columns]

    # A filter on the run must not change who it is compared with.
    assert of("hand") == [2, 1, 2, 0.0, 1.0, 3.0]
    assert of("worse") == [2, 2, 1, 5.0, 0.0, 0.0]
    assert of("going") == [2, None, None, None, None, None]
    assert of("other") == [1, 1, 1, 0.0, 0.0, 0.0]


def test_order_behaviour_is_that_of_the_orders_lives(place: Place) -> None:
    lives = place.result.order_lives.to_pylist()
    assert len(lives) > 50
    found = rows(place.db, "order_behaviour", place.result.run_id)
    assert len(found) == len({(o["symbol"], o["tag"]) for o in lives})
    for row in found:
        own = [o for o in lives if (o["symbol"], o["tag"]) == (row["symbol"], row["tag"])]
        filled = [o for o in own if o["fills"]]
        waits = [o["first_fill_local_ts"] - o["sent_ts"] for o in filled]
        rested = [o["queue_ahead_qty"] for o in own if np.isfinite(o["queue_ahead_qty"])]
        assert row["orders"] == len(own)
        assert row["filled"] == len(filled)
        assert row["partial"] == sum(o["status"] != "filled" for o in filled)
        for status in ("cancelled", "expired", "rejected"):
            assert row[status] == sum(o["status"] == status for o in own)
        assert row["fills"] == sum(o["fills"] for o in own)
        assert row["fill_ratio"] == len(filled) / len(own)
        assert row["qty_fill_ratio"] == pytest.approx(
            sum(o["filled_qty"] for o in own) / sum(o["qty"] for o in own), rel=1e-12
        )
        for percent, name in ((50, "time_to_first_fill_p50_ns"), (90, "time_to_first_fill_p90_ns")):
            expected = float(np.percentile(waits, percent)) if waits else None
            assert row[name] == (pytest.approx(expected, rel=1e-12) if waits else None)
        assert row["queue_ahead_qty"] == (pytest.approx(np.mean(rested), rel=1e-12) if rested else None)


@pytest.mark.parametrize("by", ["symbol", "tag"])
def test_attribution_is_that_of_the_run(place: Place, by: str) -> None:
    expected = {row["key"]: row for row in place.result.attribution(by).to_pylist()}
    found = {row[by]: row for row in rows(place.db, f"pnl_by_{by}", place.result.run_id)}
    assert sorted(found) == sorted(expected)
    for key, row in found.items():
        for name in ("trades", "realised_pnl", "unrealised_pnl", "fees", "slippage", "net_pnl"):
            assert row[name] == pytest.approx(expected[key][name], rel=1e-12, abs=1e-9), (key, name)
    total = sum(row["net_pnl"] for row in found.values())
    assert total == pytest.approx(place.result.metrics["pnl"], rel=1e-9)
    hours = rows(place.db, "pnl_by_hour", place.result.run_id)
    assert sum(row["pnl"] for row in hours) == pytest.approx(place.result.metrics["pnl"], rel=1e-9)


def test_progress_is_that_of_the_run(place: Place) -> None:
    found = rows(place.db, "session_progress", place.result.run_id, "local_ts")
    equity = place.result.equity.to_pandas().groupby("local_ts")["equity"].sum()
    assert [row["local_ts"] for row in found] == equity.index.tolist()
    np.testing.assert_allclose([row["equity"] for row in found], equity.to_numpy(), rtol=0, atol=1e-9)
    largest = max(row["drawdown"] for row in found)
    assert largest == pytest.approx(place.result.metrics["max_drawdown"], rel=1e-9)
    frac = max(row["drawdown_frac"] for row in found)
    assert frac == pytest.approx(place.result.metrics["max_drawdown_frac"], rel=1e-9)
    fills = np.sort(place.result.fills["local_ts"].to_numpy())
    times = [row["local_ts"] for row in found]
    assert [row["fills"] for row in found] == np.searchsorted(fills, times, side="right").tolist()
    trades = place.result.trades.to_pandas()
    exits = np.sort(trades[~trades["open"]]["exit_ts"].to_numpy())
    assert [row["trades"] for row in found] == np.searchsorted(exits, times, side="right").tolist()


def mids(events: np.ndarray, flag: EventFlag, times: np.ndarray) -> np.ndarray:
    """Mid at each time by one clock, from a plain book; NaN where there is none."""
    own = events[events["ev"] & np.uint64(flag) != 0]
    ts = own["exch_ts" if flag == EventFlag.EXCH else "local_ts"].tolist()
    ev, px, qty = own["ev"].tolist(), own["px"].tolist(), own["qty"].tolist()
    sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
    out, at = np.full(len(times), np.nan), 0
    for place in np.argsort(times, kind="stable"):
        while at < len(ts) and ts[at] <= times[place]:
            if ev[at] & 0xFF in (EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT):
                side = sides[0] if ev[at] & EventFlag.BUY else sides[1]
                side[px[at]] = qty[at]
                if not qty[at]:
                    del side[px[at]]
            assert ev[at] & 0xFF != EventKind.DEPTH_CLEAR
            at += 1
        if at < len(ts) or ts[-1] >= times[place]:
            out[place] = (max(sides[0]) + min(sides[1])) / 2
    return out


def test_slippage_and_markouts_are_those_of_the_events(place: Place) -> None:
    fills = place.result.fills.to_pandas()
    sent = {o["order_id"]: o["sent_ts"] for o in place.result.order_lives.to_pylist()}
    slippage = rows(place.db, "fill_slippage", place.result.run_id, "sequence")
    markouts = rows(place.db, "fill_markouts", place.result.run_id, "sequence, horizon_ns")
    assert (len(slippage), len(markouts)) == (len(fills), 5 * len(fills))
    known = 0
    for symbol, events in place.events.items():
        own = np.flatnonzero(fills["symbol"] == symbol)
        sign = np.where(fills["side"].to_numpy()[own] == "buy", 1.0, -1.0)
        px, exch_ts = fills["px"].to_numpy()[own], fills["exch_ts"].to_numpy()[own]
        sent_ts = np.array([sent[i] for i in fills["order_id"].to_numpy()[own]])
        for name, mid in (
            ("arrival_slippage_bps", mids(events, EventFlag.LOCAL, sent_ts)),
            ("fill_slippage_bps", mids(events, EventFlag.EXCH, exch_ts)),
        ):
            np.testing.assert_allclose(
                [slippage[i][name] for i in own], sign * (px - mid) / mid * 1e4, rtol=1e-9, atol=1e-9
            )
        for place_, horizon_ns in enumerate(HORIZONS):
            expected = sign * (mids(events, EventFlag.EXCH, exch_ts + horizon_ns) - px) / px * 1e4
            found = np.array([markouts[5 * i + place_]["markout_bps"] for i in own], float)
            there = np.isfinite(found)
            np.testing.assert_allclose(found[there], expected[there], rtol=1e-9, atol=1e-9)
            # Without a markout: those after the last change of the best prices.
            assert there.sum() >= np.isfinite(expected).sum() - 1
            known += int(there.sum())
    assert known > 4 * len(fills)


def test_averages_of_markouts_are_those_of_the_fills(place: Place) -> None:
    fills = [r for r in rows(place.db, "fill_markouts", place.result.run_id) if r["markout_bps"] is not None]
    keys = ("symbol", "tag", "maker", "horizon_ns")
    for row in rows(place.db, "markouts", place.result.run_id):
        own = [f for f in fills if all(f[k] == row[k] for k in keys)]
        bps, qty = np.array([f["markout_bps"] for f in own]), np.array([f["qty"] for f in own])
        assert row["fills"] == len(own)
        if len(own) > 1:
            assert row["mean_bps"] == pytest.approx(bps.mean(), rel=1e-9, abs=1e-9)
            assert row["stderr_bps"] == pytest.approx(bps.std(ddof=1) / len(own) ** 0.5, rel=1e-9)
            assert row["weighted_bps"] == pytest.approx((bps * qty).sum() / qty.sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("view", ["fill_slippage", "fill_markouts", "markouts"])
def test_the_view_of_one_run_is_that_of_all_runs(place: Place, view: str) -> None:
    for run_id in ("hand", place.result.run_id):
        one = place.db.query(
            f"SELECT * FROM {view}_of_run(run_id = {{run:String}}) ORDER BY ALL", {"run": run_id}
        )
        assert one.num_rows
        assert str(one.to_pylist()) == str(rows(place.db, view, run_id))


def test_a_feed_that_is_half_loaded_gives_no_prices(place: Place) -> None:
    insert(
        place.db, "market_data_feeds", "feed_id, symbol, status, updated_at_ns", [("fa", "A", "loading", 1)]
    )
    assert [row["mid_px"] for row in rows(place.db, "fill_markouts", "hand")] == [None] * 15
    insert(
        place.db, "market_data_feeds", "feed_id, symbol, status, updated_at_ns", [("fa", "A", "complete", 2)]
    )
    assert rows(place.db, "fill_markouts", "hand", "sequence, horizon_ns")[0]["mid_px"] == 101.0


def test_every_view_says_what_it_is_for_and_how_its_rows_are_told_apart() -> None:
    text = (Path(__file__).parents[2] / "sql/clickhouse/0003_views.sql").read_text()
    parts = text.split("\n\n")[1:]
    assert len(parts) > 15
    for part in parts:
        comment = part[: part.index("CREATE")]
        assert "-- Purpose: " in comment
        assert "Grain: " in comment


def test_the_queries_of_the_page_work(place: Place) -> None:
    page = (Path(__file__).parents[2] / "docs/queries.md").read_text()
    queries = re.findall(r"^```sql\n(.*?)^```$", page, re.S | re.M)
    assert len(queries) >= 7
    for query in queries:
        values = {"run": place.result.run_id} if "{run:String}" in query else {}
        assert place.db.query(query, values).num_rows > 0
