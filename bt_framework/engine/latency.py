"""Order latencies that change with time: the contract of latency tables, and how outages are laid over one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.records import Rows

if TYPE_CHECKING:
    from bt_framework.data.store import StoredFeed


LATENCY_ROW = np.dtype([("req_ts", "i8"), ("exch_ts", "i8"), ("resp_ts", "i8"), ("padding", "i8")])
"""When a request is sent, when it is at the matching engine, and when its answer is back; ns UTC."""

CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class LatencySpan:
    """What a table is wanted for.

    Attributes
    ----------
    symbol : str
    start_ts, end_ts : int
        The run's interval, ns UTC.
    seed : int
        That of the run.
    feed : StoredFeed
        The instrument's events.
    notice : callable
        Takes a line for people; it is told again whenever the table is used again.
    """

    symbol: str
    start_ts: int
    end_ts: int
    seed: int
    feed: StoredFeed
    notice: Callable[[str], None]


class LatencyTable(ABC):
    """Order latencies over time; what a latency plugin gives for all that is not constant."""

    @abstractmethod
    def identity(self, span: LatencySpan) -> Mapping[str, Any]:
        """Everything but the interval that decides the rows: parameters, file contents, seed, feed. JSON types only."""

    @abstractmethod
    def chunks(self, span: LatencySpan) -> Iterator[Rows]:
        """Yield LATENCY_ROW arrays of bounded size, in order of ``req_ts``.

        Latencies between two rows are interpolated, those before the first and after the last are theirs. A request
        with ``exch_ts`` 0 was rejected, and ``resp_ts`` is when that was known: orders are rejected from it to the
        next row. Rows that would arrive before an earlier one arrive together with it.

        Raises
        ------
        DataError
            If the input cannot be used.
        """


class ConstantTable(LatencyTable):
    """Constant latencies as a table, for outages to be laid over."""

    def __init__(self, entry_ns: int, response_ns: int) -> None:
        self._entry_ns = entry_ns
        self._response_ns = response_ns

    def identity(self, span: LatencySpan) -> Mapping[str, Any]:
        """The latencies."""
        return {"model": "constant", "entry_ns": self._entry_ns, "response_ns": self._response_ns}

    def chunks(self, span: LatencySpan) -> Iterator[Rows]:
        """Yield a row for each end of the run."""
        yield latency_rows([span.start_ts, span.end_ts], self._entry_ns, self._response_ns)


def latency_rows(req_ts: Any, entry_ns: Any, response_ns: Any) -> Rows:
    """Return a LATENCY_ROW array of requests, their entry and their response latencies."""
    rows = np.zeros(len(req_ts), LATENCY_ROW)
    rows["req_ts"] = req_ts
    rows["exch_ts"] = rows["req_ts"] + entry_ns
    rows["resp_ts"] = rows["exch_ts"] + response_ns
    return rows


class Curve:
    """Arrival of requests and of responses as functions of when they are sent, both never falling.

    Parameters
    ----------
    rows : LATENCY_ROW array of shape (n_rows,)
        Of accepted requests, every column never falling. A few rows are looked at for each question.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.req_ts, self.exch_ts, self.resp_ts = rows["req_ts"], rows["exch_ts"], rows["resp_ts"]

    def entry(self, ts: int) -> int:
        """When a request sent at `ts` is at the exchange."""
        return _arrival(self.req_ts, self.exch_ts, ts)

    def response(self, ts: int) -> int:
        """When a response sent at `ts` is back."""
        return _arrival(self.exch_ts, self.resp_ts, ts)

    def request(self, exch_ts: int) -> int:
        """When a request must be sent to be at the exchange at `exch_ts`, to a nanosecond or two."""
        after = bisect_right(self.exch_ts, exch_ts)
        if after in (0, len(self.rows)):
            edge = min(after, len(self.rows) - 1)
            return exch_ts - int(self.exch_ts[edge] - self.req_ts[edge])
        x1, x2 = int(self.req_ts[after - 1]), int(self.req_ts[after])
        y1, y2 = int(self.exch_ts[after - 1]), int(self.exch_ts[after])
        return x1 + (x2 - x1) * (exch_ts - y1) // (y2 - y1)


def _arrival(x: Rows, y: Rows, at: int) -> int:
    """`at` and the latency there, interpolated as hftbacktest does: in float64, rounded towards zero."""
    after = bisect_right(x, at)
    if after in (0, len(x)):
        edge = min(after, len(x) - 1)
        return at + int(y[edge] - x[edge])
    x1, x2 = int(x[after - 1]), int(x[after])
    lat1, lat2 = int(y[after - 1]) - x1, int(y[after]) - x2
    return at + lat1 + int((lat2 - lat1) / (x2 - x1) * (at - x1))


@dataclass(frozen=True)
class Window:
    """Time in which requests do not get through.

    Attributes
    ----------
    start, end : int
        ns UTC, the end not included.
    notices : tuple of (int, int)
        From when on requests are rejected, and after how long that is known, ns; empty if they wait for `end`.
    """

    start: int
    end: int
    notices: tuple[tuple[int, int], ...] = ()


class Disturbed:
    """Latencies of a curve with outages laid over it, as rows that hftbacktest interpolates.

    Requests sent in a window are rejected, or leave at its end; responses sent in an outage leave at its end.

    A row that rejects has an ``exch_ts`` before its ``req_ts``, by as much as the notice takes: hftbacktest takes a
    negative latency for a rejection. (It would also take ``exch_ts`` 0, but then misreads the response latencies
    around it.) Its search only goes forward, so such rows do not disturb later ones.

    Parameters
    ----------
    curve : Curve
    outages : sequence of (int, int)
        Start and end, ns UTC; in order, apart from each other.
    windows : sequence of Window
        In order, not overlapping.
    """

    def __init__(self, curve: Curve, outages: Sequence[tuple[int, int]], windows: Sequence[Window]) -> None:
        self._curve = curve
        self._outages = outages
        self._windows = windows
        self._latest_exch_ts = 0

    def pieces(self) -> Iterator[Rows]:
        """Yield the rows, a bounded number at a time."""
        windows = list(self._windows)[::-1]
        inside: Window | None = None
        left_at = -1
        for piece in self._held():
            rest = piece
            while True:
                if inside is None:
                    cut = int(np.searchsorted(rest["req_ts"], windows[-1].start)) if windows else len(rest)
                    yield self._through(rest[:cut])
                    if cut == len(rest):
                        break
                    rest, inside = rest[cut:], windows.pop()
                    yield self._opening(inside, adjoins=inside.start == left_at)
                cut = int(np.searchsorted(rest["req_ts"], inside.end, side="right"))
                # Rows inside stay for responses; for requests they are at the border.
                rest["req_ts"][:cut] = inside.end if inside.notices else inside.start
                yield self._through(rest[:cut])
                if cut == len(rest):
                    break
                yield self._closing(inside)
                left_at = inside.end
                rest, inside = rest[cut:], None
        while inside is not None or windows:
            if inside is None:
                inside = windows.pop()
                yield self._opening(inside, adjoins=inside.start == left_at)
            yield self._closing(inside)
            left_at = inside.end
            inside = None

    def _held(self) -> Iterator[Rows]:
        """The curve's rows, with responses of outages at their ends."""
        rows, at = self._curve.rows, 0
        for start, end in self._outages:
            first, last = bisect_left(self._curve.exch_ts, start), bisect_right(self._curve.exch_ts, end)
            yield from _chunks(rows, at, first)
            back_ts = self._curve.response(end)
            yield self._knots([(start - 1, self._curve.response(start - 1)), (start, back_ts)])
            for chunk in _chunks(rows, first, last):
                chunk["resp_ts"] = back_ts
                yield chunk
            yield self._knots([(end, back_ts)])
            at = last
        yield from _chunks(rows, at, len(rows))

    def _knots(self, points: Sequence[tuple[int, int]]) -> Rows:
        """Rows at exchange times that the curve has none at."""
        knots = []
        for exch_ts, resp_ts in points:
            place = bisect_left(self._curve.exch_ts, exch_ts)
            if place == len(self._curve.rows) or self._curve.exch_ts[place] != exch_ts:
                knots.append((self._curve.request(exch_ts), exch_ts, resp_ts, 0))
        return np.array(knots, LATENCY_ROW)

    def _back_ts(self, exch_ts: int) -> int:
        """When a response sent at `exch_ts` is back."""
        for start, end in self._outages:
            if start <= exch_ts < end:
                return self._curve.response(end)
        return self._curve.response(exch_ts)

    def _through(self, rows: Rows) -> Rows:
        """`rows` of requests that get through, none before earlier ones: rounding may have put it there."""
        if len(rows):
            exch_ts = np.maximum.accumulate(np.maximum(rows["exch_ts"], self._latest_exch_ts))
            rows["exch_ts"], self._latest_exch_ts = exch_ts, int(exch_ts[-1])
            rows["resp_ts"] = np.maximum(rows["resp_ts"], exch_ts)
        return rows

    def _row(self, req_ts: int, exch_ts: int) -> tuple[int, int, int, int]:
        """A row of a request that gets through, not before earlier ones."""
        self._latest_exch_ts = max(self._latest_exch_ts, exch_ts)
        return req_ts, self._latest_exch_ts, self._back_ts(self._latest_exch_ts), 0

    def _opening(self, window: Window, *, adjoins: bool) -> Rows:
        rows = []
        if not adjoins:
            rows.append(self._row(window.start - 1, self._curve.entry(window.start - 1)))
        if window.notices and self._latest_exch_ts < window.start:
            rows.append(self._row(window.start, window.start))  # for the responses of an outage
        ends = [since for since, _ in window.notices[1:]] + [window.end]
        for (since, notice_ns), end in zip(window.notices, ends, strict=False):
            rows.append(self._rejecting(since, notice_ns))
            if end - 1 > since:
                rows.append(self._rejecting(end - 1, notice_ns))
        if window.notices and rows[-1][1] < self._latest_exch_ts:
            rows.append(self._row(window.end, self._latest_exch_ts))  # responses go on from where they were
        return np.array(rows, LATENCY_ROW)

    def _rejecting(self, req_ts: int, notice_ns: int) -> tuple[int, int, int, int]:
        """A row that rejects; responses sent meanwhile are back as if it were not there."""
        exch_ts = req_ts - notice_ns
        sent_ts = max(exch_ts, self._latest_exch_ts)
        back_ts = self._back_ts(sent_ts)
        is_held = any(start <= sent_ts < end for start, end in self._outages)
        return req_ts, exch_ts, back_ts if is_held else back_ts - sent_ts + exch_ts, 0

    def _closing(self, window: Window) -> Rows:
        through = self._row(window.end, self._curve.entry(window.end))
        waited = [] if window.notices else [(window.start, *through[1:])]
        return np.array([*waited, through], LATENCY_ROW)


def _chunks(rows: Rows, first: int, last: int) -> Iterator[Rows]:
    for start in range(first, last, CHUNK_ROWS):
        yield np.array(rows[start : min(start + CHUNK_ROWS, last)])
