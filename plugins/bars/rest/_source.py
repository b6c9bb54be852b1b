"""Bars page by page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from bt_framework.bars.building import raw_bars, slices
from bt_framework.bars.download import JsonClient, RateLimit, filled, running_session, secret_of
from bt_framework.bars.json_bars import BadBar, at_path, bar_times, bar_values
from bt_framework.bars.source import BarSource, Progress
from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import DataError
from bt_framework.units import NS_PER_US
from bt_plugins.bars.rest import Rest
from bt_plugins.bars.rest._pages import PageCache

TWICE = "bars that came twice"
NOT_CLOSED = "bars that had not closed"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Page:
    """Bars of one answer: new ones in order of time; `last_us` is 0 if there is none."""

    table: pa.Table
    last_us: int
    at_end: bool


class RestBars(BarSource):
    """Bars of one symbol after another."""

    def __init__(self, config: Rest) -> None:
        self.config: Rest = config
        self._start_us = parse_time_ns(config.start, "start") // NS_PER_US
        self._end_us = parse_time_ns(config.end, "end") // NS_PER_US
        self._step_us = int(config.interval_ns) // NS_PER_US
        self._by_window = "{end}" in config.url
        self._cache = PageCache(config)

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of one symbol each, a page or a part of it."""
        config, secret = self.config, secret_of(self.config)
        self.findings.clear()
        # Nothing is asked of the future.
        self._end_us = min(self._end_us, max(time.time_ns() // NS_PER_US, self._start_us + 1))
        total = self._end_us - self._start_us
        with running_session(config, secret) as (runner, session):
            limit = RateLimit(config.requests_per_s)
            client = JsonClient(session, config, secret, limit, config.max_answer_bytes)
            for place, symbol in enumerate(config.symbols):
                for cursor, table in self._pages(runner, client, symbol):
                    progress(place * total + cursor - self._start_us, len(config.symbols) * total)
                    yield from slices(table)

    def _pages(
        self, runner: asyncio.Runner, client: JsonClient, symbol: str
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield how far each page goes, us, and its bars."""
        cursor, found = self._start_us, False
        while cursor < self._end_us:
            window_us = self.config.limit * self._step_us if self._by_window else self._end_us - cursor
            until = min(self._end_us, cursor + window_us)
            page = self._page(runner, client, symbol, cursor, until)
            if page.last_us:
                found, cursor = True, min(page.last_us + self._step_us, self._end_us)
            elif self._by_window and not page.at_end:
                cursor = until
            else:
                cursor = self._end_us
            yield cursor, page.table
            if page.at_end:
                break
        if not found:
            raise DataError(
                f"{filled(self.config.url, symbol=symbol)}: no bar of {symbol} between {self.config.start} and"
                f" {self.config.end}. Check bars.symbols, bars.start and bars.end."
            )

    def _page(self, runner: asyncio.Runner, client: JsonClient, symbol: str, start: int, until: int) -> _Page:
        """Bars from `start` on, us, before `until`: kept ones, or else asked for and kept."""
        asked = (symbol, start, until) if self._by_window else (symbol, start)
        kept = self._cache.get(*asked)
        if kept is not None:
            return self._bars(kept, symbol, start, until)
        places = {
            "symbol": symbol,
            "start": written(start, self.config.request_time),
            "end": written(until, self.config.request_time),
            "limit": self.config.limit,
        }
        body, answer = runner.run(client.get(**places))
        page = self._bars(answer, symbol, start, until)
        if page.last_us and not page.at_end:
            self._cache.put(body, *asked)
        return page

    def _bars(self, answer: Any, symbol: str, start: int, until: int) -> _Page:
        """The bars of an answer; one that is not understood is refused whole."""
        config = self.config
        rows = at_path(answer, config.rows)
        where = f"{config.url}: the answer for {symbol} from {written(start, 'iso')} on"
        if not isinstance(rows, list):
            at = f"at {config.rows!r}" if config.rows else "as a whole"
            raise DataError(f"{where} must be a list {at}, was {str(rows)[:100]!r}. Check bars.rows.")
        try:
            times = bar_times(rows, config.columns, config.time_format, config.time_zone)
            values = bar_values(rows, config.columns)
        except BadBar as error:
            raise DataError(f"{where}: {error}. Check bars.columns.") from None
        times, values = self._once(times, values, where)
        closed = times + self._step_us <= time.time_ns() // NS_PER_US
        wanted = (times >= start) & (times < until)
        if np.any(wanted & ~closed):
            self.findings[NOT_CLOSED] += int(np.sum(wanted & ~closed))
        new = np.flatnonzero(wanted & closed)
        table = raw_bars(symbol, times[new], {field: numbers[new] for field, numbers in values.items()})
        return _Page(table, int(times[new[-1]]) if len(new) else 0, bool(np.any(wanted & ~closed)))

    def _once(
        self, times: np.ndarray[Any, Any], values: dict[str, np.ndarray[Any, Any]], where: str
    ) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
        """The bars in order of time, each once."""
        order = np.argsort(times, kind="stable")
        times = times[order]
        values = {field: numbers[order] for field, numbers in values.items()}
        again = np.flatnonzero(times[1:] == times[:-1]) + 1
        for numbers in values.values():
            other = again[~np.isclose(numbers[again], numbers[again - 1], rtol=0, atol=0, equal_nan=True)]
            if len(other):
                raise DataError(f"{where} has two different bars at {written(int(times[other[0]]), 'iso')}.")
        if len(again):
            self.findings[TWICE] += len(again)
        keep = np.delete(np.arange(len(times)), again)
        return times[keep], {field: numbers[keep] for field, numbers in values.items()}


def written(us: int, form: str) -> str:
    """A time, us UTC, as requests write it: one of `bt_plugins.bars.rest.REQUEST_TIMES`."""
    if form in ("s", "ms", "us"):
        return str(us // {"s": 1_000_000, "ms": 1_000, "us": 1}[form])
    if form == "ns":
        return str(us * NS_PER_US)
    when = _EPOCH + timedelta(microseconds=us)
    return when.strftime({"iso": "%Y-%m-%dT%H:%M:%SZ", "date": "%Y-%m-%d", "yyyymmdd": "%Y%m%d"}[form])
