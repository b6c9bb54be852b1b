"""Bars from a stream that breaks, repeats itself, skips, lies and falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
import pytest
from aiohttp import web
from bar_server import MINUTE_MS, START_MS, BarServer, Behaviour, status

from bt_framework.errors import ConfigError, DataError
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.websocket import Websocket, build

COLUMNS = {
    "time": "k.t",
    "symbol": "s",
    "closed": "k.x",
    "open": "k.o",
    "high": "k.h",
    "low": "k.l",
    "close": "k.c",
    "volume": "k.v",
}
KEY = "k3y-that-nobody/may see"


@pytest.fixture
def config(server, waits):
    """Return a function that makes the configuration of a stream from this server."""

    def config(path: str = "stream", **keys: Any) -> Websocket:
        given = {
            "url": f"ws://127.0.0.1:{server.port}/{path}",
            "symbols": ["A"],
            "interval_ns": "1min",
            "rows": "data",
            "columns": COLUMNS,
            "bars": 3,
            "timeout_ns": "5s",
            "retries": 2,
        }
        return Websocket(**(given | keys))

    return config


def message(place: int, symbol: str = "a", *, closed: Any = True, **changed: Any) -> str:
    """A message with one bar; symbols are written small, as some servers do."""
    values = {
        "t": START_MS + place * MINUTE_MS,
        "x": closed,
        "o": "1",
        "h": "9",
        "l": "1",
        "c": f"{place}.5",
        "v": 1,
    }
    return orjson.dumps({"stream": "bars", "data": {"s": symbol, "k": values | changed}}).decode()


class Talk:
    """One connection after another: says its messages, then hangs up, or stays silent."""

    def __init__(self, *connections: Sequence[str | bytes], then: str = "hang up") -> None:
        self.connections = list(connections)
        self.then = then
        self.heard: list[list[str]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        place = len(self.heard)
        self.heard.append([])
        listening = asyncio.ensure_future(self._listen(socket, place))
        for text in self.connections[place] if place < len(self.connections) else ():
            await (socket.send_bytes(text) if isinstance(text, bytes) else socket.send_str(text))
        if self.then == "hang up" or place < len(self.connections) - 1:
            await asyncio.sleep(0.02)
            listening.cancel()
            assert request.transport is not None
            request.transport.close()
        else:
            await asyncio.wait([listening], timeout=5)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, place: int) -> None:
        async for heard in socket:
            self.heard[place].append(heard.data)


def collect(
    server: BarServer, config: Websocket, talk: Behaviour
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Closes by symbol, and findings."""
    server.next = [talk] * 20
    source = build(config)
    table = check_bar_source(source, repeatable=False)
    closes: dict[str, list[float]] = {}
    for row in table.to_pylist():
        closes.setdefault(row["symbol"], []).append(row["close"])
    return closes, dict(source.findings)


def refused(server: BarServer, config: Websocket, talk: Behaviour) -> str:
    server.next = [talk] * 20
    with pytest.raises(DataError) as error:
        list(build(config).tables(lambda done, total: None))
    return str(error.value)


THREE = [message(0), message(1), message(2)]


def test_closed_bars_are_collected_until_there_are_enough(server, config):
    talk = Talk([message(0, closed=False), message(0), message(1, closed=False), *THREE[1:], message(3)])
    closes, findings = collect(server, config(), talk)
    assert (closes, findings) == ({"A": [0.5, 1.5, 2.5]}, {})


def test_values_and_times_are_those_of_the_message(server, config):
    server.next = [Talk([message(7, v="2.25", o=None)])]
    (table,) = build(config(bars=1)).tables(lambda done, total: None)
    (row,) = table.to_pylist()
    assert int(row["datetime"].timestamp() * 1_000) == START_MS + 7 * MINUTE_MS
    values = [row[k] for k in ("symbol", "open", "high", "low", "close", "volume")]
    assert values == ["A", None, 9.0, 1.0, 7.5, 2.25]


def test_answers_to_subscriptions_and_other_messages_are_passed_over(server, config):
    others = ['{"result":null,"id":1}', "[]", '{"data":{"s":"a"}}', '"hello"', '{"data":null}']
    talk = Talk([*others, *THREE])
    assert collect(server, config(), talk) == ({"A": [0.5, 1.5, 2.5]}, {})


def test_each_symbol_is_subscribed_to_and_others_are_counted(server, config):
    asked = config(symbols=["A", "B"], bars=2, subscribe=['{"op":"hello"}', '{"sub":"{symbol}@1m"}'])
    talk = Talk([message(0, "C"), message(0, "A"), message(0, "b")], then="stay")
    closes, findings = collect(server, asked, talk)
    assert closes == {"A": [0.5], "B": [0.5]}
    assert findings == {"bars of other symbols": 1}
    assert talk.heard[0][:3] == ['{"op":"hello"}', '{"sub":"A@1m"}', '{"sub":"B@1m"}']


def test_a_stream_that_breaks_is_joined_again_and_bars_come_once(server, config, waits):
    talk = Talk([message(0), message(1)], [message(1), message(4)])
    closes, findings = collect(server, config(subscribe=["{symbol}"]), talk)
    assert closes == {"A": [0.5, 1.5, 4.5]}
    assert findings == {"bars that came twice": 1, "bars missed": 2}
    assert talk.heard == [["A"], ["A"]]
    assert len(waits) == 1
    assert 0 <= waits[0] <= 0.5


@pytest.mark.parametrize(
    "keys",
    [{"timeout_ns": "200ms", "heartbeat_ns": 0}, {"timeout_ns": "10min", "heartbeat_ns": "100ms"}],
    ids=["silent", "no pong"],
)
def test_a_stream_that_is_dead_is_joined_again(server, config, keys):
    talk = Talk([message(1), message(2)])
    connections = []

    async def dead_first(request: web.Request) -> web.StreamResponse:
        connections.append(request)
        if len(connections) > 1:
            return await talk(request)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.send_str(message(0))
        while not socket.closed:
            await socket.receive()
        return socket

    closes, _ = collect(server, config(**keys, duration_ns="10s"), dead_first)
    assert closes == {"A": [0.5, 1.5, 2.5]}
    assert len(connections) == 2


def test_bars_that_are_late_or_come_again_with_other_values_are_counted_and_left_out(server, config):
    talk = Talk([message(1), message(0), message(1, c="99"), message(2), message(3)])
    closes, findings = collect(server, config(), talk)
    assert closes == {"A": [1.5, 2.5, 3.5]}
    assert findings == {
        "bars older than the last one": 1,
        "bars that came again with other values; the first ones are kept": 1,
    }


def test_lists_of_bars_and_binary_messages_are_read(server, config):
    rows = [[START_MS, "5"], [START_MS + MINUTE_MS, "6"], [START_MS + 2 * MINUTE_MS, "7"]]
    asked = config(rows="", columns={"time": "0", "close": "1"})
    assert collect(server, asked, Talk([orjson.dumps(rows)]))[0] == {"A": [5.0, 6.0, 7.0]}
    single = [orjson.dumps(row).decode() for row in rows]
    assert collect(server, asked, Talk(single))[0] == {"A": [5.0, 6.0, 7.0]}


def test_tables_are_handed_on_before_the_end(server, config):
    server.next = [Talk([message(k) for k in range(10)])]
    tables = list(build(config(bars=10, bars_per_table=4)).tables(lambda done, total: None))
    assert [table.num_rows for table in tables] == [4, 4, 2]


def test_time_that_is_over_ends_the_stream(server, config):
    talk = Talk([message(0), message(1)], then="stay")
    asked = config(bars=0, duration_ns="300ms")
    assert collect(server, asked, talk)[0] == {"A": [0.5, 1.5]}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("{half", "it is no JSON"),
        ("nonsense", "it is no JSON"),
        (message(1, c="abc"), "bar 0 has no number for the close at 'k.c': "),
        (message(1, c=True), "bar 0 has no number for the close at 'k.c': "),
        (message(1, h={}), "bar 0 has no number for the high at 'k.h': "),
        (message(1, t="soon"), "bar 0: the time 'soon' is not understood"),
        (message(1, t=None), "a bar has no time, or does not say whether it is closed: {"),
        (message(1, closed="yes"), "a bar has no time, or does not say whether it is closed: {"),
        (message(1, symbol=5), "a bar has no symbol at 's': {"),
    ],
)
def test_a_message_that_is_not_understood_is_an_error_or_counted(server, config, bad, problem):
    start = f"ws://127.0.0.1:{server.port}/stream: a message is not understood: {problem}"
    assert refused(server, config(), Talk([bad])).startswith(start)
    closes, findings = collect(server, config(max_bad_messages=1), Talk([message(0), bad, *THREE[1:]]))
    assert closes == {"A": [0.5, 1.5, 2.5]}
    assert findings == {"messages not understood": 1}


def test_what_came_before_a_stream_failed_for_good_is_kept(server, config):
    closes, findings = collect(server, config(), Talk([message(0)]))
    assert closes == {"A": [0.5]}
    url = f"ws://127.0.0.1:{server.port}/stream"
    reason = f"early end of the stream: {url}: the server closes the connection, in 3 attempts. Try later."
    assert findings == {reason: 1}


def test_a_stream_without_bars_is_an_error_after_so_many_attempts(server, config, waits):
    talk = Talk()
    assert refused(server, config(), talk) == (
        f"ws://127.0.0.1:{server.port}/stream: the server closes the connection, in 3 attempts. Try later."
    )
    assert len(talk.heard) == 3
    assert all(0 <= wait <= 0.5 * 2**k for k, wait in enumerate(waits))
    quiet = config(bars=0, duration_ns="100ms")
    assert refused(server, quiet, Talk(then="stay")).endswith(
        "/stream: no closed bar came. Check bars.subscribe, bars.rows and bars.columns."
    )


def test_a_server_that_refuses_is_an_error_at_once_and_one_that_is_busy_is_asked_again(server, config, waits):
    assert refused(server, config(), status(403)) == (
        f"ws://127.0.0.1:{server.port}/stream: the server says 403 instead of opening a stream. Check bars.url and the"
        " key."
    )
    assert len(server.requests) == 1
    server.next = [status(503), status(429, Retry_After="7"), Talk(THREE)]
    source = build(config())
    assert pa.concat_tables(source.tables(lambda done, total: None)).num_rows == 3
    assert waits == [waits[0], 7.0]


def test_a_stream_that_leads_to_another_place_is_not_followed(server, config):
    elsewhere = status(302, Location=f"http://localhost:{server.port}/other")
    assert "the server sends us to another address. Give that address as bars.url." in refused(
        server, config(), elsewhere
    )
    assert len(server.requests) == 1


def test_a_message_that_is_too_large_is_refused(server, config):
    large = Talk([message(0, c="1" * 5_000)])
    assert "a message is larger than 1,000 bytes. Raise bars.max_message_bytes." in refused(
        server, config(max_message_bytes=1_000), large
    )


def test_a_server_that_is_not_there_is_an_error(server, config):
    asked = config(url="ws://127.0.0.1:9/stream")
    assert "the server 127.0.0.1:9 cannot be reached, in 3 attempts." in refused(server, asked, Talk())


def test_the_key_is_sent_and_is_in_no_message(server, config, monkeypatch):
    monkeypatch.setenv("BARS_KEY", KEY)
    asked = config("stream?key={secret}", secret_env="BARS_KEY", secret_header="X-Key")
    for trouble in (status(403, KEY), status(500, KEY), Talk(["{half"]), Talk()):
        assert "k3y" not in refused(server, asked, trouble)
    assert server.requests[-1].query["key"] == KEY
    assert server.requests[-1].headers["X-Key"] == KEY


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "http://x/"}, "url must begin with ws://HOST or wss://HOST, was 'http://x/'."),
        (
            {"url": "ws://x/", "secret_env": "K"},
            "url must begin with wss:// where a key is sent, was 'ws://x/'.",
        ),
        (
            {"symbols": ["A", "B"], "columns": {"time": "t", "close": "c"}},
            "columns.symbol must be given: there are",
        ),
        ({"bars": -1}, "bars must be >= 0, was -1."),
        ({"bars_per_table": 0}, "bars_per_table must be >= 1, was 0."),
        (
            {"columns": {"when": "t"}},
            "columns must be one of close, closed, high, low, open, symbol, time, volume,",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(config, keys, message):
    with pytest.raises(ConfigError) as error:
        config(**keys)
    assert str(error.value).startswith(message)


def test_a_stream_that_would_never_end_is_refused(config):
    with pytest.raises(ConfigError, match=r"bars\.bars or bars\.duration_ns must be > 0, or it never ends\."):
        build(config(bars=0))
