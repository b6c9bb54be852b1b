"""Events in ClickHouse: loaded once whatever happens, read back to the bit."""

from __future__ import annotations

import functools
import itertools
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clickhouse_front import ClickhouseFront

from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.stores.clickhouse import loading, retrying
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.feeds import find_feed, write_feed
from bt_framework.stores.clickhouse.loading import Loaded, event_table, load_feed
from bt_framework.stores.clickhouse.schema import migrate
from bt_framework.stores.clickhouse.touch import Clock, TouchReplay
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_MS, NS_PER_S
from bt_plugins.data.clickhouse import Clickhouse, build

DAY_NS = 86_400 * NS_PER_S
READ = "ORDER BY symbol, feed_id, sequence"
"""In the statements that read events."""


@pytest.fixture(scope="module")
def url(migrated_clickhouse_url: str) -> str:
    """Each test has a symbol of its own."""
    return migrated_clickhouse_url


@pytest.fixture
def address(url: str, clickhouse_front: ClickhouseFront) -> Address:
    clickhouse_front.heal()
    return address_of(url, "")


@pytest.fixture
def symbol() -> str:
    return f"S{uuid.uuid4().hex[:8]}"


@pytest.fixture
def small_inserts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "ROWS_AT_ONCE", 500)
    monkeypatch.setattr(loading, "_LEAST_ROWS", 100)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(retrying, "_LONGEST_WAIT_S", 0.01)


def stored(folder: Path, symbol: str, events: np.ndarray | None = None, **options: Any) -> StoredFeed:
    events = clean_events(400) if events is None else events
    return EventStore(folder / "store").load(ArrayFeed(events, symbol, **options))


@functools.cache
def many_events() -> np.ndarray:
    """Of several batches, and such that they do not compress to nothing."""
    events = clean_events(4_000)
    for name in ("fval", "ival"):
        events[name] = np.random.default_rng(1).integers(0, 2**64, len(events), np.uint64).view(EVENT[name])
    return events


def load(address: Address, feed: StoredFeed) -> Loaded:
    with ClickHouse(address) as db:
        return load_feed(db, feed, lambda done, total: None)


def read(folder: Path, url: str, symbol: str, **keys: Any) -> StoredFeed:
    (feed,) = build(Clickhouse(url=url, symbols=[symbol], **keys)).feeds()
    return EventStore(folder / "read").load(feed)


def rows_of(address: Address, table: str, symbol: str, what: str = "count()") -> int:
    with ClickHouse(address) as db:
        found = db.query(
            f"SELECT toInt64({what}) AS n FROM {table} WHERE symbol = {{s:String}}", {"s": symbol}
        )
    return int(found["n"][0].as_py())


def day_of(day: int) -> np.ndarray:
    return clean_events(60, seed=day, start_ts=START_TS + day * DAY_NS)


# Loading


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_read_is_what_was_loaded_to_the_bit(tmp_path, url, address, symbol, keep):
    events = clean_events(400)
    rng = np.random.default_rng(1)
    for name in ("fval", "ival", "order_id"):  # every bit, NaN payloads included
        events[name] = rng.integers(0, 2**64, len(events), np.uint64).view(EVENT[name])
    feed = stored(tmp_path, symbol, events, report={"gaps": 2, "missing_updates": 5, "rows_read": 777})
    done = load(address, feed)
    assert (done.inserted, done.feed.complete) == (len(events), True)
    back = read(tmp_path, url, symbol, keep=keep)
    assert back.open().tobytes() == events.tobytes()
    said = (
        "content_hash",
        "spec",
        "report",
        "findings",
        "timing",
        "book_level",
        "touch_low_px",
        "first_exch_ts",
    )
    assert [getattr(back, name) for name in said] == [getattr(feed, name) for name in said]
    assert (tmp_path / "read").exists() is keep


@pytest.mark.parametrize("chunk_rows", [1, 250, 10_000])
def test_the_size_of_chunks_does_not_matter(tmp_path, url, address, symbol, chunk_rows):
    feed = stored(tmp_path, symbol, clean_events(3 if chunk_rows == 1 else 400))
    load(address, feed)
    assert read(tmp_path, url, symbol, chunk_rows=chunk_rows).content_hash == feed.content_hash


def test_a_second_load_sends_nothing_and_a_second_read_maps(tmp_path, url, address, symbol, clickhouse_front):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    again = load(address, stored(tmp_path / "elsewhere", symbol))
    assert (again.inserted, again.touches) == (0, 0)
    assert rows_of(address, "market_data", symbol) == feed.events
    assert rows_of(address, "market_data_feeds FINAL", symbol) == 1
    read(tmp_path, url, symbol)
    clickhouse_front.heal()
    read(tmp_path, url, symbol)
    assert not clickhouse_front.requests(READ)


@pytest.mark.usefixtures("small_inserts")
def test_inserts_are_of_one_day_where_a_day_is_large(tmp_path, url, address, symbol, clickhouse_front):
    events = clean_events(180, step_ns=DAY_NS // 60)
    feed = stored(tmp_path, symbol, events)
    clickhouse_front.heal()
    load(address, feed)
    cuts = list(loading.spans(lambda a, b: events["local_ts"][a:b], len(events)))
    assert [start for start, _ in cuts[1:]] == [stop for _, stop in cuts[:-1]]
    assert (cuts[0][0], cuts[-1][1]) == (0, len(events))
    many = [(a, b) for a, b in cuts if b - a >= 100]
    assert all(len(set((events["local_ts"][a:b] // DAY_NS).tolist())) == 1 for a, b in many)
    assert all(b - a <= 500 for a, b in cuts)
    assert len(clickhouse_front.requests("`market_data` (")) == len(cuts)
    assert read(tmp_path, url, symbol).content_hash == feed.content_hash


def test_few_events_of_many_days_go_together_up_to_fifty_days():
    times = np.repeat(np.arange(120) * DAY_NS, 3)
    assert list(loading.spans(lambda a, b: times[a:b], len(times))) == [(0, 150), (150, 300), (300, 360)]


@pytest.mark.usefixtures("small_inserts", "impatient")
@pytest.mark.parametrize("kind", ["no_answer", "cut", "status", "error"])
def test_an_insert_that_fails_in_passing_is_repeated_and_no_row_is_there_twice(
    tmp_path, address, symbol, clickhouse_front, kind
):
    feed = stored(tmp_path, symbol)
    clickhouse_front.fail(kind, match="`market_data` (", skip=1, times=2, code=252)
    assert load(address, feed).feed.complete
    assert (
        rows_of(address, "market_data", symbol)
        == feed.events
        == rows_of(address, "market_data FINAL", symbol)
    )
    inserts = [
        r["settings"]["insert_deduplication_token"] for r in clickhouse_front.requests("`market_data` (")
    ]
    cuts = list(loading.spans(lambda a, b: feed.open()["local_ts"][a:b], feed.events))
    assert len(set(inserts)) == len(cuts) < len(inserts)


@pytest.mark.usefixtures("small_inserts", "impatient")
@pytest.mark.parametrize("skip", [0, 1, 5])
def test_a_load_that_was_stopped_goes_on_where_it_was(tmp_path, url, address, symbol, clickhouse_front, skip):
    feed = stored(tmp_path, symbol)
    inserts = len(list(loading.spans(lambda a, b: feed.open()["local_ts"][a:b], feed.events)))
    clickhouse_front.fail("error", match="`market_data` (", skip=skip, code=243)
    with pytest.raises(StorageError, match="is out of disk space"):
        load(address, feed)
    assert rows_of(address, "market_data", symbol) == min(skip * 500, feed.events)
    with pytest.raises(
        DataError, match=rf"{symbol}: the feed \w+ at .* is half-loaded\. Finish it: bt db load"
    ):
        read(tmp_path, url, symbol)
    clickhouse_front.heal()
    done = load(address, feed)
    assert done.inserted == feed.events - min(skip * 500, feed.events)
    assert len(clickhouse_front.requests("`market_data` (")) <= inserts
    assert rows_of(address, "market_data", symbol) == feed.events
    assert read(tmp_path, url, symbol).content_hash == feed.content_hash


@pytest.mark.usefixtures("small_inserts")
def test_two_loads_at_once_store_each_event_once(tmp_path, url, address, symbol):
    feed = stored(tmp_path, symbol, clean_events(1_500))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            load(address, feed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert rows_of(address, "market_data", symbol) == feed.events
    assert read(tmp_path, url, symbol).content_hash == feed.content_hash


@pytest.mark.usefixtures("small_inserts")
def test_rows_that_were_removed_come_back_with_the_next_load(tmp_path, url, address, symbol):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    with ClickHouse(address) as db:
        db.command(
            "ALTER TABLE market_data DELETE WHERE symbol = {s:String} AND sequence BETWEEN 700 AND 1600 "
            "SETTINGS mutations_sync = 2",
            {"s": symbol},
        )
    with pytest.raises(
        DataError, match=rf"{symbol}: events 700 to 1,600 of {feed.events:,} are missing from"
    ):
        read(tmp_path, url, symbol)
    assert load(address, feed).inserted >= 901
    assert rows_of(address, "market_data", symbol, "uniqExact(sequence)") == feed.events
    assert rows_of(address, "market_data", symbol) == feed.events
    assert read(tmp_path, url, symbol).content_hash == feed.content_hash


def test_a_feed_that_is_marked_as_loading_is_refused(tmp_path, url, address, symbol):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    with ClickHouse(address) as db:
        known = find_feed(db, symbol, feed.content_hash)
        assert known is not None
        write_feed(db, known, "loading")
    with pytest.raises(DataError, match="is half-loaded"):
        read(tmp_path, url, symbol)


def test_the_touch_is_loaded_by_both_clocks(tmp_path, address, symbol):
    feed = stored(tmp_path, symbol)
    done = load(address, feed)
    for clock in Clock:
        replay = TouchReplay(clock, feed.spec.tick_size)
        rows = np.concatenate([replay.update(feed.open()), replay.finish()])
        with ClickHouse(address) as db:
            found = db.query(
                "SELECT toInt64(sequence) AS sequence, ts, bid_px, ask_px FROM market_touch FINAL "
                "WHERE symbol = {s:String} AND clock = {c:String} ORDER BY ts",
                {"s": symbol, "c": str(clock)},
            )
        assert [tuple(row.values()) for row in found.to_pylist()] == rows.tolist()
    assert done.touches == rows_of(address, "market_touch", symbol)


# Reading


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["drop", "error_midway", "status", "no_answer"])
def test_after_a_dropped_connection_reading_goes_on_after_the_last_event(
    tmp_path, url, address, symbol, clickhouse_front, fault
):
    feed = stored(tmp_path, symbol, many_events())
    load(address, feed)
    clickhouse_front.heal()
    for after_bytes in (300_000, 0, 500_000):
        clickhouse_front.fail(fault, match=READ, after_bytes=after_bytes, code=210)
    back = read(tmp_path, url, symbol, chunk_rows=15_000)
    assert back.content_hash == feed.content_hash
    assert len(clickhouse_front.requests(READ)) >= 4


def test_rows_that_are_there_twice_are_read_once(tmp_path, url, address, symbol):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    sequence = np.arange(500, 900, dtype=np.uint64)
    with ClickHouse(address) as db:
        again = event_table(feed.content_hash, symbol, sequence, feed.open()[500:900])
        db.insert("market_data", again)
        db.insert("market_data", again.slice(100))
    assert read(tmp_path, url, symbol).content_hash == feed.content_hash
    assert read(tmp_path, url, symbol, where="sequence >= 0").open().tobytes() == feed.open().tobytes()


def test_events_that_are_others_than_those_loaded_are_refused(tmp_path, url, address, symbol):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    with ClickHouse(address) as db:
        db.command(
            "ALTER TABLE market_data UPDATE qty = qty + 0.001 WHERE symbol = {s:String} AND sequence = 50 "
            "SETTINGS mutations_sync = 2",
            {"s": symbol},
        )
    with pytest.raises(DataError, match="the events are not those that they should be"):
        read(tmp_path, url, symbol)


def test_a_range_of_time_is_what_was_received_in_it_and_the_doctor_says_so(tmp_path, url, address, symbol):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    events = feed.open()
    start, end = START_TS + 100 * NS_PER_MS, START_TS + 300 * NS_PER_MS
    inside = events[(events["local_ts"] >= start) & (events["local_ts"] < end)]
    back = read(tmp_path, url, symbol, start="2024-01-01T00:00:00.1Z", end="2024-01-01T00:00:00.3")
    assert 0 < len(inside) < len(events)
    assert back.open().tobytes() == inside.tobytes()
    (partial,) = [f for f in back.findings if f.check == "partial feed"]
    first = int(np.flatnonzero(events["local_ts"] >= start)[0])
    assert partial.detail.startswith(f"without the first {first:,} events: the book has only levels")
    assert "and without the last " in partial.detail
    assert back.spec == feed.spec
    whole = read(tmp_path, url, symbol, start="2023-01-01", end="2025-01-01")
    assert (whole.key, whole.content_hash) == (read(tmp_path, url, symbol).key, feed.content_hash)


@pytest.mark.parametrize("chunk_rows", [300, 10_000])
def test_a_filter_leaves_out_what_it_does_not_want(tmp_path, url, address, symbol, chunk_rows):
    feed = stored(tmp_path, symbol)
    load(address, feed)
    events = feed.open()
    trades = events[(events["ev"] & 0xFF) == 2]
    back = read(tmp_path, url, symbol, where="kind = trade and px > 0", chunk_rows=chunk_rows)
    assert back.open().tobytes() == trades.tobytes()
    assert back.book_level == "none"
    (partial,) = [f for f in back.findings if f.check == "partial feed"]
    assert partial.detail == "without events that data.where leaves out"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("where", ["", "sequence >= 0 and not kind = 99"])
def test_an_answer_that_ends_early_without_a_word_is_noticed(
    tmp_path, url, address, symbol, clickhouse_front, monkeypatch, where
):
    feed = stored(tmp_path, symbol, many_events())
    load(address, feed)
    whole, batches_kept = ClickHouse.stream, iter([1, 1])

    @contextmanager
    def cut(self, sql, *arguments):
        with whole(self, sql, *arguments) as batches:
            yield itertools.islice(batches, next(batches_kept, None))

    monkeypatch.setattr(ClickHouse, "stream", cut)
    clickhouse_front.heal()
    assert read(tmp_path, url, symbol, where=where).open().tobytes() == feed.open().tobytes()
    assert len(clickhouse_front.requests(READ)) == 3


def test_days_that_follow_each_other_are_joined(tmp_path, url, address, symbol):
    first, second = (
        stored(tmp_path, symbol, day_of(day), report={"gaps": 1, "dropped": {"malformed": day + 1}})
        for day in (0, 1)
    )
    load(address, second)
    load(address, first)
    back = read(tmp_path, url, symbol)
    joined = back.open()
    assert joined[: first.events].tobytes() == first.open().tobytes()
    assert joined[first.events + 1 :].tobytes() == second.open().tobytes()
    between = joined[first.events]  # the second day begins with a book of its own
    assert int(between["ev"]) == EventFlag.EXCH | EventFlag.LOCAL | EventKind.DEPTH_CLEAR
    assert (between["local_ts"], between["exch_ts"]) == (second.first_local_ts, second.first_exch_ts)
    assert (back.report.gaps, back.report.dropped) == (2, {"malformed": 3})
    assert back.spec == first.spec
    assert read(tmp_path, url, symbol, start="2024-01-02").content_hash == second.content_hash
    assert read(tmp_path, url, symbol, end="2024-01-02").content_hash == first.content_hash
    assert read(tmp_path, url, symbol, feed_ids=[second.content_hash[:9]]).content_hash == second.content_hash


def test_days_whose_exchange_times_overlap_are_put_into_order(tmp_path, url, address, symbol):
    first = clean_events(60)
    second = clean_events(60, seed=1, start_ts=int(first["exch_ts"][-1]) - 3 * NS_PER_MS // 2)
    second["local_ts"] = np.maximum(second["local_ts"], first["local_ts"][-1])
    assert second["exch_ts"][0] < first["exch_ts"][-1]
    for events in (first, second):
        load(address, stored(tmp_path, symbol, events))
    back = read(tmp_path, url, symbol).open()
    flag = np.uint64(EventFlag.LOCAL)
    local = back[(back["ev"] & flag) != 0]
    assert len(local) == len(first) + len(second) + 1
    assert (np.diff(local["local_ts"]) >= 0).all()
    exch = back[(back["ev"] & np.uint64(EventFlag.EXCH)) != 0]
    assert (np.diff(exch["exch_ts"]) >= 0).all()
    assert len(exch) == len(local)


# Choosing, and what is refused


def test_feeds_of_one_time_are_ambiguous_until_one_is_chosen(tmp_path, url, address, symbol):
    one, other = (stored(tmp_path, symbol, clean_events(50, seed)) for seed in (0, 1))
    for feed in (one, other):
        load(address, feed)
    with pytest.raises(DataError, match=r"several feeds at .* are of the same time") as caught:
        read(tmp_path, url, symbol)
    assert all(feed.content_hash[:12] in str(caught.value) for feed in (one, other))
    assert read(tmp_path, url, symbol, feed_ids=[one.content_hash]).content_hash == one.content_hash
    with pytest.raises(DataError, match=r"no feed at .* is of data\.reader and data\.feed_ids"):
        read(tmp_path, url, symbol, reader="binance")


def test_unknown_symbols_and_empty_ranges_say_what_there_is(tmp_path, url, address, symbol):
    load(address, stored(tmp_path, symbol))
    with pytest.raises(DataError, match=rf"data\.symbols, in .*, must be one of .*{symbol}.*, was 'NONE'"):
        read(tmp_path, url, "NONE")
    with pytest.raises(ConfigError, match=rf"data\.symbols must name at least one symbol, .*{symbol}"):
        build(Clickhouse(url=url)).feeds()
    with pytest.raises(
        DataError, match=r"no events at .* from 2025-01-01 to the last\. There are:\n  \w+: array"
    ):
        read(tmp_path, url, symbol, start="2025-01-01")
    with pytest.raises(DataError, match=r"no events at .* from 2024-01-01T00:00:00\.100001"):
        read(tmp_path, url, symbol, start="2024-01-01T00:00:00.100001", end="2024-01-01T00:00:00.100002")


@pytest.mark.usefixtures("impatient")
def test_a_database_without_tables_and_one_that_does_not_answer_say_what_helps(tmp_path, clickhouse_url):
    with pytest.raises(StorageError, match=r"has no tables of bt\. Make them: bt db migrate"):
        read(tmp_path, clickhouse_url, "X")
    with pytest.raises(StorageError, match="cannot be reached"):
        read(tmp_path, "http://127.0.0.1:1/bt", "X")


@pytest.mark.parametrize(
    "name",
    [
        "'; DROP TABLE market_data; --",
        "a' OR '1'='1",
        "{feed:String}",
        "back\\slash\\'",
        "né 日本",
        "%s %(symbol)s",
    ],
)
def test_hostile_names_are_values(tmp_path, url, address, name):
    feed = stored(tmp_path, name, clean_events(20))
    load(address, feed)
    assert read(tmp_path, url, name).content_hash == feed.content_hash
    with pytest.raises(DataError, match=r"no feed at .* is of data\.reader"):
        read(tmp_path, url, name, reader=name)
    assert rows_of(address, "market_data", name) == feed.events


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"feed_ids": ["' OR 1"]}, "data.feed_ids must be ids of feeds.*bt db status --json lists them"),
        ({"feed_ids": ["abc"]}, "at least their first 6 digits"),
        ({"chunk_rows": 0}, "data.chunk_rows must be >= 1, was 0"),
        ({"symbols": ["A", "A"]}, "data.symbols must differ from each other"),
        ({"start": "2024-01-02", "end": "2024-01-01"}, "data.end must be later than data.start"),
        ({"start": "yesterday"}, "data.start must be an ISO-8601 time, was 'yesterday'"),
    ],
)
def test_keys_out_of_range_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Clickhouse(**{"symbols": ["A"], **keys})


def test_a_filter_that_is_none_is_refused_before_anything_is_asked(clickhouse_front, url, address):
    with pytest.raises(ConfigError, match=r"data\.where"):
        build(Clickhouse(url=url, symbols=["A"], where="1=1; DROP TABLE market_data"))
    assert not clickhouse_front.requests()


@pytest.mark.parametrize("readonly", [1, 2])
def test_a_user_who_may_only_read_can_read(tmp_path, symbol, readonly):
    with ClickhouseFront(tmp_path / "front", users={"default": ("", 0), "reader": ("", readonly)}) as front:
        with ClickHouse(address_of(front.url("desk"), "")) as db:
            migrate(db)
            feed = stored(tmp_path, symbol)
            load_feed(db, feed, lambda done, total: None)
        assert read(tmp_path, front.url("desk", user="reader"), symbol).content_hash == feed.content_hash
