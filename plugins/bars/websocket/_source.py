"""Bars from a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from bt_framework.bars.download import (
    PASSING,
    Passing,
    Secret,
    connection_problem,
    retried,
    retry_after_s,
    running_session,
    secret_of,
)
from bt_framework.bars.source import BarSource, Progress
from bt_framework.errors import BtError, DataError
from bt_framework.units import NS_PER_S
from bt_plugins.bars.websocket import Websocket
from bt_plugins.bars.websocket._collected import Collected

if TYPE_CHECKING:
    import aiohttp


class WebsocketBars(BarSource):
    """Bars of all symbols as they close."""

    def __init__(self, config: Websocket) -> None:
        self.config: Websocket = config

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of one symbol each.

        If the stream fails for good after bars have come, they are handed on and the reason is among the findings: they
        will not come again.
        """
        config, secret = self.config, secret_of(self.config)
        self.findings.clear()
        collected = Collected(config, self.findings)
        with running_session(config, secret) as (runner, session):
            stream = _Stream(session, config, secret, collected)
            try:
                done = False
                while not done:
                    try:
                        done = runner.run(stream.collect())
                    except BtError as error:
                        if not collected.total:
                            raise
                        self.findings[f"early end of the stream: {error}"] += 1
                        done = True
                    progress(collected.total, config.bars)
                    yield from collected.take()
            finally:
                runner.run(stream.close())
        if not collected.total:
            raise DataError(
                f"{config.url}: no closed bar came. Check bars.subscribe, bars.rows and bars.columns."
            )


class _Stream:
    """A connection that is made again when it breaks."""

    def __init__(
        self, session: aiohttp.ClientSession, config: Websocket, secret: Secret, collected: Collected
    ) -> None:
        self._session, self._config, self._secret, self._collected = session, config, secret, collected
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._failures = 0
        self._ends_at: float | None = None

    async def collect(self) -> bool:
        """Collect the bars of a table; return whether it was the last one."""
        loop = asyncio.get_running_loop()
        if self._ends_at is None and self._config.duration_ns:
            self._ends_at = loop.time() + int(self._config.duration_ns) / NS_PER_S
        try:
            async with asyncio.timeout_at(self._ends_at):
                await retried(self._config, self._config.url, self._receive, lambda: self._failures)
        except TimeoutError:
            return True
        return self._has_enough()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    def _has_enough(self) -> bool:
        return 0 < self._config.bars <= self._collected.total

    async def _receive(self) -> None:
        """Take up messages until a table is full; `Passing` if the connection breaks."""
        import aiohttp

        try:
            socket = self._socket or await self._connect()
            while not self._has_enough() and self._collected.waiting < self._config.bars_per_table:
                message = await socket.receive(timeout=int(self._config.timeout_ns) / NS_PER_S)
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    if self._collected.add(message.data):
                        self._failures = 0
                    continue
                self._refuse_large(message)
                raise Passing("the server closes the connection")
        except Passing:
            await self._broken()
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._broken()
            raise Passing(connection_problem(error, self._config)) from None

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        """Connect, and subscribe to all symbols."""
        import aiohttp
        from yarl import URL

        config = self._config
        url = URL(self._secret.address(config.url), encoded=True)
        silence_s = int(config.timeout_ns) / NS_PER_S
        heartbeat_s = int(config.heartbeat_ns) / NS_PER_S or None
        try:
            async with asyncio.timeout(silence_s):
                self._socket = await self._session.ws_connect(
                    url, heartbeat=heartbeat_s, max_msg_size=config.max_message_bytes
                )
        except aiohttp.WSServerHandshakeError as error:
            status = f"the server says {error.status} instead of opening a stream"
            if error.status in PASSING or error.status >= 500:
                asked = error.headers.get("Retry-After") if error.headers else None
                raise Passing(status, retry_after_s(asked)) from None
            raise DataError(f"{config.url}: {status}. Check bars.url and the key.") from None
        for message in config.subscribe:
            for symbol in config.symbols if "{symbol}" in message else [""]:
                await self._socket.send_str(message.replace("{symbol}", symbol))
        return self._socket

    async def _broken(self) -> None:
        self._failures += 1
        await self.close()

    def _refuse_large(self, message: aiohttp.WSMessage) -> None:
        import aiohttp

        error = message.data
        if isinstance(error, aiohttp.WebSocketError) and error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            raise DataError(
                f"{self._config.url}: a message is larger than {self._config.max_message_bytes:,} bytes. Raise"
                " bars.max_message_bytes."
            )
