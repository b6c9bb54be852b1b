"""User and password come from the environment or from a file of one's own, and no message shows them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bt_framework.config.credentials import Credentials, find, secrets_file
from bt_framework.errors import ConfigError

SECRET = "w0rd-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BT_CLICKHOUSE_USER", "BT_CLICKHOUSE_PASSWORD", "BT_SECRETS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """A secrets file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_nobody_has_said_anything() -> None:
    assert find("clickhouse", "host:8123") == Credentials("", "")


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(
        "BT_SECRETS_FILE", str(write(tmp_path / "s.toml", '[clickhouse]\nuser = "ann"\npassword = "b"'))
    )
    assert find("clickhouse", "host:8123") == Credentials("ann", "b")
    monkeypatch.setenv("BT_CLICKHOUSE_PASSWORD", SECRET)
    assert find("clickhouse", "host:8123") == Credentials("", SECRET)


def test_the_file_is_in_the_users_configuration_unless_another_is_named(tmp_path: Path) -> None:
    assert secrets_file() == tmp_path / "config" / "bt" / "secrets.toml"
    write(secrets_file(), f'[clickhouse]\npassword = "{SECRET}"')
    assert find("clickhouse", "host:8123").password == SECRET
    assert find("other", "host:8123") == Credentials()


@pytest.mark.parametrize(
    ("host", "user"), [("db:8123", "near"), ("db:9000", "host"), ("else:8123", "common"), ("::1:8123", "six")]
)
def test_a_hosts_own_section_comes_before_the_common_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, user: str
) -> None:
    text = """
        [clickhouse]
        user = "common"
        [clickhouse."db:8123"]
        user = "near"
        [clickhouse.db]
        user = "host"
        [clickhouse."::1"]
        user = "six"
    """
    monkeypatch.setenv("BT_SECRETS_FILE", str(write(tmp_path / "s.toml", text)))
    assert find("clickhouse", host).user == user


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    path = write(tmp_path / "s.toml", f'[clickhouse]\npassword = "{SECRET}"', mode)
    monkeypatch.setenv("BT_SECRETS_FILE", str(path))
    with pytest.raises(ConfigError, match="must be readable by its owner only") as caught:
        find("clickhouse", "host:8123")
    assert f"(mode {mode:o}). Change that: chmod 600 {path}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'[clickhouse]\npassword = "{SECRET}', r"must be TOML, was not \(at end of document\)\.$"),
        (f"password = {SECRET}", r"must be TOML, was not \(at line 1, column \d+\)\.$"),
        (
            f'clickhouse = "{SECRET}"',
            r"clickhouse in .*s\.toml must be a section, with a line \[clickhouse\]",
        ),
        (
            f'[clickhouse]\npasword = "{SECRET}"',
            "the key must be one of password, user, was 'pasword'. Did you",
        ),
        (
            '[clickhouse."host:8123"]\npassword = 12345678',
            r'\[clickhouse."host:8123"\].*must be text in quotes',
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_without_what_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    monkeypatch.setenv("BT_SECRETS_FILE", str(write(tmp_path / "s.toml", text)))
    with pytest.raises(ConfigError, match=message) as caught:
        find("clickhouse", "host:8123")
    assert SECRET not in str(caught.value)
    assert "12345678" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BT_SECRETS_FILE", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"\$BT_SECRETS_FILE must name a file, was .*none.toml, which does"):
        find("clickhouse", "host:8123")
    monkeypatch.setenv("BT_SECRETS_FILE", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        find("clickhouse", "host:8123")


def test_the_password_is_not_in_the_repr_and_is_marked_as_secret() -> None:
    assert SECRET not in repr(Credentials("ann", SECRET))
    assert {f.name for f in dataclasses.fields(Credentials) if f.metadata.get("secret")} == {"password"}
