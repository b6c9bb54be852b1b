"""A PostgreSQL server for tests: in a folder of its own, on a free port of this machine only, with a password."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

USER = "bt_tests"
PASSWORD = "no-Secret-42"
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
# Nothing here has to survive a power cut; what is committed survives `PostgresServer.stop`.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "jit": "off",
}


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs, empty if it is not installed."""
    found = shutil.which(name)
    folders = sorted(p for pattern in _FOLDERS for p in Path("/").glob(pattern[1:]))
    return found or next((str(f / name) for f in reversed(folders) if (f / name).exists()), "")


@dataclass
class PostgresServer:
    """A running server.

    Attributes
    ----------
    port : int
        Of 127.0.0.1.
    process : Popen
        The server; a test may stop it with `stop` and start it with `start`.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD) -> str:
        """Address of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser, outside of any transaction."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        if self.process.poll() is None:
            self.process.send_signal(3)  # SIGQUIT: immediate shutdown
            self.process.wait(30)

    def start(self) -> None:
        """Start it again on the same port and data."""
        self.process = _start(self.folder, self.port)


@contextlib.contextmanager
def running() -> Iterator[PostgresServer]:
    """Make a server, and remove it at the end."""
    # Another user must be able to get there.
    folder = Path(tempfile.mkdtemp(prefix="bt-postgres-", dir="/tmp" if _as_user() else None))
    try:
        _own(folder)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        _own(secret)
        options = [f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        layout = ["--encoding=UTF8", "--locale=C", f"--pgdata={folder / 'data'}"]
        subprocess.run(
            [program("initdb"), *options, *layout], check=True, capture_output=True, cwd=folder, **_as_user()
        )
        for _ in range(5):
            port = _free_port()
            with contextlib.suppress(RuntimeError):  # somebody else took the port
                server = PostgresServer(folder, port, _start(folder, port))
                break
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers."""
    settings = [f"--{key}={value}" for key, value in _SETTINGS.items()]
    command = [program("postgres"), "-D", str(folder / "data"), "-p", str(port), *settings]
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, **_as_user()
        )
    deadline = time.monotonic() + 60
    ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-2000:]}")
    return process


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _as_user() -> dict[str, object]:
    """Who runs the server: it refuses to be run by the superuser."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _own(path: Path) -> None:
    user = _as_user()
    if user:
        os.chown(path, user["user"], user["group"])  # type: ignore[arg-type]
