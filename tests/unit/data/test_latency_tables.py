"""Tables of order latencies: made once, checked, safe for many, bounded in memory, gone when they must."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.data.latency_tables import LatencyTables, OrderLatency
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.engine._latency_at import latencies_at
from bt_framework.engine.latency import LATENCY_ROW, LatencySpan, LatencyTable, latency_rows
from bt_framework.engine.models import LatencyModel, Moment, Outage, OutageMode
from bt_framework.errors import ConfigError, DataError
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events

END_TS = START_TS + 10_000
Row = tuple[int, int, int]


class Given(LatencyTable):
    """Rows from memory, since `START_TS`, in chunks; counts how often it is asked."""

    def __init__(self, rows: Sequence[Row], chunk_rows: int = 100, notice: str = "") -> None:
        self.rows, self.chunk_rows, self.notice, self.made = rows, chunk_rows, notice, 0

    def identity(self, span: LatencySpan) -> Mapping[str, Any]:
        return {"model": "given", "rows": list(self.rows)}

    def chunks(self, span: LatencySpan) -> Iterator[np.ndarray]:
        self.made += 1
        if self.notice:
            span.notice(self.notice)
        rows = np.zeros(len(self.rows), LATENCY_ROW)
        for name, values in zip(("req_ts", "exch_ts", "resp_ts"), np.array(self.rows).T, strict=True):
            rows[name] = np.where(values == 0, 0, START_TS + values)
        for start in range(0, len(rows), self.chunk_rows):
            yield rows[start : start + self.chunk_rows]


PLAIN = [(10, 40, 100), (5_000, 5_050, 5_130), (9_000, 9_020, 9_060)]


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> StoredFeed:
    return EventStore(tmp_path_factory.mktemp("store")).load(ArrayFeed(clean_events(50)))


@pytest.fixture
def tables(tmp_path: Path) -> LatencyTables:
    return LatencyTables(tmp_path)


def span_of(feed: StoredFeed, notices: list[str] | None = None, end_ts: int = END_TS) -> LatencySpan:
    return LatencySpan("TEST", START_TS, end_ts, 1, feed, [].append if notices is None else notices.append)


def latencies(found: OrderLatency, times: Sequence[int]) -> tuple[list[int], list[int]]:
    assert found.rows is not None
    at = np.array(times) + START_TS
    entry_ns, response_ns = np.empty_like(at), np.empty_like(at)
    latencies_at(np.asarray(found.rows), at, entry_ns, response_ns)
    return entry_ns.tolist(), response_ns.tolist()


def outages(*spans: tuple[int, int]) -> tuple[Outage, ...]:
    return tuple(Outage(Moment(start), Moment(end)) for start, end in spans)


def test_constants_need_no_table(tables: LatencyTables, feed: StoredFeed, tmp_path: Path) -> None:
    found = tables.load(LatencyModel(5, 7), span_of(feed))
    assert found.rows is None
    assert found.percentiles["entry_p99_ns"] == 5
    assert found.percentiles["response_p50_ns"] == 7
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_made_once_and_mapped_read_only(tables: LatencyTables, feed: StoredFeed) -> None:
    table = Given(PLAIN, notice="look")
    notices: list[str] = []
    model = LatencyModel(table=table)
    first, second = (tables.load(model, span_of(feed, notices)) for _ in range(2))
    assert table.made == 1
    assert notices == ["look", "look"]
    assert isinstance(second.rows, np.memmap)
    assert not second.rows.flags.writeable
    assert (first.content_hash, first.percentiles) == (second.content_hash, second.percentiles)
    assert np.asarray(second.rows)["exch_ts"].tolist() == [START_TS + row[1] for row in PLAIN]


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_a_rejected_request_rejects_until_the_next_row(
    tables: LatencyTables, feed: StoredFeed, chunk_rows: int
) -> None:
    rows = [
        *PLAIN[:2],
        (6_000, 0, 6_500),
        (6_200, 0, 6_250),
        (7_000, 7_050, 7_130),
        *PLAIN[2:],
        (9_500, 0, 9_501),
    ]
    found = tables.load(LatencyModel(table=Given(rows, chunk_rows)), span_of(feed))
    entry, response = latencies(found, [5_999, 6_000, 6_199, 6_200, 6_999, 7_000, 9_499, 9_500, 10_000])
    assert entry == [50, -500, -500, -50, -50, 50, 20, -1, -1]
    assert response == [80, 80, 80, 80, 80, 80, 40, 40, 40]
    assert found.percentiles["rejected_frac"] == pytest.approx(0.15, abs=0.002)


def test_what_would_overtake_arrives_together_with_what_was_sent_before(
    tables: LatencyTables, feed: StoredFeed
) -> None:
    rows = [(100, 400, 900), (200, 250, 300), (1_000, 1_010, 1_020)]
    found = tables.load(LatencyModel(table=Given(rows)), span_of(feed))
    assert latencies(found, [100, 200])[0] == [300, 200]
    assert np.asarray(found.rows)["resp_ts"].tolist() == [START_TS + ts for ts in (900, 900, 1_020)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(10, 20, 30), (9, 20, 30)], "req_ts must never fall, does in row 1"),
        ([(10, 20, 30), (40, 39, 50)], "exch_ts must not be before req_ts, does in row 1"),
        ([(10, 20, 30), (40, 50, 49)], "resp_ts must not be before exch_ts, does in row 1"),
        ([(10, 20, 30), (40, 0, 39)], "resp_ts must not be before req_ts, does in row 1"),
        ([(10, 0, 20)], "must have a request that got through, had none"),
    ],
)
@pytest.mark.parametrize("chunk_rows", [1, 100])
def test_rows_that_cannot_be_are_refused_and_leave_nothing(
    tables: LatencyTables, feed: StoredFeed, rows: list[Row], message: str, chunk_rows: int
) -> None:
    with pytest.raises(DataError, match=message):
        tables.load(LatencyModel(table=Given(rows, chunk_rows)), span_of(feed))
    assert list((tables.root / "tmp").iterdir()) == []
    assert not (tables.root / "latency").exists()


def test_outages_that_touch_are_one_and_times_may_be_absolute(
    tables: LatencyTables, feed: StoredFeed
) -> None:
    absolute = Outage(Moment(START_TS + 3_000, is_utc=True), Moment(START_TS + 3_500, is_utc=True))
    model = LatencyModel(20, 30, outages=(absolute, *outages((3_500, 4_000), (2_900, 3_100))))
    entry, response = latencies(tables.load(model, span_of(feed)), [2_899, 2_900, 3_600, 4_000])
    assert entry == [20, 1_120, 420, 20]
    assert response == [30, 1_130, 430, 30]


def test_rejections_of_the_log_inside_an_outage_follow_the_outage(
    tables: LatencyTables, feed: StoredFeed
) -> None:
    table = Given([*PLAIN[:2], (6_000, 0, 6_100), (7_000, 7_050, 7_130)])
    delayed = tables.load(LatencyModel(table=table, outages=outages((5_900, 6_300))), span_of(feed))
    entry, _ = latencies(delayed, [5_899, 5_900, 6_000, 6_299, 6_300, 6_999, 7_000])
    # From the end of the outage to the next row the log's rejection holds: what has waited is through all the same.
    assert entry == [50, 450, 350, 51, -100, -100, 50]
    model = LatencyModel(table=table, outages=outages((5_900, 6_300)), outage_mode=OutageMode.REJECT)
    entry, _ = latencies(tables.load(model, span_of(feed)), [5_899, 5_900, 6_299, 6_300, 6_999, 7_000])
    assert entry[0] == 50
    assert entry[1:3] == [entry[1]] * 2
    assert entry[3:] == [-100, -100, 50]


def test_an_outage_that_ends_before_it_begins_is_refused(tables: LatencyTables, feed: StoredFeed) -> None:
    with pytest.raises(ConfigError, match=r"latency\.outages must end after they begin, was 2024-01-01T00"):
        tables.load(LatencyModel(outages=outages((5, 5))), span_of(feed))


def test_the_interval_the_outages_and_the_table_are_in_the_key(
    tables: LatencyTables, feed: StoredFeed
) -> None:
    models = [
        LatencyModel(table=Given(PLAIN)),
        LatencyModel(table=Given(PLAIN[:2])),
        LatencyModel(table=Given(PLAIN), outages=outages((5, 9))),
        LatencyModel(table=Given(PLAIN), outages=outages((5, 9)), outage_mode=OutageMode.REJECT),
    ]
    hashes = {tables.load(model, span_of(feed)).content_hash for model in models}
    assert len(hashes) == 4
    tables.load(models[0], span_of(feed, end_ts=END_TS + 1))
    assert len(list((tables.root / "latency").glob("*.json"))) == 5


def test_the_least_used_table_goes_first_and_comes_back_when_wanted(
    tables: LatencyTables, feed: StoredFeed
) -> None:
    small = LatencyTables(tables.root, max_cache_bytes=3 * LATENCY_ROW.itemsize)
    old, new = Given(PLAIN), Given([(10, 41, 100), *PLAIN[1:]])
    kept = small.load(LatencyModel(table=old), span_of(feed))
    small.load(LatencyModel(table=new), span_of(feed))
    assert len(list((tables.root / "latency").glob("*/*.rows"))) == 1
    assert np.asarray(kept.rows)["exch_ts"][0] == START_TS + 40, "who has it mapped keeps it"
    again = small.load(LatencyModel(table=old), span_of(feed))
    assert (old.made, new.made) == (2, 1)
    assert again.content_hash == kept.content_hash


def test_a_file_that_was_cut_is_made_again(tables: LatencyTables, feed: StoredFeed) -> None:
    table = Given(PLAIN)
    tables.load(LatencyModel(table=table), span_of(feed))
    (path,) = (tables.root / "latency").glob("*/*.rows")
    os.truncate(path, 32)
    assert len(tables.load(LatencyModel(table=table), span_of(feed)).rows) == 3  # type: ignore[arg-type]
    assert table.made == 2


def test_threads_that_want_the_same_table_get_the_same(tables: LatencyTables, feed: StoredFeed) -> None:
    table = Given([(k, k + 5, k + 9) for k in range(1, 9_000, 3)], chunk_rows=7)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tables.load(LatencyModel(table=table), span_of(feed)), range(4)))
    assert len({f.content_hash for f in found}) == 1
    assert table.made == 1


MAKE = """
import resource, sys
from pathlib import Path
from bt_framework.data.latency_tables import LatencyTables
from bt_framework.engine.latency import LatencySpan
from bt_plugins.latency import jitter
root, rows = Path(sys.argv[1]), int(sys.argv[2])
config = jitter.JitterLatency(outages=[["1s", "2s"]])
start = 1_700_000_000_000_000_000
span = LatencySpan("A", start, start + rows * 10_000_000, 1, None, print)
found = LatencyTables(root).load(jitter.build(config), span)
print(len(found.rows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, found.content_hash)
"""


def made(root: Path, rows: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKE, str(root), str(rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.split()


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    few, peak_of_few, _ = answer(made(tmp_path, 200_000))
    many, peak_of_many, _ = answer(made(tmp_path, 1_500_000))
    assert int(many) > 7 * int(few) > 1_400_000
    assert int(peak_of_many) < int(peak_of_few) + 20_000, "KiB; the table is of 48 MB"


def test_two_processes_that_want_the_same_table_get_the_same(tmp_path: Path) -> None:
    first, second = (answer(process) for process in [made(tmp_path, 100_000) for _ in range(2)])
    assert first[2] == second[2]
    assert len(list((tmp_path / "latency").glob("*/*.rows"))) == 1


def test_rows_are_made_of_latencies() -> None:
    assert latency_rows([5, 9], 2, [3, 4]).tolist() == [(5, 7, 10, 0), (9, 11, 15, 0)]
