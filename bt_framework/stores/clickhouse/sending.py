"""Stores parts of runs in a database, with patience."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bt_framework.errors import BtError
from bt_framework.stores.clickhouse._parcels import Part, stage_of
from bt_framework.stores.clickhouse.address import Address

_AT_ONCE = 4
"""Inserts that are made at the same time."""


@dataclass(frozen=True)
class Retries:
    """How often and when to try again what may work the next time; each wait is twice as long as the last.

    Attributes
    ----------
    attempts : int
        The first one included.
    first_wait_s, longest_wait_s : float
    timeout_s : float
        For an answer of the server.
    """

    attempts: int = 4
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    timeout_s: float = 10.0


class Sender:
    """Stores parts in a database, with a connection that is made when it is needed.

    Parameters
    ----------
    address : Address
    retries : Retries
    """

    def __init__(self, address: Address, retries: Retries) -> None:
        self._address = address
        self._retries = retries
        self._db: Any = None

    @property
    def name(self) -> str:
        """Where it sends to, for people."""
        return f"{'chDB in' if self._address.embedded else 'ClickHouse at'} {self._address.name}"

    def send(self, parts: Sequence[Part], *, patient: bool = True) -> None:
        """Store parts, those of a stage before those of the next (`stage_of`); unless `patient`, try once.

        Raises
        ------
        StorageError
            If they could not all be stored. Sending them again does no harm.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

        from bt_framework.stores.clickhouse.errors import UnreachableError

        for attempt in Retrying(
            stop=stop_after_attempt(self._retries.attempts if patient else 1),
            wait=wait_exponential(multiplier=self._retries.first_wait_s, max=self._retries.longest_wait_s),
            retry=retry_if_exception_type(UnreachableError),
            reraise=True,
        ):
            with attempt:
                self._send(parts)

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            db, self._db = self._db, None
            with suppress(BtError):
                db.close()

    def _send(self, parts: Sequence[Part]) -> None:
        from bt_framework.stores.clickhouse.connection import ClickHouse
        from bt_framework.stores.clickhouse.schema import require

        try:
            if self._db is None:
                self._db = ClickHouse(self._address, timeout_s=self._retries.timeout_s)
                require(self._db)
            for _, some in groupby(sorted(parts, key=stage_of), stage_of):
                self._insert(list(some))
        except BtError:
            self.close()
            raise

    def _insert(self, parts: Sequence[Part]) -> None:
        """Insert parts, into a server at once: most of the time it is waited for."""
        from concurrent.futures import ThreadPoolExecutor

        def insert(part: Part) -> None:
            self._db.insert(part.table, part.rows, token=part.token)

        if self._address.embedded or len(parts) == 1:
            for part in parts:
                insert(part)
            return
        with ThreadPoolExecutor(min(len(parts), _AT_ONCE)) as pool:
            list(pool.map(insert, parts))
