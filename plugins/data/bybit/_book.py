"""Order book messages of one symbol, turned into rows; keeps the book and its sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bt_framework.data.level_book import LevelBook
from bt_framework.data.source import FeedReport
from bt_framework.data.streams import prefetched, whole_lines
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.bybit._files import text_blocks

_ROWS_PER_CHUNK = 1 << 14
_MAX_STALE_PHASES = 1_000
_FIRST_MS, _LAST_MS = 10**12, 9 * 10**12


class MalformedMessage(Exception):
    """A line is no message of the stream; the text says why."""


def split_message(line: bytes) -> tuple[Mapping[str, Any], np.ndarray]:
    """A message, and its levels as rows with side, price and quantity.

    Raises
    ------
    MalformedMessage, orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError
        If it is none.
    """
    from bt_plugins.data.bybit._kernels import parse_levels

    bids_at, asks_at = _list_at(line, b'"b":['), _list_at(line, b'"a":[')
    if bids_at is not None and asks_at is not None and bids_at[1] < asks_at[0]:
        text = np.frombuffer(line, np.uint8)
        n_bids, n_asks = (line.count(b'"', *at) // 4 for at in (bids_at, asks_at))
        rows = _empty_rows(n_bids, n_asks)
        if parse_levels(text, *bids_at, rows[:n_bids]) and parse_levels(text, *asks_at, rows[n_bids:]):
            rest = b"[]".join((line[: bids_at[0]], line[bids_at[1] : asks_at[0]], line[asks_at[1] :]))
            return orjson.loads(rest), rows
    message = orjson.loads(line)
    bids, asks = message["data"]["b"], message["data"]["a"]
    rows = _empty_rows(len(bids), len(asks))
    values = np.array([float(text) for text in chain.from_iterable(chain(bids, asks))]).reshape(len(rows), 2)
    if not (np.isfinite(values).all() and (values[:, 0] > 0.0).all() and (values[:, 1] >= 0.0).all()):
        raise MalformedMessage("prices must be > 0 and quantities >= 0")
    rows["px"], rows["qty"] = values[:, 0], values[:, 1]
    return message, rows


def _list_at(line: bytes, key: bytes) -> tuple[int, int] | None:
    """Where the list of levels under `key` begins and ends, written without spaces; None if it is not there."""
    start = line.find(key) + len(key) - 1
    if start < len(key) - 1:
        return None
    end = start if line.startswith(b"[]", start) else line.find(b"]]", start)
    return (start, end + 2) if end >= 0 else None


def _empty_rows(n_bids: int, n_asks: int) -> np.ndarray:
    rows = np.zeros(n_bids + n_asks, EVENT)
    rows["ev"][:n_bids] = EventFlag.BUY
    rows["ev"][n_bids:] = EventFlag.SELL
    return rows


class BookReader:
    """Reads the order books of a symbol one after the other."""

    def __init__(
        self, symbol: str, report: FeedReport, feed_latency_ns: int, max_malformed_lines: int
    ) -> None:
        self._symbol = symbol
        self._report = report
        self._feed_latency_ns = feed_latency_ns
        self._max_malformed_lines = max_malformed_lines
        self._book = LevelBook()
        self._pending: list[np.ndarray] = []
        self._n_pending = 0
        self._last_u = -1
        self._last_ts = 0
        self._stale_since: int | None = None
        self._where = ""

    def rows(self, path: Path) -> Iterator[tuple[np.ndarray, int]]:
        """Rows of a file in order of arrival, each time with the bytes of the file read so far.

        Raises
        ------
        DataError
            Names file and line.
        """
        number = file_bytes = 0
        with closing(prefetched(text_blocks(path))) as blocks:
            for text, file_bytes in whole_lines(path, blocks):
                for line in text.splitlines():
                    number += 1
                    if line.strip():
                        self._where = f"{path} line {number}"
                        self._report.rows_read += 1
                        for rows in self._line(line):
                            yield rows, file_bytes
        for rows in self._flush():
            yield rows, file_bytes

    def finish(self) -> None:
        """Close what the report says of stale phases."""
        self._end_of_stale(self._last_ts)

    def _line(self, line: bytes) -> Iterator[np.ndarray]:
        try:
            message, rows = split_message(line)
            kind, u = self._complete(message, rows)
        except orjson.JSONDecodeError as error:
            self._malformed(f"it is no valid JSON ({error})")
        except MalformedMessage as error:
            self._malformed(str(error))
        except KeyError as error:
            self._malformed(f"its message has no {error.args[0]!r}")
        except (TypeError, ValueError, IndexError) as error:
            self._malformed(f"its message is broken ({error})")
        else:
            # What is gone first: the engine takes row by row, and a new bid may lie where an ask has been.
            rows = rows[np.argsort(rows["qty"] > 0.0, kind="stable")]
            if kind == "snapshot":
                yield from self._snapshot(u, rows)
            else:
                yield from self._delta(u, rows)

    def _complete(self, message: Mapping[str, Any], rows: np.ndarray) -> tuple[str, int]:
        """Type and update number of a message; its times and kind go into `rows`."""
        kind, data = message["type"], message["data"]
        if kind not in ("snapshot", "delta"):
            raise MalformedMessage(f"type must be snapshot or delta, was {kind!r}")
        if data["s"] != self._symbol:
            raise MalformedMessage(f"symbol must be {self._symbol}, was {data['s']}")
        sent_ms, u = int(message["ts"]), int(data["u"])
        matched_ms = int(message.get("cts", sent_ms))
        for name, time_ms in (("ts", sent_ms), ("cts", matched_ms)):
            if not _FIRST_MS <= time_ms < _LAST_MS:
                raise MalformedMessage(f"{name} must be milliseconds since 1970, was {time_ms}")
        if kind == "snapshot" and not len(rows):
            raise MalformedMessage("its snapshot has no level")
        rows["ev"] |= np.uint64(EventKind.DEPTH_SNAPSHOT if kind == "snapshot" else EventKind.DEPTH)
        rows["exch_ts"] = matched_ms * 1_000_000
        rows["local_ts"] = sent_ms * 1_000_000 + self._feed_latency_ns
        return kind, u

    def _snapshot(self, u: int, rows: np.ndarray) -> Iterator[np.ndarray]:
        """A snapshot replaces the book, and ends what was stale."""
        yield from self._flush()
        self._report.notes["snapshots"] = self._report.notes.get("snapshots", 0) + 1
        self._last_u, self._last_ts = u, int(rows["exch_ts"][0])
        self._end_of_stale(self._last_ts)
        yield self._book.replace(rows)

    def _delta(self, u: int, rows: np.ndarray) -> Iterator[np.ndarray]:
        """A delta goes on from the one before: its number is that one's and 1."""
        report = self._report
        if self._last_u < 0:
            report.drop("delta before the first snapshot", self._where)
            return
        if u <= self._last_u:
            report.duplicates += 1
            report.drop("delta that came again", self._where)
            return
        if u > self._last_u + 1:
            report.gaps += 1
            report.missing_updates += u - self._last_u - 1
            report.first_problem = report.first_problem or (
                f"{self._where} is update {u}, the one before is {self._last_u}."
            )
            if self._stale_since is None:
                self._stale_since = self._last_ts
        self._last_u = u
        if len(rows):
            self._last_ts = int(rows["exch_ts"][0])
            self._pending.append(rows)
            self._n_pending += len(rows)
        if self._n_pending >= _ROWS_PER_CHUNK:
            yield from self._flush()

    def _flush(self) -> Iterator[np.ndarray]:
        if self._pending:
            # As bytes: numpy would compare the fields of every two arrays.
            rows = np.concatenate([rows.view(np.uint8) for rows in self._pending]).view(EVENT)
            self._pending.clear()
            self._n_pending = 0
            self._book.apply(rows)
            yield rows

    def _end_of_stale(self, end_ts: int) -> None:
        if self._stale_since is not None:
            phases = self._report.notes.setdefault("stale_phases", [])
            if len(phases) < _MAX_STALE_PHASES:
                phases.append([self._stale_since, end_ts])
            self._stale_since = None

    def _malformed(self, why: str) -> None:
        problem = f"{self._where} is malformed: {why}."
        self._report.drop("malformed", self._where)
        self._report.first_problem = self._report.first_problem or problem
        if self._report.dropped["malformed"] > self._max_malformed_lines:
            raise DataError(
                f"{problem} data.max_malformed_lines is {self._max_malformed_lines}: raise it to skip such lines,"
                " or fetch the file again."
            )
