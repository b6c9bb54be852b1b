"""Events into ClickHouse and out of it, against the bare client, and memory over many of them.

Protects: loading at least 0.8 of the rows per second of a bare ``insert_arrow`` of prepared tables; reading into
engine-ready arrays at least 0.6 of a bare ``query_arrow_stream`` that throws its batches away; and memory that does not
follow the number of events. Through chDB in this process, and through the HTTP front of the tests.

    python benchmarks/clickhouse.py [--events 3_000_000] [--repeats 3] [--rows 100_000_000]

Prints one JSON object. Times are the best of the repeats, which alternate. `--rows 0` leaves the memory out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import clean_env, work_dir

from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.stores.clickhouse import loading
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.feeds import DatabaseFeed, find_feed
from bt_framework.stores.clickhouse.market_data import Slice, read_events
from bt_framework.stores.clickhouse.schema import migrate

GOAL_INSERT, GOAL_READ = 0.8, 0.6
GOAL_GROWTH_MIB = 64.0
"""Growth of the peak from the first quarter of the rows to the last that is still called flat."""

START_TS = 1_704_067_200_000_000_000
STEP_NS = 2_000_000
DAY_NS = 86_400 * 1_000_000_000
BLOCK = 65_536
PART_ROWS = 5_000_000
SYMBOL = "BTCUSDT"
FIELDS = ", ".join(EVENT.names or ())


class Made(Feed):
    """Synthetic events: a book of two prices a side whose quantities change, with trades; day after day."""

    ordered = True
    symbol, tick_size, lot_size = SYMBOL, 0.1, 0.001

    def __init__(self, events: int, day: int = 0) -> None:
        self.events, self.day = events, day

    def identity(self) -> Mapping[str, Any]:
        """What they are made of."""
        return {"reader": "made", "events": self.events, "day": self.day}

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray[Any, Any]]:
        """Yield them."""
        report.symbol = self.symbol
        rng = np.random.default_rng(self.day)
        both = int(EventFlag.EXCH | EventFlag.LOCAL)
        for start in range(0, self.events, BLOCK):
            count = min(BLOCK, self.events - start)
            rows = np.zeros(count, EVENT)
            buys = rng.random(count) < 0.5
            kind = np.where(rng.random(count) < 0.1, int(EventKind.TRADE), int(EventKind.DEPTH))
            rows["ev"] = both | kind | np.where(buys, int(EventFlag.BUY), int(EventFlag.SELL))
            rows["exch_ts"] = START_TS + self.day * DAY_NS + (start + np.arange(count)) * STEP_NS
            rows["local_ts"] = rows["exch_ts"] + 500_000 + rng.integers(0, STEP_NS - 600_000, count)
            ticks = rng.integers(0, 2, count)
            rows["px"] = np.where(buys, 600_000 - ticks, 600_001 + ticks) / 10
            rows["qty"] = rng.integers(1, 20_000, count) / 1_000
            yield rows


def made(folder: Path, events: int, day: int = 0) -> StoredFeed:
    """Ingest synthetic events."""
    return EventStore(folder).load(Made(events, day))


def quiet(done: int, total: int) -> None:
    """Report to nobody."""


def best_of(repeats: int, ways: Mapping[str, Callable[[], int]]) -> dict[str, float]:
    """Rows per second of each way, best of the repeats, which alternate; the first turn does not count."""
    best = dict.fromkeys(ways, 0.0)
    for turn in range(repeats + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            rows = way()
            if turn:
                best[name] = max(best[name], rows / (time.perf_counter() - began))
    return best


def speed(address: Address, stored: StoredFeed, repeats: int) -> dict[str, Any]:
    """Rates of loading and reading, ours and the bare client's, in one process."""
    with ClickHouse(address) as db:
        migrate(db)
        events = stored.open()
        feed = loading.described(stored)
        cuts = list(loading.spans(lambda a, b: events["local_ts"][a:b], len(events)))
        sequence = np.arange(len(events), dtype=np.uint64)
        tables = [loading.event_table(feed.feed_id, feed.symbol, sequence[a:b], events[a:b]) for a, b in cuts]

        def bare_insert() -> int:
            db.command("TRUNCATE TABLE market_data SYNC")
            for table in tables:
                db.client.insert_arrow("market_data", table, database=address.database)
            return len(events)

        def insert() -> int:
            db.command("TRUNCATE TABLE market_data SYNC")
            return loading.load_events(db, feed, events, quiet)

        inserts = best_of(repeats, {"bare": bare_insert, "ours": insert})
        touch_s = _seconds(lambda: loading.load_feed(db, stored, quiet))
        tables.clear()
        reads = best_of(repeats, {"bare": lambda: _drain(db), "ours": lambda: _read(address, feed)})
    return {
        "insert_rows_per_s": inserts,
        "insert_ratio": inserts["ours"] / inserts["bare"],
        "read_rows_per_s": reads,
        "read_ratio": reads["ours"] / reads["bare"],
        "touch_s": touch_s,
    }


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _drain(db: ClickHouse) -> int:
    rows = 0
    with db.client.query_arrow_stream(f"SELECT sequence, {FIELDS} FROM market_data") as batches:
        for batch in batches:
            rows += batch.num_rows
    return rows


def _read(address: Address, feed: DatabaseFeed) -> int:
    return sum(len(rows) for rows in read_events(address, Slice(feed, 0, feed.events)))


def anonymous_mib() -> float:
    """Allocated resident memory of this process."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")
    ]
    return int(line.split()[1]) / 1024


def memory(address: Address, folder: Path, rows: int) -> dict[str, Any]:
    """Peaks of this process in each quarter of `rows`, loaded part by part and then read."""
    parts = [min(PART_ROWS, rows - start) for start in range(0, rows, PART_ROWS)]
    samples: dict[str, list[tuple[float, float]]] = {"load": [], "read": []}
    ids = []
    with ClickHouse(address) as db:
        migrate(db)
        for day, count in enumerate(parts):
            stored = made(folder, count, day)
            before = sum(parts[:day])

            def sample(done: int, total: int, before: int = before) -> None:
                samples["load"].append(((before + done) / rows, anonymous_mib()))

            loading.load_feed(db, stored, sample)
            ids.append(stored.content_hash)
            stored.store.remove([stored.key])
        feeds = [find_feed(db, SYMBOL, feed_id) for feed_id in ids]
    done = 0
    for feed in feeds:
        assert feed is not None
        for block in read_events(address, Slice(feed, 0, feed.events)):
            done += len(block)
            samples["read"].append((done / rows, anonymous_mib()))
    assert done == rows, (done, rows)
    quarters = {name: _quarters(taken) for name, taken in samples.items()}
    return {
        "rows": rows,
        "peak_mib": quarters,
        "growth_mib": max(peaks[-1] - peaks[0] for peaks in quarters.values()),
    }


def _quarters(samples: list[tuple[float, float]]) -> list[float]:
    return [
        round(max(mib for done, mib in samples if quarter < 4 * done <= quarter + 1), 1)
        for quarter in range(4)
        if any(quarter < 4 * done <= quarter + 1 for done, _ in samples)
    ]


@contextmanager
def front(folder: Path) -> Iterator[str]:
    """URL of the HTTP front of the tests."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from clickhouse_front import ClickhouseFront

    with ClickhouseFront(folder) as server:
        yield server.url("bt")


def child(what: str, url: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--child", what, "--url", url, "--folder", str(folder)]
    command += ["--events", str(args.events), "--repeats", str(args.repeats), "--rows", str(args.rows)]
    done = subprocess.run(command, env=clean_env(), check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, in chDB and through HTTP."""
    found: dict[str, Any] = {"events": args.events, "goal_insert": GOAL_INSERT, "goal_read": GOAL_READ}
    with TemporaryDirectory(dir=work_dir()) as name:
        folder = Path(name)
        made(folder / "store", args.events)
        with front(folder / "front") as url:
            found["http"] = child("speed", url, folder / "store", args)
        found["chdb"] = child("speed", f"chdb://{folder / 'chdb'}", folder / "store", args)
        if args.rows:
            with front(folder / "front_of_many") as url:
                found["memory"] = child("memory", url, folder / "store", args)
            found["memory"]["goal_growth_mib"] = GOAL_GROWTH_MIB
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000_000, help="for memory; 0 leaves it out")
    for hidden in ("--child", "--url", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is None:
        print(json.dumps(measure(args), indent=1))
        return
    address, folder = address_of(args.url, ""), Path(args.folder)
    if args.child == "speed":
        print(json.dumps(speed(address, made(folder, args.events), args.repeats)))
    else:
        print(json.dumps(memory(address, folder, args.rows)))


if __name__ == "__main__":
    main()
