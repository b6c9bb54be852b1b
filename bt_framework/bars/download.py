"""Asking servers: keys, retries with growing waits, a rate limit, and errors that show no key."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit

from bt_framework.bars.server_config import BarServerConfig
from bt_framework.errors import BtError, ConfigError, DataError
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

_MAX_REDIRECTS = 3
_SHOWN = 200
PASSING = (408, 425, 429)
"""Refusals that are over after a while, beside those of 500 and above."""


class Passing(Exception):
    """What may be better next time; `wait_s` is what the server asks for."""

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Secret:
    """The key to a server. It is in no text: not in messages, nor in the representation of this object."""

    _value: str

    def __repr__(self) -> str:
        """Say that there is one."""
        return "Secret(***)"

    def headers(self, config: BarServerConfig) -> dict[str, str]:
        """All headers to send."""
        with_key = self._value and config.secret_header
        return config.headers | (
            {config.secret_header: config.secret_prefix + self._value} if with_key else {}
        )

    def address(self, template: str, **places: object) -> str:
        """`template` with its places filled in, the key too."""
        return filled(template, **places, secret=self._value)

    def hide(self, text: str, config: BarServerConfig) -> str:
        """`text` in one line without the key, and without the values of headers."""
        for value in (self._value, quote(self._value, safe=""), *config.headers.values()):
            if value:
                text = text.replace(value, "***")
        return " ".join(text.split())


def secret_of(config: BarServerConfig) -> Secret:
    """The key that ``secret_env`` names.

    Raises
    ------
    ConfigError
        If the variable is not set.
    """
    if not config.secret_env:
        return Secret("")
    value = os.environ.get(config.secret_env, "").strip()
    if not value.isprintable() or not value:
        raise ConfigError(
            f"secret_env names the environment variable {config.secret_env}, which is not set. Set it to the key."
        )
    return Secret(value)


def filled(template: str, **places: object) -> str:
    """`template` with its places filled in, as parts of an address."""
    for place, value in places.items():
        template = template.replace(f"{{{place}}}", quote(str(value), safe=""))
    return template


async def pause(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


class RateLimit:
    """At most so many calls a second, evenly spaced."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1.0 / per_s
        self._clock = clock
        self._next = clock()

    async def __call__(self) -> None:
        """Wait for the turn."""
        wait_s = self._next - self._clock()
        self._next = max(self._next, self._clock()) + self._interval_s
        if wait_s > 0:
            await pause(wait_s)


async def retried(
    config: BarServerConfig,
    shown: str,
    attempt: Callable[[], Awaitable[T]],
    failures: Callable[[], int] | None = None,
) -> T:
    """Return what `attempt` returns, trying again after each `Passing`.

    `shown` is what is asked, for messages. `failures` says how many there were in a row, where an attempt does
    something useful before it fails; else it is the number of attempts.

    Raises
    ------
    DataError
        If it fails too often, or the server asks for a longer wait than is allowed.
    """
    from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

    def count(state: RetryCallState) -> int:
        return failures() if failures else state.attempt_number

    def wait_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return _wait_s(config, shown, error, count(state))

    async def once() -> T:
        return await attempt()

    retrying = AsyncRetrying(
        stop=lambda state: count(state) > config.retries,
        wait=wait_s,
        retry=retry_if_exception_type(Passing),
        sleep=pause,
        reraise=True,
    )
    try:
        return await retrying(once)
    except Passing as error:
        kept = "" if failures else "; finished pages are kept"
        raise DataError(f"{shown}: {error}, in {config.retries + 1} attempts. Try later{kept}.") from None


def _wait_s(config: BarServerConfig, shown: str, error: BaseException | None, failures: int) -> float:
    """What the server asks for, else a random time up to backoff x 2^(failures - 1), which is full jitter."""
    max_wait_s = int(config.max_wait_ns) / NS_PER_S
    asked_s = error.wait_s if isinstance(error, Passing) else None
    if asked_s is None:
        return random.uniform(0.0, min(max_wait_s, int(config.backoff_ns) / NS_PER_S * 2.0 ** (failures - 1)))
    if asked_s > max_wait_s:
        raise DataError(
            f"{shown}: {error}, and the server asks to wait {asked_s:,.0f} s. Try later, or raise bars.max_wait_ns."
        )
    return asked_s


@contextmanager
def running_session(
    config: BarServerConfig, secret: Secret
) -> Iterator[tuple[asyncio.Runner, aiohttp.ClientSession]]:
    """An event loop, and a session in it that ends with it; see `client_session`.

    Raises
    ------
    BtError
        If an event loop is running in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise BtError(
            f"bars={config.name} needs an event loop of its own, and one is running here, as in a notebook. Call it"
            " in a thread: asyncio.to_thread."
        )
    with asyncio.Runner() as runner:
        opened = client_session(config, secret)
        session = runner.run(opened.__aenter__())
        try:
            yield runner, session
        finally:
            runner.run(opened.__aexit__(None, None, None))


@asynccontextmanager
async def client_session(config: BarServerConfig, secret: Secret) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that sends the headers, waits no longer than ``timeout_ns``, and never follows to another host.

    Raises
    ------
    ConfigError
        If aiohttp or tenacity is not installed, or a header cannot be sent.
    """
    try:
        import aiohttp
        import tenacity  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"bars={config.name} needs {error.name}. Install it with: pip install 'bt-framework[bars]'"
        ) from None

    async def refuse(*_: Any) -> None:
        raise DataError("the server sends us to another address. Give that address as bars.url.")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    silence_s = int(config.timeout_ns) / NS_PER_S
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=silence_s, sock_read=silence_s)
    headers = secret.headers(config)
    if not all((name + value).isprintable() for name, value in headers.items()):
        raise ConfigError("headers must be printable text.")
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, trace_configs=[trace], auto_decompress=True
    ) as session:
        yield session


class JsonClient:
    """Asks for JSON over HTTP, not too often, and again if it fails for the moment."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        config: BarServerConfig,
        secret: Secret,
        limit: RateLimit,
        max_bytes: int,
    ) -> None:
        self._session, self._config, self._secret = session, config, secret
        self._limit, self._max_bytes = limit, max_bytes

    async def get(self, **places: object) -> tuple[bytes, Any]:
        """The answer for the address with its places filled in: as it came, and what it means.

        Raises
        ------
        DataError
            If the server refuses, fails too often, sends too much or no JSON, or sends us elsewhere.
        """
        url = self._secret.address(self._config.url, **places)
        shown = filled(self._config.url, **places).replace("{secret}", "***")
        return await retried(self._config, shown, lambda: self._once(url, shown))

    async def _once(self, url: str, shown: str) -> tuple[bytes, Any]:
        import aiohttp
        import orjson
        from yarl import URL

        for _ in range(_MAX_REDIRECTS + 1):
            await self._limit()
            try:
                async with self._session.get(URL(url, encoded=True), allow_redirects=False) as answer:
                    if answer.status in (301, 302, 303, 307, 308):
                        url = _same_host(url, answer.headers.get("Location", ""), shown)
                        continue
                    body = await self._body(answer, shown)
                    self._check_status(answer, body, shown)
            except BtError:
                raise
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Passing(connection_problem(error, self._config)) from None
            try:
                return body, orjson.loads(body)
            except orjson.JSONDecodeError:
                if body.lstrip()[:1] in (b"{", b"["):
                    raise Passing("the server sends JSON that breaks off, or is wrong") from None
                text = self._secret.hide(body[:_SHOWN].decode(errors="replace"), self._config)
                raise DataError(
                    f"{shown}: the server sends no JSON but {text[:80]!r}. Check bars.url."
                ) from None
        raise DataError(f"{shown}: the server sends us in circles. Check bars.url.")

    async def _body(self, answer: aiohttp.ClientResponse, shown: str) -> bytes:
        parts, size = [], 0
        async for part in answer.content.iter_chunked(1 << 16):
            size += len(part)
            if size > self._max_bytes:
                raise DataError(
                    f"{shown}: the answer is larger than {self._max_bytes:,} bytes. Lower bars.limit, or raise"
                    " bars.max_answer_bytes."
                )
            parts.append(part)
        return b"".join(parts)

    def _check_status(self, answer: aiohttp.ClientResponse, body: bytes, shown: str) -> None:
        status = f"the server says {answer.status} {answer.reason or ''}".rstrip()
        if answer.status in PASSING or answer.status >= 500:
            raise Passing(status, retry_after_s(answer.headers.get("Retry-After")))
        if answer.status != 200:
            text = self._secret.hide(body[: 4 * _SHOWN].decode(errors="replace"), self._config)[:_SHOWN]
            raise DataError(f"{shown}: {status}{': ' + text if text else ''}. Check bars.url and the key.")


def connection_problem(error: Exception, config: BarServerConfig) -> str:
    """What went wrong with a connection, without the libraries' own words, which may hold a key.

    Raises
    ------
    DataError
        If it will not be better next time.
    """
    import aiohttp

    host = urlsplit(config.url).netloc
    if isinstance(error, aiohttp.ClientSSLError):
        raise DataError(
            f"the server {host} cannot be trusted: its certificate is not known, or it speaks no TLS."
        ) from None
    if isinstance(error, TimeoutError):
        return f"the server is silent for {int(config.timeout_ns) / NS_PER_S:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the server {host} cannot be reached"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer breaks off"
    return f"the connection breaks ({type(error).__name__})"


def _same_host(url: str, location: str, shown: str) -> str:
    target = urljoin(url, location)
    before, after = urlsplit(url), urlsplit(target)
    if not location or (before.scheme, before.netloc) != (after.scheme, after.netloc):
        raise DataError(
            f"{shown}: the server sends us to another host, {after.netloc!r}, which is not followed. If that is"
            " right, give it as bars.url."
        )
    return target


def retry_after_s(text: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, which may be a number or a time; None if it says neither."""
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
