"""What goes wrong is told in our words; only what may pass by itself is worth a retry."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, ProgrammingError

from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.errors import _PASSING, _TROUBLES, UnreachableError, explain

SERVER = Address(host="db", port=8123)
CHDB = Address(folder=Path("/data/ch"))


def server_says(code: int, text: str) -> DatabaseError:
    """An error as the client words it."""
    said = f"Code: {code}. DB::Exception: {text}. (SOME_NAME) (version 26.9.2.1 (official build))"
    return DatabaseError(
        f"Received ClickHouse exception, code: {code}, server response: {said} (for url http://db:8123)",
        code=code,
    )


def test_the_text_of_the_server_is_kept_without_what_is_around_it() -> None:
    error = explain(server_says(47, "Unknown identifier\n  `a (b)`"), SERVER)
    assert (
        str(error)
        == "ClickHouse at http://db:8123/bt refused the request (code 47: Unknown identifier `a (b)`)."
    )


def test_a_setting_that_the_client_may_not_send_means_a_user_who_may_only_read() -> None:
    error = explain(ProgrammingError("Setting async_insert is readonly"), SERVER)
    assert "is read-only for this user" in str(error)
    assert type(error) is StorageError


def test_a_long_text_is_cut_and_a_secret_in_it_hidden() -> None:
    assert len(str(explain(server_says(47, "x" * 5_000), SERVER))) < 500
    shown = str(explain(server_says(47, "no hunter22 and no cat"), SERVER, ("hunter22", "cat", "")))
    assert "no *** and no cat" in shown


@pytest.mark.parametrize("code", sorted(_PASSING))
def test_troubles_that_pass_are_worth_a_retry(code: int) -> None:
    error = explain(server_says(code, "so it is"), SERVER)
    assert type(error) is UnreachableError
    assert str(error).endswith(f"(code {code}: so it is). Try again later.")


@pytest.mark.parametrize("code", [*sorted(_TROUBLES), 5_555])
def test_other_troubles_are_not(code: int) -> None:
    error = explain(server_says(code, "so it is"), SERVER)
    assert type(error) is StorageError
    assert f"(code {code}: so it is)." in str(error)
    assert "{" not in str(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/tmp/x.raw"),
        DatabaseError(
            "Code: 75. DB::Exception: Cannot write: , errno: 28, strerror: No space left on device.", code=75
        ),
        server_says(243, "Cannot reserve 1.00 MiB, not enough space"),
    ],
)
@pytest.mark.parametrize("address", [SERVER, CHDB], ids=["server", "chdb"])
def test_a_full_disk_is_told_whoever_notices_it(error: Exception, address: Address) -> None:
    assert f"{address.title} is out of disk space (code 243: " in str(explain(error, address))


@pytest.mark.parametrize(
    ("status", "kind"), [(404, StorageError), (401, StorageError), (500, UnreachableError)]
)
def test_an_answer_that_is_not_clickhouses_is_told_by_its_status(
    status: int, kind: type[StorageError]
) -> None:
    error = explain(
        DatabaseError(f"HTTP driver received HTTP status {status}, server response: <html>"), SERVER
    )
    assert type(error) is kind
    assert f"answered with HTTP status {status}." in str(error)
    assert "html" not in str(error)


def test_a_broken_connection_is_worth_a_retry_and_a_mistake_of_ours_is_not() -> None:
    broken = OperationalError("Error executing HTTP request")
    broken.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert type(explain(broken, SERVER)) is UnreachableError
    mistake = explain(ProgrammingError("The client has been closed"), SERVER)
    assert type(mistake) is StorageError
    assert str(mistake) == "ClickHouse at http://db:8123/bt cannot be used (The client has been closed)."
    assert type(explain(ValueError("x"), CHDB)) is StorageError


def test_causes_that_go_round_in_a_circle_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert "cannot be used (one)" in str(explain(one, SERVER))
