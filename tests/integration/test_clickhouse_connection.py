"""One connection for servers and chDB: what goes in comes out, once, and errors say what helps and no secret."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_front import ClickhouseFront

from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse import _disk
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.connection import ClickHouse, UnreachableError
from bt_framework.stores.clickhouse.schema import migrate

SECRET = "w0rd-that-nobody-may-see"

TABLE = """
CREATE TABLE numbers
(
    id UInt64, px Float64, word LowCardinality(String), maybe LowCardinality(Nullable(String)), yes Bool, at Int64
)
ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100
"""


@pytest.fixture(autouse=True)
def _no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BT_CLICKHOUSE_USER", "BT_CLICKHOUSE_PASSWORD", "BT_CLICKHOUSE_URL", "BT_SECRETS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(params=["server", "chdb"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClickHouse]:
    """A connection to an empty database, of either kind."""
    url = request.getfixturevalue("clickhouse_url") if request.param == "server" else f"chdb://{tmp_path}/ch"
    with ClickHouse(address_of(url, ""), timeout_s=10) as connection:
        connection.command(f"CREATE DATABASE IF NOT EXISTS {connection.address.database}", in_database=False)
        yield connection


def rows(first: int, count: int) -> pa.Table:
    """Rows of `TABLE`; the words are dictionaries, and no column is as simple as it could be."""
    ids = list(range(first, first + count))
    return pa.table(
        {
            "id": pa.array(ids, pa.uint64()),
            "px": pa.array([float("nan") if i % 5 == 0 else -0.0 if i % 5 == 1 else i / 3 for i in ids]),
            "word": pa.array([("a", "it's", "ü;")[i % 3] for i in ids]).dictionary_encode(),
            "maybe": pa.array([("x", None)[i % 2] for i in ids], pa.string()).dictionary_encode(),
            "yes": pa.array([i % 2 == 0 for i in ids]),
            "at": pa.array([2**63 - 1 - i for i in ids], pa.int64()),
        }
    )


def plain(table: pa.Table) -> list[tuple[str, ...]]:
    """Rows with the bits of their floats, for comparison."""
    return [
        tuple(v.hex() if isinstance(v, float) else repr(v) for v in row.values()) for row in table.to_pylist()
    ]


def streamed(db: ClickHouse, sql: str) -> list[dict[str, Any]]:
    """Rows of a stream."""
    with db.stream(sql) as batches:
        return [row for batch in batches for row in batch.to_pylist()]


def caught(work: Callable[[], Any], kind: type[StorageError] = StorageError) -> str:
    """Message of the error that `work` must raise; neither it nor its traceback holds the secret."""
    with pytest.raises(StorageError) as error:
        work()
    assert type(error.value) is kind, error.value
    assert SECRET not in "".join(traceback.format_exception(error.value))
    assert "{" not in str(error.value)
    return str(error.value)


def test_what_is_inserted_is_read_back_bit_for_bit(db: ClickHouse) -> None:
    db.command(TABLE)
    chunks = pa.concat_tables([rows(0, 7), rows(7, 4)])  # of two dictionaries
    db.insert("numbers", chunks)
    assert plain(db.query("SELECT * FROM numbers ORDER BY id")) == plain(chunks)
    with db.stream("SELECT * FROM numbers ORDER BY id") as batches:
        assert plain(pa.Table.from_batches(batches)) == plain(chunks)


def test_an_insert_with_the_token_of_an_earlier_one_stores_nothing(db: ClickHouse) -> None:
    db.command(TABLE)
    for first, token in ((0, "a"), (0, "a"), (5, "b"), (0, "a"), (5, "b")):
        db.insert("numbers", rows(first, 5), token=token)
    assert db.query("SELECT id FROM numbers ORDER BY id")["id"].to_pylist() == list(range(10))
    db.insert("numbers", rows(0, 5))
    db.insert("numbers", rows(0, 5))
    db.insert("numbers", rows(0, 0))
    assert db.command("SELECT count() FROM numbers") == 20


def test_values_are_bound_whatever_they_say(db: ClickHouse) -> None:
    hostile = "'; DROP TABLE numbers; -- \\ \t\n\r %s {x:String} \0 ü"
    for value in (hostile, "", "\\", "'", "NULL", "\\N"):
        assert db.query("SELECT {x:String} AS x", {"x": value})["x"].to_pylist() == [value]
        with db.stream("SELECT {x:String} AS x", {"x": value}) as batches:
            assert [batch["x"].to_pylist() for batch in batches] == [[value]]
    found = db.query(
        "SELECT {a:Array(String)} AS a, {i:Int64} AS i, {f:Float64} AS f",
        {"a": ["x'", "y"], "i": -5, "f": 0.1},
    )
    assert found.to_pylist() == [{"a": ["x'", "y"], "i": -5, "f": 0.1}]


def test_one_statement_at_a_time(db: ClickHouse) -> None:
    db.command(TABLE)
    two = "SELECT 1; DROP TABLE numbers"
    for work in (db.query, db.command, lambda sql: streamed(db, sql)):
        assert caught(lambda work=work: work(two)).startswith("one statement must be given, was 2")
    assert db.command("SELECT count() FROM numbers;") == 0
    assert "the table must be a name" in caught(lambda: db.insert("numbers; DROP TABLE x", rows(0, 1)))


def test_a_stream_leaves_the_connection_free_and_may_be_left(db: ClickHouse) -> None:
    with db.stream("SELECT number FROM numbers(10000000000)", settings={"max_block_size": 10_000}) as batches:
        first = next(iter(batches))
        assert first["number"].to_pylist()[:3] == [0, 1, 2]
        assert first.num_rows <= 10_000
        assert db.command("SELECT 5") == 5
    with db.stream("SELECT 1 AS x WHERE 0") as batches:
        assert sum(batch.num_rows for batch in batches) == 0
    with pytest.raises(ZeroDivisionError), db.stream("SELECT 1 AS x") as batches:
        1 / 0  # noqa: B018


def test_an_error_within_a_stream_is_told(db: ClickHouse) -> None:
    def read() -> None:
        # A server has sent rows by then, and can only break off.
        with db.stream(
            "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)", settings={"max_threads": 1}
        ) as b:
            for _ in b:
                pass

    kind = StorageError if db.address.embedded else UnreachableError
    assert ("code 395" in caught(read, kind)) == db.address.embedded
    assert db.command("SELECT 1") == 1


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM nothing", "has not all tables (code 60: "),
        ("SELECT nothing", "refused the request (code 47: "),
        ("SELECT (1", "cannot read the statement (code 62: "),
        ("SELECT * FROM elsewhere.t", "has no database "),
        ("SELECT {x:String}", "refused the request (code 456: "),
    ],
)
def test_what_the_engine_refuses_is_told_with_its_code(db: ClickHouse, sql: str, message: str) -> None:
    for work in (lambda: db.query(sql), lambda: streamed(db, sql), lambda: db.command(sql)):
        text = caught(work)
        assert text.startswith(db.address.title)
        assert message in text
    assert "version 2" not in text


def test_a_database_that_is_not_there_is_made_by_migrate(
    clickhouse_front: ClickhouseFront, tmp_path: Path
) -> None:
    for url in (clickhouse_front.url("nobody_made_it"), f"chdb://{tmp_path}/ch"):
        with ClickHouse(address_of(url, "")) as db:
            text = caught(lambda db=db: db.query("SELECT 1"))
        assert f"has no database {db.address.database}" in text
        assert text.endswith(f"Make it: bt db migrate url={url}")


# A server


def test_servers_send_and_take_compressed_data(
    clickhouse_front: ClickhouseFront, clickhouse_url: str
) -> None:
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        assert db.client.write_compression == "lz4"
        db.command(TABLE)
        db.insert("numbers", rows(0, 5), token="t")
    (request,) = clickhouse_front.requests("INSERT INTO")
    assert request["settings"]["insert_deduplication_token"] == "t"
    assert request["settings"]["async_insert"] == "0"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseFront]:
    """A server with users, of which one may only read, that tests may stop."""
    users = {"default": ("", 0), "ann": (SECRET, 0), "guest": (SECRET, 1)}
    with ClickhouseFront(tmp_path_factory.mktemp("desk"), users=users) as front:
        yield front


def asked(front: ClickhouseFront, user: str = "", timeout_s: float = 5.0) -> Any:
    """The answer to a question on a connection of its own."""
    address = address_of(front.url("default", user=user), "")
    with ClickHouse(address, timeout_s=timeout_s) as db:
        return db.command("SELECT currentDatabase()")


def test_user_and_password_come_from_the_environment_or_the_secrets_file(
    desk: ClickhouseFront, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert asked(desk) == "default"
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(f'[clickhouse."127.0.0.1:{desk.port}"]\nuser = "ann"\npassword = "{SECRET}"\n')
    secrets.chmod(0o600)
    desk.heal()
    monkeypatch.setenv("BT_SECRETS_FILE", str(secrets))
    asked(desk)
    monkeypatch.delenv("BT_SECRETS_FILE")
    monkeypatch.setenv("BT_CLICKHOUSE_PASSWORD", SECRET)
    asked(desk, user="guest")
    monkeypatch.setenv("BT_CLICKHOUSE_URL", desk.url("default", user="ann", password=SECRET))
    with ClickHouse(address_of("", "")) as db:
        assert db.command("SELECT 1") == 1
    assert [request["user"] for request in desk.requests("currentDatabase")] == ["ann", "guest"]


def test_wrong_credentials_are_told_without_them(
    desk: ClickhouseFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BT_CLICKHOUSE_USER", "ann")
    for password in (SECRET + "x", "short"):
        monkeypatch.setenv("BT_CLICKHOUSE_PASSWORD", password)
        text = caught(lambda: asked(desk))
        assert "refused the user or password (code 516: ann: Authentication failed" in text
        assert "Set $BT_CLICKHOUSE_USER and $BT_CLICKHOUSE_PASSWORD" in text
        assert password not in text
    monkeypatch.setenv("BT_CLICKHOUSE_USER", "nobody")
    assert "code 516: nobody" in caught(lambda: asked(desk))


def test_a_server_that_repeats_a_secret_is_not_quoted(
    desk: ClickhouseFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BT_CLICKHOUSE_USER", "ann")
    monkeypatch.setenv("BT_CLICKHOUSE_PASSWORD", SECRET)
    with ClickHouse(address_of(desk.url("default"), "")) as db:
        assert "'***'" in caught(lambda: db.query(f"SELECT throwIf(1, '{SECRET}')"))


def test_a_user_who_may_only_read_is_told_so(desk: ClickhouseFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BT_CLICKHOUSE_PASSWORD", SECRET)
    with ClickHouse(address_of(desk.url("default", user="guest"), "")) as db:
        assert db.query("SELECT 1 AS x")["x"].to_pylist() == [1]
        with db.stream("SELECT 1 AS x") as batches:
            assert sum(batch.num_rows for batch in batches) == 1
        assert "is read-only for this user (code 164" in caught(lambda: db.command(TABLE))


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (241, StorageError, "is out of memory (code 241: (total) memory limit exceeded: would use 3.49 GiB)"),
        (242, StorageError, "is read-only at the moment"),
        (
            243,
            StorageError,
            "is out of disk space (code 243: Cannot reserve 1.00 MiB, not enough space). Free",
        ),
        (202, UnreachableError, "is too busy (code 202: "),
        (252, UnreachableError, "is too busy merging"),
    ],
)
def test_troubles_of_a_server_are_told_apart(
    clickhouse_front: ClickhouseFront, clickhouse_url: str, code: int, kind: type[StorageError], words: str
) -> None:
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        db.command(TABLE)
        clickhouse_front.fail("error", match="numbers", code=code)
        assert words in caught(lambda: db.insert("numbers", rows(0, 3)), kind)
        db.insert("numbers", rows(0, 3))
        assert db.command("SELECT count() FROM numbers") == 3


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_not_ready_may_be_asked_again(
    clickhouse_front: ClickhouseFront, clickhouse_url: str, status: int
) -> None:
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        clickhouse_front.fail("status", match="SELECT 42", status=status, times=9)
        text = caught(lambda: db.query("SELECT 42 AS x"), UnreachableError)
        assert f"answered with HTTP status {status}. Try again later" in text
        clickhouse_front.heal()
        assert db.command("SELECT 42") == 42


def test_a_dropped_connection_may_be_tried_again_and_stores_nothing_twice(
    clickhouse_front: ClickhouseFront, clickhouse_url: str
) -> None:
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        db.command(TABLE)
        for kind, values in (("no_answer", {}), ("cut", {"after_bytes": 100})):
            clickhouse_front.fail(kind, match="INSERT INTO", times=2, **values)
            text = caught(lambda kind=kind: db.insert("numbers", rows(0, 3), token=kind), UnreachableError)
            assert "broke off the connection. Try again later" in text
            clickhouse_front.heal()
            db.insert("numbers", rows(0, 3), token=kind)
        assert db.query("SELECT id FROM numbers ORDER BY id")["id"].to_pylist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("kind", "values"), [("drop", {}), ("error_midway", {"code": 241})])
def test_a_stream_that_breaks_off_is_told_after_its_rows(
    clickhouse_front: ClickhouseFront, clickhouse_url: str, kind: str, values: dict[str, Any]
) -> None:
    seen: list[int] = []
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        clickhouse_front.fail(kind, match="numbers(3000000)", after_bytes=3_000_000, **values)

        def read() -> None:
            with db.stream("SELECT number AS n FROM numbers(3000000)") as batches:
                for batch in batches:
                    seen.extend(batch["n"].to_pylist())

        caught(read, UnreachableError)
        assert 0 < len(seen) < 3_000_000
        assert seen == list(range(len(seen)))
        seen.clear()
        read()
        assert len(seen) == 3_000_000


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_asked(
    clickhouse_front: ClickhouseFront, clickhouse_url: str
) -> None:
    with ClickHouse(address_of(clickhouse_url, ""), timeout_s=1) as db:
        clickhouse_front.fail("slow", match="SELECT 42", delay_s=3.0)
        assert "did not answer in time" in caught(lambda: db.query("SELECT 42 AS x"), UnreachableError)


def test_a_server_that_is_gone_is_told_and_found_again(tmp_path: Path) -> None:
    with ClickhouseFront(tmp_path) as front:
        address = address_of(front.url("default"), "")
        with ClickHouse(address) as db:
            front.stop()
            text = caught(lambda: db.query("SELECT 1"), UnreachableError)
            assert text.startswith(
                f"ClickHouse at {address.name} cannot be reached: the connection was refused"
            )
            assert "cannot be reached" in caught(lambda: ClickHouse(address), UnreachableError)
            front.start()
            assert db.command("SELECT 1") == 1


def test_a_host_that_nobody_knows_is_told() -> None:
    text = caught(lambda: ClickHouse(address_of("http://no-such-host.invalid/bt", "")), UnreachableError)
    assert "cannot be found: no host is called no-such-host.invalid" in text


# TLS


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClickhouseFront, Path]]:
    """A server that speaks TLS, and the certificate that it signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    with ClickhouseFront(folder / "front", tls=files) as front:
        yield front, files[0]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_is_checked_against_the_authority_that_the_url_names(
    safe: tuple[ClickhouseFront, Path], tmp_path: Path
) -> None:
    front, certificate = safe
    url = front.url("default")

    def ask(options: str = "", base: str = url) -> Any:
        with ClickHouse(address_of(base + options, ""), timeout_s=5) as db:
            return db.command("SELECT 7")

    assert ask(f"?ca_cert={certificate}") == 7
    assert ask("?verify=false") == 7
    text = caught(ask)
    assert "cannot be trusted" in text
    assert text.endswith(
        "Name the file of the authority that signed its certificate: ?ca_cert=FILE in the URL."
    )
    assert f"must be a file that can be read, was {tmp_path}/none.pem" in caught(
        lambda: ask(f"?ca_cert={tmp_path}/none.pem")
    )
    other = url.replace("127.0.0.1", "localhost")
    assert "The certificate is another host's" in caught(lambda: ask(f"?ca_cert={certificate}", other))
    plain_http = url.replace("https:", "http:")
    assert "and that it is not one for https" in caught(lambda: ask(base=plain_http), UnreachableError)


def test_https_to_a_port_without_tls_is_told(clickhouse_front: ClickhouseFront) -> None:
    url = clickhouse_front.url("default").replace("http:", "https:")
    assert "The port does not speak TLS: write http://" in caught(lambda: ClickHouse(address_of(url, "")))


# chDB


OPEN = """
import sys
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
with ClickHouse(address_of(sys.argv[1], "")) as db:
    db.command("CREATE DATABASE IF NOT EXISTS bt", in_database=False)
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_another_process_has_open_is_told_with_its_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"chdb://{tmp_path}/ch"
    with subprocess.Popen([sys.executable, "-c", OPEN, url], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        text = caught(lambda: ClickHouse(address_of(url, "")))
        assert text.startswith(
            f"chDB in {tmp_path}/ch is in use by process {other.pid}; only one process can"
        )
        assert "Wait until that one has finished or stop it, choose another folder, or use a server" in text
        assert capfd.readouterr().err == ""
        other.kill()
    with ClickHouse(address_of(url, "")) as db:
        assert db.command("SELECT 1") == 1


def test_a_process_has_one_folder_at_a_time_and_many_connections_to_it(tmp_path: Path) -> None:
    here, there = (address_of(f"chdb://{tmp_path}/{name}", "") for name in ("here", "there"))
    with ClickHouse(here) as db:
        db.command("CREATE DATABASE bt", in_database=False)
        text = caught(lambda: ClickHouse(there))
        assert (
            f"{tmp_path}/there cannot be opened while this process has chDB in {tmp_path}/here open" in text
        )
        (tmp_path / "link").symlink_to(tmp_path / "here")
        with ClickHouse(Address(folder=tmp_path / "link")) as again:
            assert streamed(again, "SELECT 1 AS x") == [{"x": 1}]
        answers: list[Any] = []

        def ask() -> None:
            with ClickHouse(here) as own, own.stream("SELECT number FROM numbers(100000)") as batches:
                answers.append(sum(batch.num_rows for batch in batches))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [100_000] * 4
    with ClickHouse(there) as db:
        db.command("CREATE DATABASE bt", in_database=False)
        assert db.command("SELECT 1") == 1


def test_a_folder_that_cannot_be_made_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made: File exists" in caught(lambda: ClickHouse(Address(folder=tmp_path / "file")))
    assert "cannot be made: Not a directory" in caught(
        lambda: ClickHouse(Address(folder=tmp_path / "file" / "x"))
    )


SHUT = """
import os, sys
from pathlib import Path
import chdb, clickhouse_connect
from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.connection import ClickHouse
if os.getuid() == 0:
    os.setuid(65534)
try:
    ClickHouse(Address(folder=Path(sys.argv[1])))
except StorageError as error:
    print(error)
"""


def test_a_folder_that_is_not_ours_is_told() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", SHUT, folder], capture_output=True, text=True, check=False
        )
    assert done.stdout.startswith(f"chDB's folder {folder} must be writable, was not. "), done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the reserve and 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={(_disk.RESERVE_BYTES >> 20) + 16}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_and_what_was_stored_stays(small_disk: Path) -> None:
    stored = 0
    with ClickHouse(address_of(f"chdb://{small_disk}/ch", "")) as db:
        db.command("CREATE DATABASE bt", in_database=False)
        db.command(
            TABLE.replace("px Float64", "px Float64 CODEC(NONE)").replace("at Int64", "at Int64 CODEC(NONE)")
        )
        batch = rows(0, 50_000)

        def fill() -> None:
            nonlocal stored
            while True:
                db.insert("numbers", batch)
                stored += batch.num_rows

        text = caught(fill)
        assert "is out of disk space (code 243: " in text
        assert text.endswith("Free space there and try again.")
        assert db.command("SELECT count() FROM numbers") == stored > 0
        (small_disk / "other").write_bytes(bytes(16 << 20))
        assert "is out of disk space (less than 64 MiB are free). " in caught(lambda: migrate(db))
    with ClickHouse(address_of(f"chdb://{small_disk}/ch", "")) as db:
        assert db.command("SELECT count() FROM numbers") == stored
        assert (
            db.command("SELECT sum(id) FROM numbers")
            == sum(batch["id"].to_pylist()) * stored // batch.num_rows
        )
        assert not db.command("SELECT count() FROM system.detached_parts")


def test_a_folder_of_temporary_files_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ClickHouse(address_of(f"chdb://{tmp_path}/ch", "")) as db:
        db.command("CREATE DATABASE bt", in_database=False)
        db.command(TABLE)
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
            text = caught(lambda: db.insert("numbers", rows(0, 10)))
        assert "cannot be written ([Errno 2] No such file or directory: " in text
        assert text.endswith("Free space there and in the folder of temporary files, and try again.")
        db.insert("numbers", rows(0, 10))
        assert db.command("SELECT count() FROM numbers") == 10


@pytest.mark.parametrize("ask", ["query", "command", "stream"])
def test_rows_of_a_query_that_failed_are_not_in_the_next_answer(db: ClickHouse, ask: str) -> None:
    failing = "SELECT number, throwIf(number = 150000) FROM numbers(200000) SETTINGS max_threads = 1"

    def streamed() -> None:
        with db.stream(failing, settings={"max_block_size": 1_000}) as batches:
            list(batches)

    fail = {"query": lambda: db.query(failing), "command": lambda: db.command(failing), "stream": streamed}
    for _ in range(2):
        with pytest.raises(StorageError):
            fail[ask]()
        assert db.query("SELECT toInt64(7) AS n").to_pylist() == [{"n": 7}]
        with pytest.raises(StorageError):
            fail[ask]()
        assert db.command("SELECT 8") == 8


def test_without_its_package_the_line_that_installs_it_is_told(
    tmp_path: Path, clickhouse_front: ClickhouseFront
) -> None:
    script = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None
from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
try:
    ClickHouse(address_of(sys.argv[1], ""))
except StorageError as error:
    print(error)
"""
    for url, packages in (
        (f"chdb://{tmp_path}/ch", ["chdb"]),
        (f"chdb://{tmp_path}/ch", ["clickhouse_connect"]),
        (clickhouse_front.url("bt"), ["clickhouse_connect"]),
    ):
        done = subprocess.run([sys.executable, "-c", script, url, *packages], capture_output=True, text=True)
        assert "pip install 'bt-framework[clickhouse]'" in done.stdout, done.stderr
    assert not (tmp_path / "ch").exists()


def test_importing_it_takes_no_heavy_package() -> None:
    script = (
        "import sys; import bt_framework.stores.clickhouse.connection, bt_framework.stores.clickhouse.settings; "
        "print([m for m in ('pyarrow', 'clickhouse_connect', 'chdb', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
