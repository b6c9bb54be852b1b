"""Filters of events in ClickHouse mean what they say, and what is no filter does not get there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bt_framework.errors import ConfigError, StorageError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate
from bt_framework.stores.clickhouse.where import parse_where

ROWS = 300
Rows = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Events with every kind of number in them."""
    rng = np.random.default_rng(4)
    found = np.zeros(ROWS, EVENT)
    flags = [int(EventFlag.BUY), int(EventFlag.SELL), int(EventFlag.EXCH | EventFlag.LOCAL | EventFlag.BUY)]
    found["ev"] = rng.choice(flags, ROWS) | rng.choice([1, 2, 3], ROWS)
    found["exch_ts"] = 1_700_000_000_000_000_001 + np.sort(rng.integers(0, 10**12, ROWS))
    found["local_ts"] = found["exch_ts"] + rng.integers(-5, 1_000, ROWS)
    found["px"] = rng.choice([0.0, 1.5, 2.0, 100.25, np.nan], ROWS)
    found["qty"] = rng.integers(0, 4, ROWS) / 2
    found["order_id"] = rng.integers(0, 2**63, ROWS, np.uint64) * 2
    found["ival"] = rng.integers(-3, 4, ROWS)
    found["fval"] = rng.normal(size=ROWS)
    return found


@pytest.fixture(scope="module", params=["server", "chdb"])
def db(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rows: Rows
) -> Iterator[ClickHouse]:
    """A database with these events, of either kind."""
    url = ""
    if request.param == "server":
        url = request.getfixturevalue("clickhouse_front").url("filters")
    with ClickHouse(address_of(url, tmp_path_factory.mktemp("where"))) as db:
        migrate(db)
        table = pa.table({name: pa.array(rows[name]) for name in EVENT.names or ()})
        table = table.append_column("feed_id", pa.repeat("f", ROWS))
        table = table.append_column("symbol", pa.repeat("S", ROWS))
        db.insert("market_data", table.append_column("sequence", pa.array(np.arange(ROWS), pa.uint64())))
        yield db
        if request.param == "server":
            db.command("DROP DATABASE filters SYNC", in_database=False)


def kept(db: ClickHouse, text: str) -> list[int]:
    found = parse_where(text)
    return db.query(
        f"SELECT sequence FROM market_data WHERE symbol = 'S' AND {found.sql} ORDER BY sequence",
        found.parameters,
    )["sequence"].to_pylist()


MEANINGS: list[tuple[str, Callable[[Rows], Any]]] = [
    ("kind = trade", lambda r: r["ev"] & 0xFF == EventKind.TRADE),
    (
        "bitand(ev, buy) != 0 and kind in (depth, trade)",
        lambda r: (r["ev"] & 1 << 29 > 0) & (r["ev"] & 0xFF < 3),
    ),
    ("px in (1.5, 2)", lambda r: np.isin(r["px"], [1.5, 2.0])),
    ("px not in (1.5, 2)", lambda r: ~np.isin(r["px"], [1.5, 2.0])),
    ("isnan(px) = 1", lambda r: np.isnan(r["px"])),
    ("not px > 1", lambda r: ~(r["px"] > 1)),
    ("px between 1.5 and 2 or qty = 1.5", lambda r: ((r["px"] >= 1.5) & (r["px"] <= 2)) | (r["qty"] == 1.5)),
    ("local_ts < exch_ts", lambda r: r["local_ts"] < r["exch_ts"]),
    ("local_ts - exch_ts > 500", lambda r: r["local_ts"] - r["exch_ts"] > 500),
    (
        f"exch_ts >= '{np.datetime64(1_700_000_500_000_000_000, 'ns')}'",
        lambda r: r["exch_ts"] >= 1_700_000_500_000_000_000,
    ),
    ("exch_ts = 1700000000000000001", lambda r: r["exch_ts"] == 1_700_000_000_000_000_001),
    ("least(exch_ts, local_ts) = local_ts", lambda r: r["local_ts"] <= r["exch_ts"]),
    ("least(qty, 1) > 0.5", lambda r: np.minimum(r["qty"], 1) > 0.5),
    ("greatest(fval, ival / 2) > 1", lambda r: np.maximum(r["fval"], r["ival"] / 2) > 1),
    ("order_id > 9223372036854775808", lambda r: r["order_id"] > 2**63),
    ("ival in (-1, 2)", lambda r: np.isin(r["ival"], [-1, 2])),
    ("-ival > 1 and abs(fval) < 1", lambda r: (-r["ival"] > 1) & (abs(r["fval"]) < 1)),
    ("sequence % 7 = 3 or sequence < 2", lambda r: (np.arange(ROWS) % 7 == 3) | (np.arange(ROWS) < 2)),
    ("1 = 1", lambda r: np.ones(ROWS, bool)),
    ("1 = 2", lambda r: np.zeros(ROWS, bool)),
]


@pytest.mark.parametrize(("text", "meaning"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_a_filter_keeps_the_rows_that_it_says(
    db: ClickHouse, rows: Rows, text: str, meaning: Callable[[Rows], Any]
) -> None:
    assert kept(db, text) == np.flatnonzero(meaning(rows)).tolist()


@pytest.mark.parametrize("text", ["bitand(px, 1) = 1", "exch_ts % ival = 0"])
def test_a_filter_that_cannot_be_computed_is_said_to_be_and_harms_no_other(db: ClickHouse, text: str) -> None:
    with pytest.raises(StorageError, match=r"refused the request \(code (43|153): "):
        kept(db, text)
    assert kept(db, "1 = 1") == list(range(ROWS))


@pytest.mark.parametrize(
    "text",
    [
        "1 = 1) OR (1 = 1",
        "1 = 1 UNION ALL SELECT 1",
        "1 = 1; DROP TABLE market_data",
        "sequence IN (SELECT 1)",
        "px > {symbol:String}",
        "toString(px) = '1'",
        "symbol != 'S'",
        "px > 1 -- ",
        "px = '1' OR '1' = '1'",
    ],
)
def test_what_is_no_filter_stays_outside(db: ClickHouse, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.where"):
        kept(db, text)
    assert len(kept(db, "1 = 1")) == ROWS
