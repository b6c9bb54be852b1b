"""The ClickHouse server of the tests behaves as ClickHouse does, through the real client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import numpy as np
import pyarrow as pa
import pytest
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, StreamFailureError
from clickhouse_front import ClickhouseFront, make_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

USERS = {"default": ("", 0), "bob": ("s3 cret/€:@", 0), "reader": ("read", 1), "careful": ("care", 2)}


@pytest.fixture
def client(clickhouse_url: str) -> Iterator[Any]:
    with clickhouse_connect.get_client(dsn=clickhouse_url) as client:
        yield client


@pytest.fixture
def table(client: Any) -> Any:
    client.command(
        "CREATE TABLE t (k UInt64, v String) ENGINE = MergeTree ORDER BY k "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    return client


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseFront]:
    """A server with several users, that a test may stop; the next one finds it started."""
    with ClickhouseFront(tmp_path_factory.mktemp("own"), users=USERS) as front:
        yield front


def rows(count: int, first: int = 0) -> list[list[Any]]:
    return [[number, str(number)] for number in range(first, first + count)]


def code_of(call: Callable[[], Any]) -> int | None:
    with pytest.raises(DatabaseError) as caught:
        call()
    return caught.value.code


def take_blocks(client: Any, query: str, got: list[int]) -> None:
    """Stream a query, and note how many rows each block has."""
    with client.query_row_block_stream(query) as stream:
        got.extend(map(len, stream))


def take_batches(client: Any, query: str, got: list[int]) -> None:
    """Stream a query as Arrow, and note how many rows each batch has."""
    with client.query_arrow_stream(query) as stream:
        got.extend(batch.num_rows for batch in stream)


def insert_rows(client: Any, failed: list[Exception]) -> None:
    """Insert ten rows into `t`, and note if it fails."""
    try:
        client.insert("t", rows(10), column_names=["k", "v"])
    except DatabaseError as error:
        failed.append(error)


def wait_for(true: Callable[[], Any]) -> None:
    """Ask until it is so, at most 20 s."""
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until


# What works


def test_a_test_has_an_empty_database_of_its_own(client: Any, clickhouse_url: str) -> None:
    assert client.command("SELECT currentDatabase()") == clickhouse_url.rsplit("/", 1)[1]
    assert client.query("SHOW TABLES").result_rows == []


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_values_of_all_types_come_back_as_they_went_in(clickhouse_url: str, compress: bool | str) -> None:
    with clickhouse_connect.get_client(dsn=clickhouse_url, compress=compress, tz_mode="aware") as client:
        client.command(
            "CREATE TABLE kinds (i Int64, f Float64, s String, l LowCardinality(String), n Nullable(Int8), "
            "t DateTime64(3, 'UTC'), d Date, a Array(UInt8), b Bool) ENGINE = Memory"
        )
        at = datetime(2024, 2, 29, 12, 30, 1, 500_000, tzinfo=UTC)
        sent = [
            (-(2**63) + n, n / 3, "ü" * n, "ab"[n % 2], None, at, date(2024, 2, 29), [n], True)
            for n in range(9)
        ]
        client.insert("kinds", sent)
        assert client.query("SELECT * FROM kinds").result_rows == sent


def test_arrow_goes_in_and_comes_out_in_order_and_in_pieces(table: Any) -> None:
    count = 200_000
    keys = np.arange(count, dtype=np.uint64)
    sent = pa.table({"k": keys, "v": pa.array(["x"] * count)})
    assert table.insert_arrow("t", sent).written_rows == count
    assert table.query_arrow("SELECT * FROM t ORDER BY k").column("k").to_pylist()[-1] == count - 1
    with table.query_arrow_stream(
        "SELECT k FROM t ORDER BY k", settings={"max_block_size": 50_000}
    ) as stream:
        batches = list(stream)
    assert len(batches) >= 4
    assert np.array_equal(np.concatenate([batch.column("k").to_numpy() for batch in batches]), keys)


def test_rows_and_frames_stream(client: Any) -> None:
    got: list[int] = []
    take_blocks(client, "SELECT number FROM numbers(200_000)", got)
    assert sum(got) == 200_000
    with client.query_df_stream("SELECT number FROM numbers(200_000)") as stream:
        assert sum(frame["number"].sum() for frame in stream) == 199_999 * 100_000


def test_raw_inserts_take_bytes_and_streams_with_and_without_compression(table: Any) -> None:
    import gzip

    import lz4.frame

    table.raw_insert("t", ["k", "v"], "1,a\n2,b\n", fmt="CSV")
    table.raw_insert("t", ["k", "v"], (piece for piece in (b"3,", b"c\n", b"4,d\n")), fmt="CSV")
    table.raw_insert("t", ["k", "v"], gzip.compress(b"5,e\n"), fmt="CSV", compression="gzip")
    frames = lz4.frame.compress(b"6,f\n") + lz4.frame.compress(b"7,g\n")
    table.raw_insert("t", ["k", "v"], frames, fmt="CSV", compression="lz4")
    table.command("INSERT INTO t VALUES (8, 'x FORMAT CSV\n')")
    table.command("INSERT INTO t SELECT number, 'y' FROM numbers(9, 2)")
    assert table.query("SELECT k FROM t ORDER BY k").result_columns == [list(range(1, 11))]


@settings(max_examples=40)
@given(
    text=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30), in_form=st.booleans()
)
def test_bound_values_arrive_as_they_are(clickhouse_front: ClickhouseFront, text: str, in_form: bool) -> None:
    with clickhouse_front.client(form_encode_query_params=in_form) as client:
        answer = client.query("SELECT {text:String} AS a, {n:Int64} AS b", parameters={"text": text, "n": -5})
    assert answer.result_rows == [(text, -5)]


def test_a_token_is_inserted_once(table: Any) -> None:
    for first in (0, 0, 100):
        token = {"insert_deduplication_token": f"from {first}"}
        table.insert("t", rows(10, first), column_names=["k", "v"], settings=token)
    assert table.command("SELECT count() FROM t") == 20


def test_settings_hold_for_one_request(client: Any) -> None:
    query = "SELECT count() FROM (SELECT blockNumber() AS b FROM numbers(100) GROUP BY b)"
    assert client.command(query, settings={"max_block_size": 10, "max_threads": 1}) == 10
    assert client.command(query) == 1


def test_a_session_keeps_its_tables_and_settings_to_itself(client: Any, clickhouse_url: str) -> None:
    client.command("CREATE TEMPORARY TABLE own (k UInt8)")
    client.command("SET max_block_size = 7")
    client.insert("own", [[1], [2]])
    assert client.query("SELECT sum(k), getSetting('max_block_size') FROM own").result_rows == [(3, 7)]
    with clickhouse_connect.get_client(dsn=clickhouse_url) as other:
        assert code_of(lambda: other.command("SELECT * FROM own")) == 60
        assert other.command("SELECT getSetting('max_block_size')") != 7


def test_a_session_does_one_thing_at_a_time(clickhouse_front: ClickhouseFront) -> None:
    with (
        clickhouse_front.client(session_id="one") as first,
        clickhouse_front.client(autogenerate_session_id=False) as other,
        first.query_row_block_stream("SELECT number FROM numbers(10_000_000)") as stream,
    ):
        next(iter(stream))
        other.params["session_id"] = "one"
        assert code_of(lambda: other.command("SELECT 1")) == 373


def test_a_large_result_takes_little_memory(clickhouse_front: ClickhouseFront, client: Any) -> None:
    got: list[int] = []
    take_batches(client, "SELECT number FROM numbers(1_000_000)", [])
    before = clickhouse_front.peak_bytes()
    take_batches(client, "SELECT number FROM numbers(20_000_000)", got)
    assert sum(got) == 20_000_000  # 160 MB
    assert clickhouse_front.peak_bytes() - before < 60e6


def test_a_stream_without_end_begins_and_leaving_it_ends_it(clickhouse_front: ClickhouseFront) -> None:
    with clickhouse_front.client(send_receive_timeout=20, autogenerate_session_id=False) as client:
        for _ in range(3):
            with client.query_arrow_stream("SELECT number FROM system.numbers") as stream:
                assert next(iter(stream)).num_rows > 0
        wait_for(lambda: client.command("SELECT count() FROM system.processes") == 1)


def test_a_server_stops_in_the_middle_of_a_stream(own: ClickhouseFront) -> None:
    with own.client() as client, client.query_arrow_stream("SELECT number FROM system.numbers") as stream:
        assert next(iter(stream)).num_rows > 0
        own.restart()
    with own.client() as client:
        assert client.command("SELECT 1") == 1


# What is refused


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT * FROM nope", 60),
        ("SELECT nope", 47),
        ("SELEC 1", 62),
        ("SELECT 1; DROP TABLE t", 62),
        ("SELECT * FROM nope.nope", 81),
        ("SELECT throwIf(number = 3) FROM numbers(5)", 395),
        ("SELECT 'a' + 1", 43),
    ],
)
def test_errors_have_their_codes(table: Any, query: str, code: int) -> None:
    assert code_of(lambda: table.query(query)) == code
    assert code_of(lambda: table.command(query)) == code
    assert table.command("EXISTS TABLE t") == 1


def test_a_setting_and_a_database_that_are_not_there_are_errors(client: Any, clickhouse_url: str) -> None:
    client.set_client_setting("max_block_sise", 1)
    assert code_of(lambda: client.command("SELECT 1")) == 115
    assert code_of(lambda: clickhouse_connect.get_client(dsn=clickhouse_url + "x")) == 81


def test_a_query_may_take_only_so_long(client: Any) -> None:
    query = "SELECT count() FROM system.numbers WHERE NOT ignore(sipHash64(number))"
    assert code_of(lambda: client.command(query, settings={"max_execution_time": "0.2"})) == 159


def test_data_that_does_not_parse_is_not_stored(table: Any) -> None:
    assert code_of(lambda: table.raw_insert("t", ["k", "v"], "1,a\nx,b\n", fmt="CSV")) == 27
    assert table.command("SELECT count() FROM t") == 0


def test_users_need_their_passwords(own: ClickhouseFront) -> None:
    with clickhouse_connect.get_client(
        dsn=own.url("default", user="bob", password=USERS["bob"][0])
    ) as client:
        assert client.command("SELECT 1") == 1
    for user, password in (("bob", "wrong"), ("nobody", ""), ("bob", "")):
        with pytest.raises(DatabaseError, match=f"Code: 516.*{user}: Authentication failed"):
            own.client(username=user, password=password)


@pytest.mark.parametrize("user", ["reader", "careful"])
def test_a_user_who_may_only_read_only_reads(own: ClickhouseFront, user: str) -> None:
    with own.client() as client:
        client.command("CREATE OR REPLACE TABLE t (k UInt8) ENGINE = MergeTree ORDER BY k")
        client.insert("t", [[1]])
    with own.client(username=user, password=USERS[user][0]) as reader:
        assert reader.query("SELECT k FROM t").result_rows == [(1,)]
        assert (
            code_of(lambda: reader.insert("t", [[2]], column_names=["k"], column_type_names=["UInt8"])) == 164
        )
        assert code_of(lambda: reader.command("DROP TABLE t")) == 164


# What goes wrong on demand


def test_an_error_in_the_middle_of_a_stream_is_an_error(client: Any) -> None:
    like_one = "'Code: 1. DB::Exception: no error. (NONE)'"
    query = f"SELECT {like_one}, throwIf(number = 3_000_000) FROM numbers(4_000_000)"
    got: list[int] = []
    with pytest.raises(StreamFailureError, match="throwIf") as caught:
        take_blocks(client, query, got)
    assert caught.value.code == 395
    assert str(caught.value).startswith("Code: 395.")
    assert str(caught.value).endswith("(official build))")
    assert 0 < sum(got) < 3_000_000
    with pytest.raises((urllib3.exceptions.HTTPError, pa.ArrowInvalid)):
        take_batches(client, query, got)


@pytest.mark.parametrize("after_bytes", [0, 1_000_000, 3_000_000])
def test_an_error_midway_comes_after_so_many_bytes(
    clickhouse_front: ClickhouseFront, client: Any, after_bytes: int
) -> None:
    clickhouse_front.fail("error_midway", match="numbers", after_bytes=after_bytes, code=241)
    got: list[int] = []
    with pytest.raises(DatabaseError, match="memory limit exceeded") as caught:
        take_blocks(client, "SELECT number FROM numbers(1_000_000)", got)
    assert caught.value.code == 241
    assert sum(got) * 8 <= after_bytes
    assert client.command("SELECT count() FROM numbers(3)") == 3


@pytest.mark.parametrize("after_bytes", [0, 100_000, 2_000_000])
def test_a_connection_drops_after_so_many_bytes(
    clickhouse_front: ClickhouseFront, client: Any, after_bytes: int
) -> None:
    clickhouse_front.fail("drop", match="numbers", after_bytes=after_bytes)
    got: list[int] = []
    with pytest.raises(urllib3.exceptions.HTTPError):
        take_batches(client, "SELECT number FROM numbers(1_000_000)", got)
    assert sum(got) < 1_000_000
    assert client.command("SELECT count() FROM numbers(3)") == 3


def test_an_answer_that_is_short_drops_before_its_end(clickhouse_front: ClickhouseFront, client: Any) -> None:
    clickhouse_front.fail("drop", after_bytes=1_000_000, times=2)
    with pytest.raises(OperationalError, match="IncompleteRead"):
        client.raw_query("SELECT 1")
    with pytest.raises(StreamFailureError):
        assert client.query("SELECT 1").result_rows == []


def test_an_insert_without_an_answer_is_sent_again_and_a_token_keeps_it_one(
    clickhouse_front: ClickhouseFront, table: Any
) -> None:
    table.command("CREATE TABLE forgetful (k UInt64, v String) ENGINE = MergeTree ORDER BY k")
    for name, stored in (("t", 10), ("forgetful", 20)):
        clickhouse_front.fail("no_answer", match="INSERT")
        token = {"insert_deduplication_token": "one"}
        table.insert(name, rows(10), column_names=["k", "v"], settings=token)
        assert len(clickhouse_front.requests(f"INSERT INTO `{name}`")) == 2
        assert table.command(f"SELECT count() FROM {name}") == stored


def test_an_insert_that_is_cut_off_stores_nothing(clickhouse_front: ClickhouseFront, table: Any) -> None:
    clickhouse_front.fail("cut", match="INSERT", after_bytes=1_000)
    with pytest.raises(OperationalError):
        table.raw_insert("t", ["k", "v"], (b"%d,a\n" % number for number in range(1_000)), fmt="CSV")
    assert table.command("SELECT count() FROM t") == 0


def test_some_requests_pass_before_others_fail(clickhouse_front: ClickhouseFront, client: Any) -> None:
    clickhouse_front.fail("status", match="SELECT 2", skip=1, times=2, status=503)
    assert client.command("SELECT 2") == 2
    assert client.command("SELECT 3") == 3
    for _ in range(2):
        with pytest.raises(OperationalError, match="503"):
            client.command("SELECT 2")
    assert client.command("SELECT 2") == 2
    assert clickhouse_front.faults() == []


def test_the_disk_may_be_full(clickhouse_front: ClickhouseFront, table: Any) -> None:
    clickhouse_front.fail("error", match="INSERT", times=2)
    for _ in range(2):
        assert code_of(lambda: table.insert("t", rows(10), column_names=["k", "v"])) == 243
    table.insert("t", rows(10), column_names=["k", "v"])
    assert table.command("SELECT count() FROM t") == 10


def test_a_slow_answer_runs_into_the_clients_time_limit(clickhouse_front: ClickhouseFront) -> None:
    with clickhouse_front.client(send_receive_timeout=3) as client:
        clickhouse_front.fail("slow", delay_s=60)
        with pytest.raises(OperationalError, match="timed out"):
            client.command("SELECT 1")
        clickhouse_front.heal()


def test_healing_ends_a_wait(clickhouse_front: ClickhouseFront, table: Any) -> None:
    clickhouse_front.fail("slow", match="INSERT", delay_s=60)
    failed: list[Exception] = []
    worker = threading.Thread(target=insert_rows, args=(table, failed))
    worker.start()
    wait_for(lambda: clickhouse_front.requests("INSERT"))
    clickhouse_front.heal()
    worker.join(20)
    assert not worker.is_alive()
    assert failed == []
    assert table.command("SELECT count() FROM t") == 10


def test_requests_are_noted_with_their_settings(clickhouse_front: ClickhouseFront, table: Any) -> None:
    clickhouse_front.heal()
    table.insert("t", rows(1), column_names=["k", "v"], settings={"insert_deduplication_token": "abc"})
    (noted,) = clickhouse_front.requests("INSERT INTO")
    assert noted["statement"].startswith("INSERT INTO `t` (`k`, `v`)")
    assert noted["user"] == "default"
    assert noted["settings"]["insert_deduplication_token"] == "abc"


# Processes


def test_a_server_that_stopped_refuses_and_comes_back_with_its_tables(own: ClickhouseFront) -> None:
    with own.client() as client:
        client.command("CREATE OR REPLACE TABLE t (k UInt8) ENGINE = MergeTree ORDER BY k")
        client.insert("t", [[1]])
        own.stop()
        with pytest.raises(OperationalError, match="refused"):
            client.command("SELECT 1")
        own.start()
        assert client.query("SELECT k FROM t").result_rows == [(1,)]


def test_a_server_that_is_killed_in_an_insert_has_the_inserts_before(own: ClickhouseFront) -> None:
    with own.client() as client:
        client.command("CREATE OR REPLACE TABLE t (k UInt64, v String) ENGINE = MergeTree ORDER BY k")
        client.insert("t", rows(10), column_names=["k", "v"])
        own.heal()
        own.fail("slow", match="INSERT", delay_s=60)
        failed: list[Exception] = []
        worker = threading.Thread(target=insert_rows, args=(client, failed))
        worker.start()
        wait_for(lambda: own.requests("INSERT"))
        own.kill()
        worker.join(20)
    assert isinstance(failed[0], OperationalError)
    own.start()
    with own.client() as client:
        assert client.command("SELECT count() FROM t") == 10


def test_a_folder_has_one_server(own: ClickhouseFront) -> None:
    with pytest.raises(RuntimeError, match="Another server instance in same directory is already running"):
        ClickhouseFront(own.folder).start()
    with own.client() as client:
        assert client.command("SELECT 1") == 1


def test_tls_is_spoken_to_those_who_trust_the_certificate(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with ClickhouseFront(tmp_path / "own", tls=(certificate, key)) as front:
        with front.client(secure=True, ca_cert=str(certificate)) as client:
            assert client.command("SELECT 17") == 17
            assert len(front.requests("SELECT 17")) == 1
        with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            front.client(secure=True)
        with pytest.raises(OperationalError):
            front.client(secure=False)
