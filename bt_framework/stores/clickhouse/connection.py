"""One connection to ClickHouse, the same for a server and for chDB."""

from __future__ import annotations

import math
import os
import re
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bt_framework.config.credentials import Credentials, find
from bt_framework.errors import BtError, StorageError
from bt_framework.stores.clickhouse import _embedded
from bt_framework.stores.clickhouse._statements import statements
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.errors import UnreachableError, explain

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow as pa

__all__ = ["ClickHouse", "UnreachableError"]

_CONNECT_TIMEOUT_S = 10
_USER = "default"
"""ClickHouse's own user, where nobody names one."""

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ClickHouse:
    """A connection. Use it as a context manager, and from one thread; each thread has its own.

    Only inserts into a server may be made by several threads at once.

    The database need not exist yet: `bt_framework.stores.clickhouse.schema` makes it.

    Parameters
    ----------
    timeout_s : float
        Longest wait for a part of an answer.

    Raises
    ------
    UnreachableError
        If a server does not answer, here or later; a retry may help.
    StorageError
        If it answers with an error, or chDB's folder cannot be had. The message says what helps.
    ConfigError
        If the credentials cannot be read.
    """

    def __init__(self, address: Address, *, timeout_s: float = 30.0) -> None:
        self.address = address
        login = Credentials() if address.embedded else _login(address)
        self._secrets = (login.password,)
        with self._in_our_words():
            self.client = (
                _embedded.connect(address) if address.embedded else _connect(address, login, timeout_s)
            )
        self.client.database = address.database

    def __enter__(self) -> ClickHouse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, and of chDB's folder if it was the last one of this process."""
        self.client.close()

    def query(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, read_only: bool = False
    ) -> pa.Table:
        """Return all rows of a SELECT.

        Parameters
        ----------
        sql : str
            One statement; values are written ``{name:Type}``.
        parameters : mapping, optional
            The values, which are bound by the server.
        read_only : bool
            Whether a statement that would change something is refused; replaced rows are then left out everywhere.
        """
        settings = {"final": 1, "readonly": 1} if read_only else {}
        with self._in_our_words():
            return self.client.query_arrow(_one(sql), dict(parameters or {}), settings=settings)

    @contextmanager
    def stream(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Yield the rows of a SELECT batch by batch, with bounded memory; a result without rows has no batch.

        Other requests may be made on the connection meanwhile.

        Parameters
        ----------
        settings : mapping, optional
            ClickHouse's own for this statement, such as ``max_block_size``.
        """
        batches = self._batches(_one(sql), dict(parameters or {}), dict(settings or {}))
        try:
            yield batches
        finally:
            batches.close()

    def command(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, in_database: bool = True
    ) -> Any:
        """Run a statement; returns the value of a SELECT of one, else what the client says.

        Parameters
        ----------
        in_database : bool
            Whether the names in it are those of the database, which must then exist.
        """
        with self._in_our_words():
            return self.client.command(_one(sql), dict(parameters or {}), use_database=in_database)

    def insert(self, table: str, rows: pa.Table, *, token: str = "") -> None:
        """Insert rows; when it returns, the server has them.

        Up to a million rows of one partition are stored all or not at all.

        Parameters
        ----------
        table : str
            Name of a table of the database.
        token : str
            Repeating an insert with the token of an earlier one stores nothing (the table remembers the last ones,
            see ``non_replicated_deduplication_window`` in its definition). Equal rows with another token are stored.
        """
        if not _TABLE.fullmatch(table):
            raise StorageError(f"the table must be a name, was {table[:80]!r}.")
        if not rows.num_rows:
            return
        # A dropped connection makes the client send the rows again, which the token makes harmless. Servers put rows
        # into a queue by default, whose tokens would be other ones.
        settings = {"async_insert": 0, "insert_deduplication_token": token or uuid.uuid4().hex}
        with self._in_our_words():
            self.client.insert_arrow(
                table, rows.unify_dictionaries(), database=self.address.database, settings=settings
            )

    def _batches(
        self, sql: str, parameters: dict[str, Any], settings: dict[str, Any]
    ) -> Generator[pa.RecordBatch]:
        from clickhouse_connect.driver.binding import bind_query

        with self._in_our_words():
            if self.address.embedded:
                bound, values = bind_query(sql, parameters, self.client.server_tz)
                texts = {name.removeprefix("param_"): value for name, value in values.items()}
                yield from _embedded.stream(self.address, str(bound), texts, settings)
                return
            with self.client.query_arrow_stream(sql, parameters, settings) as batches:
                yield from batches

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (BtError, GeneratorExit):
            raise
        except Exception as error:
            if self.address.embedded:
                _embedded.discard(getattr(self, "client", None))
            raise explain(error, self.address, self._secrets) from None


def _login(address: Address) -> Credentials:
    """User and password of a server: those in the environment's URL, else those found for it."""
    found = find("clickhouse", f"{address.host}:{address.port}")
    return Credentials(address.user or found.user or _USER, address.password or found.password)


def _connect(address: Address, login: Credentials, timeout_s: float) -> Any:
    """Return the client of a server."""
    import logging

    try:
        from clickhouse_connect import get_client
    except ImportError:
        raise StorageError(
            f"ClickHouse at {address.name} needs clickhouse-connect. Install it: pip install "
            "'bt-framework[clickhouse]'"
        ) from None
    # What it logs, we raise; without a handler it would appear on the screen.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    if address.ca_cert and not os.access(address.ca_cert, os.R_OK):
        raise StorageError(
            f"ca_cert of {address.name} must be a file that can be read, was {address.ca_cert}."
        )
    return get_client(
        interface="https" if address.secure else "http",
        host=address.host,
        port=address.port,
        username=login.user,
        password=login.password,
        compress=True,
        connect_timeout=min(_CONNECT_TIMEOUT_S, math.ceil(timeout_s)),
        send_receive_timeout=math.ceil(timeout_s),
        verify=address.verify,
        ca_cert=address.ca_cert or None,
        autogenerate_session_id=False,
        dedicated_pool=True,
    )


def _one(sql: str) -> str:
    """`sql` if it is one statement: a server refuses several, chDB would run them all."""
    found = statements(sql)
    if len(found) != 1:
        raise StorageError(f"one statement must be given, was {len(found)}: {sql[:80]!r}.")
    return found[0]
