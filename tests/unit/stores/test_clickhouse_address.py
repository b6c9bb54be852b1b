"""URLs of ClickHouse say where a database is, and hold no secret that could be stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bt_framework.errors import ConfigError
from bt_framework.stores.clickhouse.address import Address, address_of

SECRET = "w0rd-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BT_CLICKHOUSE_URL", raising=False)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://db", Address("bt", host="db", port=8123)),
        ("https://db.example/desk", Address("desk", host="db.example", port=8443, secure=True)),
        ("http://ann@db:1/x_1/", Address("x_1", host="db", port=1, user="ann")),
        ("http://[::1]:9000/bt", Address("bt", host="::1", port=9000)),
        ("https://db/bt?ca_cert=/ca.pem", Address(host="db", port=8443, secure=True, ca_cert="/ca.pem")),
        ("https://db/bt?verify=no", Address(host="db", port=8443, secure=True, verify=False)),
        ("chdb:///data/ch", Address(folder=Path("/data/ch"))),
        ("chdb:///data/a%20b?database=x", Address("x", folder=Path("/data/a b"))),
    ],
)
def test_a_url_says_where_the_database_is(url: str, address: Address) -> None:
    assert address_of(url, "/store") == address


def test_without_a_url_it_is_the_environments_else_chdb_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address_of("", "/store") == Address(folder=Path("/store/clickhouse"))
    monkeypatch.setenv("BT_CLICKHOUSE_URL", f"https://ann:{SECRET}@db/desk")
    address = address_of("", "/store")
    assert (address.user, address.password, address.from_environment) == ("ann", SECRET, True)
    assert address_of("http://other/bt", "/store").host == "other"


def test_a_password_of_the_environment_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BT_CLICKHOUSE_URL", f"https://ann:{SECRET}@db/desk")
    address = address_of("", "/store")
    shown = [repr(address), str(address), address.name, address.title, address.url, address.argument]
    assert not any(SECRET in text for text in shown)
    assert address.name == "https://db:8443/desk"
    assert address.argument == ""


@pytest.mark.parametrize(
    ("url", "argument"),
    [
        ("http://db:8123/bt", " url=http://db:8123/bt"),
        ("http://ann@db:8123/bt", " url=http://ann@db:8123/bt"),
        (
            "https://db:8443/bt?ca_cert=/ca.pem&verify=false",
            " \"url='https://db:8443/bt?ca_cert=/ca.pem&verify=false'\"",
        ),
        ("chdb:///data/ch?database=x", " \"url='chdb:///data/ch?database=x'\""),
        ("chdb:///data/ch", " url=chdb:///data/ch"),
    ],
)
def test_a_command_that_is_advised_means_the_same_database(url: str, argument: str) -> None:
    address = address_of(url, "/store")
    assert address.argument == argument
    assert address_of(address.url, "/elsewhere") == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            f"http://ann:{SECRET}@db/bt",
            "url must not hold a password: it is stored with each run. Set \\$BT_CLICK",
        ),
        ("http://ann:@db/bt", "url must not hold a password"),
        ("ftp://db/bt", r"url must be http\(s\)://host:port/database or chdb:///folder, was of another form"),
        ("db:8123", "url must be http"),
        ("http://", "url must be http"),
        ("http://db:99999/bt", "with a port up to 65535"),
        ("http://db:x/bt", "with a port up to 65535"),
        ("http://[::1/bt", "url must be http"),
        ("http://d b/bt", "url must be http"),
        ("http://db/bt?ca_cert=/x", "a URL of http has no options"),
        (
            f"https://db/bt?password={SECRET}",
            "the option of https URLs must be one of ca_cert, verify, was 'password'",
        ),
        ("https://db/bt?verify=perhaps", "verify in url must be true or false, was 'perhaps'"),
        ("http://db/a/b", "the database in url must be a name of letters"),
        ("http://db/a%60b", "the database in url must be a name of letters"),
        ("http://db/1a", "does not begin with a digit"),
        ("http://db/system", "is not ClickHouse's own, was 'system'"),
        ("http://db/INFORMATION_SCHEMA", "is not ClickHouse's own"),
        ("http://db/" + "a" * 64, "the database in url must be a name"),
        ("chdb://data/ch", "the folder of chDB must be absolute, as in chdb:///data/clickhouse"),
        ("chdb:", "the folder of chDB must be absolute"),
        ("chdb:///", "the folder of chDB must be absolute"),
        ("chdb:///a%00b", "was one with a zero byte"),
        (
            "chdb:///a?databas=x",
            "the option of chdb URLs must be one of database, was 'databas'. Did you mean",
        ),
        ("chdb:///a?database=x%27;DROP", "the database in url must be a name"),
    ],
)
def test_another_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        address_of(url, "/store")
    assert SECRET not in str(caught.value)


def test_a_wrong_url_of_the_environment_is_named_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (f"htp://ann:{SECRET}@db", f"http://ann:{SECRET}@db:port/bt", f"http://ann:{SECRET}@/x"):
        monkeypatch.setenv("BT_CLICKHOUSE_URL", url)
        with pytest.raises(ConfigError, match=r"^\$BT_CLICKHOUSE_URL must be http") as caught:
            address_of("", "/store")
        assert SECRET not in str(caught.value)


@given(st.text(max_size=40))
@example(".")
def test_whatever_a_url_says_the_database_is_an_identifier(text: str) -> None:
    for url in (
        text,
        f"http://db/{text}",
        f"https://{text}",
        f"chdb:///{text}",
        f"chdb:///a?database={text}",
    ):
        try:
            address = address_of(url, "/store") if url else None
        except ConfigError:
            continue
        if address is not None:
            assert address.database.isascii()
            assert address.database.isidentifier()
            assert address_of(address.url, "/store") == address
