"""Bars by request, from a server that refuses, breaks off, lies, repeats itself and hangs."""

from __future__ import annotations

import asyncio
import gzip
import signal
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from bar_server import MINUTE_MS, START_MS, BarServer, bar, body, broken_off, json, silence, status
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.bars import download
from bt_framework.config.compose import compose
from bt_framework.errors import BtError, ConfigError, DataError, StorageError
from bt_framework.registry import Kind
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.rest import Rest, build

LISTS = {name: str(k) for k, name in enumerate(("time", "open", "high", "low", "close", "volume"))}
KEY = "k3y-that-nobody/may see"


@pytest.fixture
def config(server, tmp_path, waits):
    """Return a function that makes the configuration for pages of 10 bars from this server."""

    def config(path: str = "bars?symbol={symbol}&start={start}&limit={limit}", **keys: Any) -> Rest:
        given = {
            "url": f"http://127.0.0.1:{server.port}/{path}",
            "symbols": ["A"],
            "interval_ns": "1min",
            "start": "2023-11-14T22:14:00",
            "end": "2023-11-15",
            "limit": 10,
            "columns": LISTS,
            "requests_per_s": 1e6,
            "retries": 3,
            "cache_dir": str(tmp_path / "pages"),
        }
        return Rest(**(given | keys))

    return config


def bars(config: Rest, *, symbol: str = "A") -> list[float]:
    """Closes of a symbol; the whole of it keeps the contract."""
    table = check_bar_source(build(config))
    return table.filter(pa.compute.equal(table["symbol"], symbol))["close"].to_pylist()


def refused(config: Rest, error: type[BtError] = DataError) -> str:
    with pytest.raises(error) as raised:
        list(build(config).tables(lambda done, total: None))
    return str(raised.value)


ALL = [place + 1.5 for place in range(25)]
FROM_THE_START = "the answer for A from 2023-11-14T22:14:00Z on"


def test_pages_follow_each_other_until_there_is_no_more(server, config):
    assert bars(config(symbols=["A", "B"]), symbol="B") == ALL
    # 10, 10, 5 bars and none, of each symbol; what was kept is not asked for again, but for the end.
    assert [request.query["symbol"] for request in server.requests] == [*"AAAABBBB", "A", "B"]


@pytest.mark.parametrize("cap", [1_000, 3])
def test_windows_may_be_asked_for_and_a_server_may_send_less(server, config, cap):
    server.cap = cap
    path = "bars?symbol={symbol}&start={start}&end={end}&limit={limit}"
    assert bars(config(path, end="2023-11-14T22:39:00")) == ALL


def test_nothing_beyond_the_end_is_taken(config):
    assert bars(config(end="2023-11-14T22:19:00")) == ALL[:5]


def test_a_window_without_bars_is_passed_over(server, config):
    path = "bars?start={start}&end={end}"
    asked = config(path, start="2023-11-14T21:00:00", end="2023-11-14T22:39:00")
    assert bars(asked) == ALL


@pytest.mark.parametrize(
    "path", ["bars?start={start}&limit={limit}", "bars?start={start}&end={end}&limit={limit}"]
)
def test_whatever_is_missing_shuffled_and_repeated_every_bar_comes_once(server, config, tmp_path, path):
    @given(
        places=st.sets(st.integers(0, 60), min_size=1),
        cap=st.integers(1, 12),
        limit=st.integers(3, 12),
        seed=st.integers(),
    )
    @settings(max_examples=15)
    def check(places: set[int], cap: int, limit: int, seed: int) -> None:
        server.places, server.cap, server.disorder = sorted(places), cap, seed
        with TemporaryDirectory(dir=tmp_path) as pages:
            asked = config(path, limit=limit, end="2023-11-14T23:20:00", cache_dir=pages)
            assert bars(asked) == [place + 1.5 for place in sorted(places)]

    check()


def test_objects_are_read_by_their_keys_and_times_written_as_iso(server, config):
    rows = [{"t": {"open": "2023-11-14T22:14:00Z"}, "c": 5, "v": None}]
    server.next = [json({"data": {"items": rows}}), json({"data": {"items": []}})]
    asked = config(
        "bars?from={start}",
        rows="data.items",
        columns={"time": "t.open", "close": "c", "volume": "v"},
        request_time="iso",
    )
    (table,) = [t for t in build(asked).tables(lambda done, total: None) if t.num_rows]
    (row,) = table.to_pylist()
    assert [row[k] for k in ("open", "high", "low", "close", "volume")] == [5.0, 5.0, 5.0, 5.0, None]
    assert server.requests[0].query["from"] == "2023-11-14T22:14:00Z"


@pytest.mark.parametrize(
    "trouble",
    [
        [status(429), status(429), status(429)],
        [status(500), status(502), status(503)],
        [broken_off],
        [body('[[1700000040000, "1", "3"')],
        [silence],
    ],
    ids=["429", "5xx", "broken off", "half of the JSON", "silent"],
)
def test_what_passes_is_tried_again(server, config, waits, trouble):
    server.next = list(trouble)
    assert bars(config(timeout_ns="200ms")) == ALL
    assert len(server.requests) == len(trouble) + 4 + 1
    # Full jitter: up to 0.5 s, then twice as much each time.
    assert len(waits) == len(trouble)
    assert all(0 <= wait <= 0.5 * 2**k for k, wait in enumerate(waits))


def test_a_server_that_says_how_long_to_wait_is_obeyed(server, config, waits):
    soon = formatdate(time.time() + 20, usegmt=True)
    server.next = [
        status(429, Retry_After="7"),
        status(503, Retry_After=soon),
        status(429, Retry_After="soon"),
    ]
    assert bars(config()) == ALL
    assert waits[0] == 7.0
    assert 15 < waits[1] <= 20
    assert waits[2] <= 2.0


def test_a_server_that_asks_for_too_much_patience_is_an_error(server, config):
    server.next = [status(429, Retry_After="3600")]
    asked = config()
    assert refused(asked) == (
        f"{address(server)}&start={START_MS}&limit=10: the server says 429 Too Many Requests, and the server asks to"
        " wait 3,600 s. Try later, or raise bars.max_wait_ns."
    )


def address(server: BarServer) -> str:
    return f"http://127.0.0.1:{server.port}/bars?symbol=A"


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        (status(500), "the server says 500 Internal Server Error"),
        (status(429), "the server says 429 Too Many Requests"),
        (broken_off, "the answer breaks off"),
        (body("[[1,"), "the server sends JSON that breaks off, or is wrong"),
        (silence, "the server is silent for 0.05 s"),
    ],
)
def test_what_does_not_pass_is_an_error_after_so_many_attempts(server, config, trouble, problem):
    server.next = [trouble] * 4
    assert refused(config(timeout_ns="50ms")) == (
        f"{address(server)}&start={START_MS}&limit=10: {problem}, in 4 attempts. Try later; finished pages are kept."
    )
    assert len(server.requests) == 4


def test_a_download_that_failed_goes_on_where_it_was(server, config, tmp_path):
    first = config(retries=0)
    tables = build(first).tables(lambda done, total: None)
    assert next(tables).num_rows == 10
    server.next = [status(503)]
    with pytest.raises(DataError):
        list(tables)
    assert not list((tmp_path / "pages").glob("*.part"))
    before = len(server.requests)
    assert bars(first) == ALL
    starts = [int(request.query["start"]) for request in server.requests[before:]]
    assert starts[0] == START_MS + 10 * MINUTE_MS


def test_a_download_that_was_left_goes_on_where_it_was(server, config):
    tables = build(config()).tables(lambda done, total: None)
    next(tables)
    tables.close()
    assert bars(config()) == ALL
    assert [int(r.query["start"]) for r in server.requests].count(START_MS) == 1


def test_other_questions_have_other_pages(server, config):
    assert bars(config()) == ALL
    before = len(server.requests)
    bars(config(limit=5))
    assert len(server.requests) > before + 3


def test_a_damaged_page_is_asked_for_again(server, config, tmp_path):
    assert bars(config()) == ALL
    for file in (tmp_path / "pages").iterdir():
        file.write_bytes(b"[[17")
    assert bars(config()) == ALL


def test_pages_that_cannot_be_kept_are_an_error_that_names_the_folder(config, tmp_path):
    (tmp_path / "file").write_text("")
    message = refused(config(cache_dir=str(tmp_path / "file")), StorageError)
    assert message.startswith(f"pages cannot be kept in {tmp_path / 'file'}: ")


def test_bars_in_any_order_and_twice_come_once_and_in_order(server, config):
    server.next = [json([bar(2), bar(0), bar(1), bar(0)]), json([bar(2), bar(3)])]
    source = build(config())
    table = pa.concat_tables(source.tables(lambda done, total: None))
    assert table["close"].to_pylist() == ALL
    assert source.findings == {"bars that came twice": 1}


def test_two_bars_of_one_time_that_differ_are_refused(server, config):
    server.next = [json([bar(0), bar(0, close="9")])]
    assert refused(config()).endswith(f"{FROM_THE_START} has two different bars at 2023-11-14T22:14:00Z.")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"code": -1121, "msg": "Invalid symbol."}, "must be a list as a whole, was \"{'code': -1121, "),
        ([bar(0), bar(1, close="abc")], ": bar 1 has no number for the close at '4': [1700000100000, "),
        ([bar(0, close=None)], ": bar 0 has no number for the close at '4': "),
        ([bar(0, close=True)], ": bar 0 has no number for the close at '4': "),
        ([bar(0, open=[1])], ": bar 0 has no number for the open at '1': "),
        ([bar(0, volume="inf")], ": bar 0 has no number for the volume at '5': "),
        ([bar(0, close="1e999")], ": bar 0 has no number for the close at '4': "),
        ([bar(0)[:4]], ": bar 0 has no number for the close at '4': "),
        ([bar(0, time=None)], ": bar 0 has no time at '0': "),
        ([bar(0, time=10**30)], ": bar 0 has no time at '0': "),
        ([bar(0, time=12)], ": bar 0: the time 12 has not 8, 10, 13, 16 or 19 digits"),
        ([bar(0), bar(1, time="x")], ": some times are numbers and some are texts. Check bars.columns."),
        (["surprise"], ": bar 0 has no time at '0': surprise. Check bars.columns."),
        ([None], ": bar 0 has no time at '0': None. Check bars.columns."),
    ],
)
def test_an_answer_of_other_types_is_refused_whole_and_not_kept(server, config, tmp_path, answer, problem):
    server.next = [json(answer)]
    assert f"{FROM_THE_START}{'' if problem[0] == ':' else ' '}{problem}" in refused(config())
    assert not (tmp_path / "pages").exists()
    assert len(server.requests) == 1


def test_an_answer_that_is_no_json_is_an_error_at_once(server, config):
    server.next = [body("<html>please log in</html>", "text/html")]
    assert refused(config()).endswith(
        ": the server sends no JSON but '<html>please log in</html>'. Check bars.url."
    )
    assert len(server.requests) == 1


def test_a_refusal_is_an_error_at_once_with_what_the_server_says(server, config):
    server.next = [status(404, "no such\n pair")]
    assert refused(config()).endswith(
        ": the server says 404 Not Found: no such pair. Check bars.url and the key."
    )
    assert len(server.requests) == 1


def test_a_page_without_any_bar_is_an_error(server, config):
    server.places = []
    assert ": no bar of A between 2023-11-14T22:14:00 and 2023-11-15. Check bars.symbols, " in refused(
        config()
    )


def test_answers_that_are_too_large_are_refused_packed_or_not(server, config):
    server.next = [body(b"[" + b" " * 2_000 + b"]")]
    assert ": the answer is larger than 1,000 bytes. Lower bars.limit" in refused(
        config(max_answer_bytes=1_000)
    )

    async def packed(request):
        from aiohttp import web

        content = gzip.compress(b"[" + b" " * 2_000_000 + b"]")
        return web.Response(
            body=content, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
        )

    server.next = [packed]
    assert ": the answer is larger than 10,000 bytes." in refused(config(max_answer_bytes=10_000))


def test_a_server_may_send_us_on_within_itself_but_not_to_others(server, config):
    there = f"/elsewhere?symbol=A&start={START_MS}&limit=10"
    server.next = [status(302, Location=there)]
    assert bars(config()) == ALL
    before = len(server.requests)
    server.next = [status(307, Location=f"http://localhost:{server.port}{there}")]
    message = refused(config(limit=9))
    assert (
        f": the server sends us to another host, 'localhost:{server.port}', which is not followed." in message
    )
    assert len(server.requests) == before + 1
    server.next = [status(302, Location=there)] * 9
    assert refused(config(limit=8)).endswith(": the server sends us in circles. Check bars.url.")


def test_a_server_that_is_not_there_is_an_error(server, config):
    asked = config(retries=1, url="http://127.0.0.1:9/bars?start={start}")
    assert "the server 127.0.0.1:9 cannot be reached, in 2 attempts." in refused(asked)


def test_a_server_that_speaks_no_tls_is_an_error_at_once(server, config):
    asked = config(url=f"https://127.0.0.1:{server.port}/bars?start={{start}}")
    assert refused(asked) == (
        f"the server 127.0.0.1:{server.port} cannot be trusted: its certificate is not known, or it speaks no TLS."
    )


def test_bars_that_have_not_closed_are_left_out_and_not_kept(server, config, tmp_path):
    now_ms = time.time_ns() // 1_000_000
    rows = [bar(0, time=now_ms - 90_000), bar(1, time=now_ms - 30_000), bar(2, time=now_ms + 30_000)]
    server.next = [json(rows)]
    source = build(
        config(start="2026-01-01" if now_ms > 1_767_225_600_000 else "2025-01-01", end="2100-01-01")
    )
    table = pa.concat_tables(source.tables(lambda done, total: None))
    assert table["close"].to_pylist() == [1.5]
    assert source.findings == {"bars that had not closed": 1}
    assert not (tmp_path / "pages").exists()


def test_the_key_is_sent_and_is_in_no_message_and_no_file(server, config, tmp_path, monkeypatch):
    monkeypatch.setenv("BARS_KEY", KEY)
    keys = {"secret_env": "BARS_KEY", "headers": {"X-Client": "hidden-too"}}
    by_header = config(secret_header="X-Key", secret_prefix="Key ", **keys)
    server.next = [status(403, f"the key {KEY} of hidden-too is wrong")]
    assert refused(by_header).endswith(
        ": the server says 403 Forbidden: the key *** of *** is wrong. Check bars.url and the key."
    )
    assert server.requests[-1].headers["X-Key"] == f"Key {KEY}"
    assert server.requests[-1].headers["X-Client"] == "hidden-too"
    by_address = config("bars?start={start}&limit=10&key={secret}", secret_header="", **keys)
    for trouble in (status(403, KEY), status(500), body(f"<p>{KEY}</p>")):
        server.next = [trouble] * 4
        message = refused(by_address)
        assert "k3y" not in message
        assert "key=***" in message
    assert server.requests[-1].query["key"] == KEY
    server.next = []
    assert bars(by_address) == ALL
    kept = b"".join(file.read_bytes() + file.name.encode() for file in (tmp_path / "pages").iterdir())
    assert b"k3y" not in kept
    assert "k3y" not in repr(download.secret_of(by_address))


def test_the_key_is_in_no_composition():
    overrides = ["bars=rest", "bars.headers={X-Key: k3y}", "bars.secret_env=k3y"]
    composition = compose(overrides)
    assert composition.one(Kind.BARS).config.headers == {"X-Key": "k3y"}
    assert "k3y" not in str(composition.resolved)


def test_a_key_that_is_not_there_is_named_by_its_variable(config, monkeypatch):
    monkeypatch.delenv("BARS_KEY", raising=False)
    assert refused(config(secret_env="BARS_KEY"), ConfigError) == (
        "secret_env names the environment variable BARS_KEY, which is not set. Set it to the key."
    )


def test_without_the_optional_packages_the_install_line_is_shown(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tenacity", None)
    assert refused(config(), ConfigError) == (
        "bars=rest needs tenacity. Install it with: pip install 'bt-framework[bars]'"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"url": "ftp://x/{start}"},
            "url must begin with http://HOST or https://HOST, was 'ftp://x/{start}'.",
        ),
        ({"url": "https://{symbol}.x/{start}"}, "url must begin with http://HOST or https://HOST"),
        ({"url": "file:///etc/passwd?{start}"}, "url must begin with http://HOST or https://HOST"),
        (
            {"url": "https://u:pw@x/{start}"},
            "url must hold no user and password. Put the key into an environment",
        ),
        (
            {"url": "https://x/{begin}"},
            "url's places must be one of end, limit, secret, start, symbol, was 'begin'.",
        ),
        (
            {"url": "https://x/"},
            "url must hold {start}, and {symbol} if there are several, was 'https://x/'.",
        ),
        ({"url": "http://x/{start}", "secret_env": "K"}, "url must begin with https:// where a key is sent"),
        (
            {"url": "https://x/{start}{secret}"},
            "secret_env must name the environment variable that fills {secret}",
        ),
        (
            {"secret_env": "sk-12345"},
            "secret_env must be the name of an environment variable, not the key itself.",
        ),
        ({"symbols": ["A", "A"]}, "symbols must be different names, was ['A', 'A']."),
        ({"interval_ns": 1_500}, "interval_ns must be whole microseconds, was 1500."),
        (
            {"start": "2024-01-02", "end": "2024-01-01"},
            "end must be later than start (2024-01-02), was 2024-01-01.",
        ),
        ({"requests_per_s": 0}, "requests_per_s must be > 0 and finite, was 0."),
        ({"limit": 0}, "limit must be >= 1, was 0."),
        (
            {"request_time": "day"},
            "request_time must be one of date, iso, ms, ns, s, us, yyyymmdd, was 'day'.",
        ),
        ({"request_time": "date"}, "request_time must hold a time of day for bars of less, was 'date'."),
        ({"columns": {"px": "4"}}, "columns must be one of close, high, low, open, time, volume, was 'px'."),
        ({"retries": -1}, "retries must be between 0 and 100, was -1."),
    ],
)
def test_a_wrong_configuration_is_refused(config, keys, message):
    with pytest.raises(ConfigError) as error:
        config(**keys)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("key", ["url", "symbols", "start", "end", "interval_ns"])
def test_what_must_be_given_is_named(config, key):
    given = config()
    setattr(given, key, type(getattr(given, key))())
    with pytest.raises(ConfigError, match=rf"bars\.{key} must be given for bars=rest, was"):
        build(given)


def test_calls_are_evenly_spaced(waits):
    now = 100.0

    async def calls() -> None:
        nonlocal now
        limit = download.RateLimit(4.0, lambda: now)
        await limit()
        await limit()
        now += 10.0
        await limit()
        now += 0.1
        await limit()

    asyncio.run(calls())
    assert waits == pytest.approx([0.25, 0.15])


def test_the_folder_of_pages_is_in_the_cache_of_the_user_by_default(config, monkeypatch, tmp_path):
    from bt_plugins.bars.rest._pages import PageCache

    monkeypatch.setenv("BT_CACHE_DIR", str(tmp_path / "own"))
    assert PageCache(config(cache_dir="")).folder == Path(tmp_path / "own" / "downloads")


def test_a_download_that_is_interrupted_goes_on_where_it_was(server, tmp_path):
    words = [
        "bars=rest",
        f"bars.url='http://127.0.0.1:{server.port}/bars?start={{start}}&limit={{limit}}'",
        "bars.symbols=[A]",
        "bars.interval_ns=1min",
        "bars.start=2023-11-14T22:14:00",
        "bars.end=2023-11-15",
        "bars.limit=10",
        "bars.columns={time: 0, close: 4}",
        f"bars.cache_dir={tmp_path / 'pages'}",
        f"store_dir={tmp_path / 'store'}",
    ]
    code = "import sys; from bt_framework.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "validate", *words]
    server.next = [server.right, silence]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert server.heard.acquire(timeout=60)
        assert server.heard.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, b"Traceback" in errors) == (130, False), errors.decode()
    assert len(server.requests) == 2
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "25 bars" in done.stdout
    assert [int(r.query["start"]) for r in server.requests[2:4]] == [
        START_MS + k * MINUTE_MS for k in (10, 20)
    ]


def test_inside_of_an_event_loop_it_says_what_to_do(config):
    async def inside() -> str:
        return refused(config(), BtError)

    assert asyncio.run(inside()) == (
        "bars=rest needs an event loop of its own, and one is running here, as in a notebook. Call it in a thread:"
        " asyncio.to_thread."
    )
