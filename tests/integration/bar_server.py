"""A server of bars on this machine that misbehaves as it is told, in a thread of its own."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]
START_MS = 1_700_000_040_000
MINUTE_MS = 60_000


def bar(place: int, **changed: Any) -> list[Any]:
    """One bar as a list: time ms, then open, high, low, close, volume as text."""
    values = {"time": START_MS + place * MINUTE_MS, "open": "1", "high": "3", "low": "0.5"}
    values |= {"close": f"{place + 1}.5", "volume": "10"} | changed
    return list(values.values())


class BarServer:
    """Answers ``/bars`` with bars; the next answers are those of `next`, if there are any.

    Attributes
    ----------
    places : list of int
        Which bars there are, in minutes from the first.
    cap : int
        Most bars of a page, whatever is asked for.
    disorder : int or None
        Seed: pages are shuffled, and some bars are there twice.
    """

    def __init__(self, bars: int = 25) -> None:
        self.places = list(range(bars))
        self.disorder: int | None = None
        self.next: list[Behaviour] = []
        self.requests: list[web.Request] = []
        self.heard = threading.Semaphore(0)
        self.cap = 1_000
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """Stop listening, and the thread."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.heard.release()
        return await (self.next.pop(0) if self.next else self.right)(request)

    async def right(self, request: web.Request) -> web.StreamResponse:
        """Answer as one should."""
        return web.json_response(self.page(request))

    def page(self, request: web.Request) -> list[list[Any]]:
        """The bars that a request asks for; like many servers, it sends the one at ``end`` too."""
        first = int(request.query["start"])
        last = int(request.query.get("end", "9" * 15))
        limit = min(self.cap, int(request.query.get("limit", "1000")))
        found = [row for row in map(bar, self.places) if first <= row[0] <= last][:limit]
        if self.disorder is not None and found:
            chance = random.Random(self.disorder + first)
            found += chance.choices(found, k=chance.randrange(3))
            chance.shuffle(found)
        return found


def status(code: int, text: str = "", **headers: str) -> Behaviour:
    """Answer with a status; underscores in names of headers are hyphens."""

    async def behave(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return behave


def body(content: str | bytes, content_type: str = "application/json") -> Behaviour:
    """Answer with something."""

    async def behave(request: web.Request) -> web.StreamResponse:
        raw = content if isinstance(content, bytes) else content.encode()
        return web.Response(body=raw, content_type=content_type)

    return behave


def json(value: Any) -> Behaviour:
    """Answer with JSON."""

    async def behave(request: web.Request) -> web.StreamResponse:
        return web.json_response(value)

    return behave


async def silence(request: web.Request) -> web.StreamResponse:
    """Answer with nothing, until the other side goes."""
    await asyncio.sleep(30)
    return web.Response()


async def broken_off(request: web.Request) -> web.StreamResponse:
    """Announce more than is sent, and hang up."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b"[[1700000040000")
    assert request.transport is not None
    request.transport.close()
    return response
