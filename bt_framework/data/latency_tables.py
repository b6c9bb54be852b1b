"""Latency tables on disk: made once in bounded memory, then mapped by every run that wants the same.

Layout, under the event store's folder::

    latency/<key>.json                what is known of one table: content hash, percentiles, notices
    latency/<ab>/<content hash>.rows  its rows, ready to be mapped: a cache with a size limit
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bt_framework.data._workspace import locked, storage_errors, workspace, write_json
from bt_framework.engine.latency import (
    LATENCY_ROW,
    ConstantTable,
    Curve,
    Disturbed,
    LatencySpan,
    LatencyTable,
    Window,
)
from bt_framework.engine.models import LatencyModel, OutageMode
from bt_framework.errors import ConfigError, DataError
from bt_framework.jit import kernel_key
from bt_framework.records import Rows

FORMAT = 1
GIB = 1 << 30
_SAMPLES = 2_001


@dataclass(frozen=True)
class OrderLatency:
    """Order latencies of one instrument in one run.

    Attributes
    ----------
    rows : LATENCY_ROW array of shape (n_rows,), or None
        Mapped, read-only; None if the model's constants hold.
    content_hash : str
        SHA-256 of the rows; empty without.
    percentiles : mapping
        ``entry_p50_ns``, ``entry_p99_ns``, ``response_p50_ns``, ``response_p99_ns`` over the run's interval, and
        ``rejected_frac``, the part of it in which orders are rejected.
    """

    rows: Rows | None
    content_hash: str
    percentiles: Mapping[str, float]


class LatencyTables:
    """Tables under one folder; many threads and processes may use it at once.

    Parameters
    ----------
    root : Path
        The event store's folder.
    max_cache_bytes : int
        Limit for the tables together; those used longest ago are removed, and made again when wanted. A run that has
        one mapped keeps it.
    """

    def __init__(self, root: Path, max_cache_bytes: int = 20 * GIB) -> None:
        self.root = root
        self.max_cache_bytes = max_cache_bytes

    def load(self, model: LatencyModel, span: LatencySpan) -> OrderLatency:
        """Return the order latencies of `model`, made now if they are not there yet.

        Raises
        ------
        ConfigError
            If an outage ends before it begins.
        DataError
            If what the model reads cannot be used.
        StorageError
            If the folder cannot be written.
        """
        outages = outages_of(model, span)
        table = model.table
        if table is None:
            if not outages:
                return _constant(model)
            table = ConstantTable(model.entry_ns, model.response_ns)
        key = _key(table, span, outages, model.outage_mode)
        with storage_errors(self.root, "storing latencies"):
            found = self._find(key, span)
            if found is None:
                with locked(self.root / "locks" / f"latency-{key}", lambda: None):
                    found = self._find(key, span) or self._make(key, table, span, outages, model.outage_mode)
        return found

    def evict(self, keep: Path) -> None:
        """Remove tables, those used longest ago first, until the rest fits `max_cache_bytes`; never `keep`."""
        mapped = [(path.stat(), path) for path in (self.root / "latency").glob("*/*.rows")]
        total = sum(stat.st_size for stat, _ in mapped)
        for stat, path in sorted(mapped, key=lambda item: item[0].st_mtime_ns):
            if total <= self.max_cache_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= stat.st_size

    def _find(self, key: str, span: LatencySpan) -> OrderLatency | None:
        try:
            known = json.loads((self.root / "latency" / f"{key}.json").read_text(encoding="utf-8"))
            path = self._path(known["content_hash"])
            if path.stat().st_size != known["rows"] * LATENCY_ROW.itemsize:
                return None
            rows = np.memmap(path, LATENCY_ROW, mode="r")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        try:
            os.utime(path)
        except PermissionError:
            pass  # another user's store: not ours to mark as used
        except OSError:
            return None
        for notice in known["notices"]:
            span.notice(notice)
        return OrderLatency(rows, known["content_hash"], known["percentiles"])

    def _make(
        self,
        key: str,
        table: LatencyTable,
        span: LatencySpan,
        outages: Sequence[tuple[int, int]],
        mode: OutageMode,
    ) -> OrderLatency:
        notices: list[str] = []
        with workspace(self.root) as folder:
            accepted = _Accepted(span.symbol)
            content_hash = _write(
                folder / "accepted", accepted.rows_of(table.chunks(replace(span, notice=notices.append)))
            )
            draft = folder / "accepted"
            if outages or accepted.rejections:
                mapped = np.memmap(draft, LATENCY_ROW, mode="r")
                curve = Curve(np.asarray(mapped))
                windows = _windows(curve, accepted.windows(span.end_ts), outages, mode)
                draft = folder / "disturbed"
                content_hash = _write(draft, _read_once(mapped, Disturbed(curve, outages, windows).pieces()))
            rows = np.memmap(draft, LATENCY_ROW, mode="r")
            percentiles = percentiles_of(rows, span.start_ts, span.end_ts)
            path = self._path(content_hash)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft, path)
        write_json(
            self.root / "latency" / f"{key}.json",
            {
                "content_hash": content_hash,
                "rows": len(rows),
                "percentiles": percentiles,
                "notices": notices,
            },
        )
        for notice in notices:
            span.notice(notice)
        self.evict(keep=path)
        return OrderLatency(rows, content_hash, percentiles)

    def _path(self, content_hash: str) -> Path:
        return self.root / "latency" / content_hash[:2] / f"{content_hash}.rows"


def outages_of(model: LatencyModel, span: LatencySpan) -> list[tuple[int, int]]:
    """Return the outages of a run in order, those that touch joined; ns UTC.

    Raises
    ------
    ConfigError
        If one ends before it begins.
    """
    spans = sorted((o.start.at(span.start_ts), o.end.at(span.start_ts)) for o in model.outages)
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if start >= end:
            raise ConfigError(
                f"latency.outages must end after they begin, was {_iso(start)} to {_iso(end)}. Write offsets from "
                "the start of the run or times, the earlier one first."
            )
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def percentiles_of(mapped: np.memmap, start_ts: int, end_ts: int) -> dict[str, float]:
    """Return the percentiles of a table over an interval, from two thousand times at equal distances."""
    from bt_framework.engine._latency_at import latencies_at

    rows = np.asarray(mapped)
    times = np.linspace(0, end_ts - start_ts, _SAMPLES).astype(np.int64) + start_ts
    entry_ns, response_ns = np.empty_like(times), np.empty_like(times)
    for index, ts in enumerate(times.tolist()):
        # The rows around a time alone: few pages of the file are read.
        last = bisect_right(rows["req_ts"], ts) + 1
        first, step = max(last - 2, 0), 1
        while first > 0 and rows["exch_ts"][first] > ts:
            first, step = max(first - step, 0), 2 * step
        here = slice(index, index + 1)
        latencies_at(rows[first : last + 1], times[here], entry_ns[here], response_ns[here])
        if index % 32 == 0:
            _release(mapped)
    accepted = entry_ns[entry_ns >= 0]
    found = {"rejected_frac": 1.0 - len(accepted) / len(times)}
    for name, values in (("entry", accepted), ("response", response_ns)):
        for percent in (50, 99):
            value = np.percentile(values, percent, method="lower") if len(values) else np.nan
            found[f"{name}_p{percent}_ns"] = float(value)
    return found


def _constant(model: LatencyModel) -> OrderLatency:
    percentiles = {"rejected_frac": 0.0}
    for name, ns in (("entry", model.entry_ns), ("response", model.response_ns)):
        percentiles |= {f"{name}_p50_ns": float(ns), f"{name}_p99_ns": float(ns)}
    return OrderLatency(None, "", percentiles)


def _key(table: LatencyTable, span: LatencySpan, outages: Sequence[tuple[int, int]], mode: OutageMode) -> str:
    identity = {
        "format": FORMAT,
        "table": dict(table.identity(span)),
        "code": kernel_key([Path(str(sys.modules[type(table).__module__].__file__))]),
        "interval": [span.start_ts, span.end_ts],
        "outages": [*outages, str(mode)] if outages else [],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _write(path: Path, chunks: Iterator[Rows]) -> str:
    """Write rows to a file; returns their SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for chunk in chunks:
            content = np.ascontiguousarray(chunk).tobytes()
            digest.update(content)
            file.write(content)
    return digest.hexdigest()


def _read_once(mapped: np.memmap, chunks: Iterator[Rows]) -> Iterator[Rows]:
    """`chunks`, which come from `mapped`; its pages do not stay in memory."""
    for chunk in chunks:
        yield chunk
        _release(mapped)


def _release(mapped: np.memmap) -> None:
    """Give back the pages of a mapped file; who still needs them gets them without a read."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


class _Accepted:
    """Takes a table's rows apart: requests that got through, in order of arrival, and rejections."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._rows = 0
        self._latest = np.full(3, np.iinfo(np.int64).min)
        self._since: list[np.ndarray] = []
        self._until: list[np.ndarray] = []
        self._notice_ns: list[np.ndarray] = []
        self._open_end = False

    @property
    def rejections(self) -> int:
        """Rejected requests so far."""
        return sum(map(len, self._since))

    def rows_of(self, chunks: Iterator[Rows]) -> Iterator[Rows]:
        """Yield the requests that got through.

        Raises
        ------
        DataError
            If a row is not what the contract says, or none got through.
        """
        through = 0
        for chunk in chunks:
            if not len(chunk):
                continue
            self._check(chunk)
            self._reject(chunk)
            rows = np.array(chunk[chunk["exch_ts"] > 0], LATENCY_ROW)
            for place, name in ((1, "exch_ts"), (2, "resp_ts")):
                if len(rows):
                    rows[name] = np.maximum.accumulate(np.maximum(rows[name], self._latest[place]))
                    self._latest[place] = rows[name][-1]
            rows["padding"] = 0
            through += len(rows)
            self._rows += len(chunk)
            self._latest[0] = chunk["req_ts"][-1]
            yield rows
        if not through:
            raise DataError(
                f"the latency table of {self._symbol} must have a request that got through, had none."
            )

    def windows(self, end_ts: int) -> list[Window]:
        """Return the times in which requests are rejected: each until the next row, the last until the run's end."""
        if not self.rejections:
            return []
        since, notice_ns = np.concatenate(self._since), np.concatenate(self._notice_ns)
        if self._open_end:
            self._until.append(np.array([max(end_ts, int(since[-1])) + 1]))
            self._open_end = False
        until = np.concatenate(self._until)
        rows = zip(since.tolist(), until.tolist(), notice_ns.tolist(), strict=True)
        windows: list[Window] = []
        for start, end, wait_ns in rows:
            if start == end:
                continue
            if windows and windows[-1].end == start:
                joined = windows[-1]
                windows[-1] = Window(joined.start, end, (*joined.notices, (start, wait_ns)))
            else:
                windows.append(Window(start, end, ((start, wait_ns),)))
        return windows

    def _check(self, chunk: Rows) -> None:
        if chunk.dtype != LATENCY_ROW:
            raise DataError(
                f"the latency table of {self._symbol} must be of LATENCY_ROW, was of {chunk.dtype}."
            )
        req_ts, exch_ts, resp_ts = chunk["req_ts"], chunk["exch_ts"], chunk["resp_ts"]
        before = np.concatenate([self._latest[:1], req_ts[:-1]])
        self._refuse(req_ts < before, chunk, "req_ts must never fall")
        through = exch_ts > 0
        self._refuse(through & (exch_ts < req_ts), chunk, "exch_ts must not be before req_ts")
        self._refuse(through & (resp_ts < exch_ts), chunk, "resp_ts must not be before exch_ts")
        self._refuse(~through & (resp_ts < req_ts), chunk, "resp_ts must not be before req_ts")

    def _refuse(self, bad: np.ndarray, chunk: Rows, rule: str) -> None:
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            row = [int(chunk[name][first]) for name in ("req_ts", "exch_ts", "resp_ts")]
            raise DataError(
                f"the latency table of {self._symbol}: {rule}, does in row {self._rows + first} "
                f"(request {row[0]}, exchange {row[1]}, response {row[2]}). Put the rows right, or leave them out."
            )

    def _reject(self, chunk: Rows) -> None:
        if self._open_end:
            self._until.append(chunk["req_ts"][:1])
        rejected = np.flatnonzero(chunk["exch_ts"] <= 0)
        self._open_end = len(rejected) > 0 and int(rejected[-1]) == len(chunk) - 1
        ended = rejected[:-1] if self._open_end else rejected
        self._since.append(chunk["req_ts"][rejected])
        self._until.append(chunk["req_ts"][ended + 1])
        self._notice_ns.append(np.maximum(chunk["resp_ts"][rejected] - chunk["req_ts"][rejected], 1))


def _windows(
    curve: Curve, rejections: Sequence[Window], outages: Sequence[tuple[int, int]], mode: OutageMode
) -> list[Window]:
    """Windows of rejections and of outages, in order; where they overlap, outages have the say."""
    windows = []
    for start, end in outages:
        notice_ns = max(1, curve.response(curve.entry(start)) - start)
        windows.append(Window(start, end, ((start, notice_ns),) if mode == OutageMode.REJECT else ()))
    edges = [0, *(ts for outage in outages for ts in outage), np.iinfo(np.int64).max]
    free = [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]
    for window in rejections:
        windows += [part for start, end in free if (part := _part(window, start, end)) is not None]
    return sorted(windows, key=lambda window: window.start)


def _part(window: Window, start: int, end: int) -> Window | None:
    """The part of a window of rejections inside an interval."""
    start, end = max(start, window.start), min(end, window.end)
    if start >= end:
        return None
    ends = [since for since, _ in window.notices[1:]] + [window.end]
    notices = tuple(
        (max(since, start), notice_ns)
        for (since, notice_ns), until in zip(window.notices, ends, strict=True)
        if since < end and until > start
    )
    return Window(start, end, notices)


def _iso(ts: int) -> str:
    return f"{np.datetime64(ts, 'ns')}Z"
