"""From bytes of DBN to arrays of one instrument's records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.data.streams import decompressed_blocks, prefetched
from bt_framework.errors import DataError
from bt_framework.jit import cached_kernel, kernel
from bt_plugins.data.databento._header import SCHEMAS, Header, Interval, library

MAX_RECORDS = 2_048
"""Records that are handled at a time."""

_LENGTH_UNIT_BYTES = 4
_TS_EVENT_AT = 8
_LEAST_BYTES = 16

_Array = np.ndarray[Any, Any]


class SelectStatus(IntEnum):
    """Why `select` returned."""

    DONE = 0
    FULL = 1
    BROKEN = 2


CURSOR = np.dtype(
    [
        ("pos", "i8"),
        ("record", "i8"),
        ("n_selected", "i8"),
        ("rtype", "i8"),
        ("record_bytes", "i8"),
        ("ts_recv_at", "i8"),
        ("other", "i8"),
        ("other_first", "i8"),
        ("foreign", "i8"),
        ("foreign_first", "i8"),
    ]
)
"""Where a selection is, and what it passed over.

``record`` counts records of the file, whole ones; ``rtype``, ``record_bytes`` and ``ts_recv_at`` describe the
records wanted; ``other`` are of another type, ``foreign`` of another instrument.
"""

INTERVAL = np.dtype([("instrument_id", "i8"), ("start_ts", "i8"), ("end_ts", "i8")])


@kernel
def number_at(data, pos, n_bytes):
    """Little-endian integer of `n_bytes` at `pos` of `data`, uint8; of 8 bytes, int64."""
    value = np.int64(0)
    for i in range(n_bytes - 1, -1, -1):
        value = (value << 8) | np.int64(data[pos + i])
    return value


@kernel
def is_wanted(data, pos, cursor, intervals):
    """Whether the record at `pos` is of an instrument that was the symbol's when it was received."""
    instrument_id = number_at(data, pos + 4, 4)
    ts = number_at(data, pos + cursor["ts_recv_at"], 8)
    if ts == -1:
        ts = number_at(data, pos + _TS_EVENT_AT, 8)
    for i in range(len(intervals)):
        wanted = intervals[i]
        if wanted["instrument_id"] == instrument_id and wanted["start_ts"] <= ts < wanted["end_ts"]:
            return True
    return False


@cached_kernel
def select(data, end, intervals, out, numbers, cursors):
    """Copy the wanted records among whole ones.

    Parameters
    ----------
    data : uint8 array
        From ``cursor.pos`` to `end`: records, the last of which may be cut off.
    intervals : INTERVAL array of shape (n_intervals,)
    out : uint8 array of shape (n_records, record_bytes)
    numbers : int64 array of shape (n_records,)
        Gets each record's number in its file, from 1.
    cursors : CURSOR array of shape (1,)

    Returns
    -------
    SelectStatus
        DONE: what is left is no whole record. FULL: `out` is. BROKEN: the record at ``pos`` gives a length that
        its type cannot have.
    """
    cursor = cursors[0]
    cursor["n_selected"] = 0
    while cursor["pos"] < end:
        pos = cursor["pos"]
        n_bytes = np.int64(data[pos]) * _LENGTH_UNIT_BYTES
        if n_bytes < _LEAST_BYTES:
            return SelectStatus.BROKEN
        if pos + n_bytes > end:
            return SelectStatus.DONE
        if data[pos + 1] != cursor["rtype"]:
            if cursor["other"] == 0:
                cursor["other_first"] = cursor["record"] + 1
            cursor["other"] += 1
        elif n_bytes < cursor["record_bytes"]:
            return SelectStatus.BROKEN
        elif not is_wanted(data, pos, cursor, intervals):
            if cursor["foreign"] == 0:
                cursor["foreign_first"] = cursor["record"] + 1
            cursor["foreign"] += 1
        else:
            if cursor["n_selected"] == len(out):
                return SelectStatus.FULL
            n = cursor["n_selected"]
            for i in range(cursor["record_bytes"]):
                out[n, i] = data[pos + i]
            numbers[n] = cursor["record"] + 1
            cursor["n_selected"] += 1
        cursor["record"] += 1
        cursor["pos"] += n_bytes
    return SelectStatus.DONE


def record_dtype(schema: str) -> np.dtype[Any]:
    """The library's layout of a schema's records, in types that kernels compute with."""
    plain = {"S1": "u1", "u8": "i8"}  # the undefined time, all ones, is -1
    fields = getattr(library(), SCHEMAS[schema])._dtypes
    return np.dtype([(name, plain.get(kind, kind)) for name, kind in fields])


class Selection:
    """Records of one instrument out of one file, `MAX_RECORDS` or fewer at a time."""

    def __init__(self, header: Header, intervals: tuple[Interval, ...]) -> None:
        dbn = library()
        self._path = header.path
        self._metadata_bytes = header.n_bytes
        self._dtype = record_dtype(header.schema)
        self._intervals = np.array([(i.instrument_id, i.start_ts, i.end_ts) for i in intervals], INTERVAL)
        self._out = np.zeros((MAX_RECORDS, self._dtype.itemsize), np.uint8)
        self._numbers = np.zeros(MAX_RECORDS, np.int64)
        self._cursors = np.zeros(1, CURSOR)
        self._cursor: Any = self._cursors[0]
        self._cursor["rtype"] = dbn.RType.from_schema(dbn.Schema.from_str(header.schema)).__index__()
        self._cursor["record_bytes"] = self._dtype.itemsize
        self._cursor["ts_recv_at"] = self._dtype.fields["ts_recv"][1]  # type: ignore[index]

    def batches(self, block_bytes: int) -> Iterator[tuple[_Array, _Array, int]]:
        """Records, their numbers in the file, and the bytes of the file read so far.

        Both arrays are overwritten once the next are asked for.

        Raises
        ------
        DataError
            If the file is truncated or corrupt; names file, record and byte.
        """
        cursor = self._cursor
        skip, rest, done_bytes = self._metadata_bytes, b"", 0
        with closing(prefetched(decompressed_blocks(self._path, block_bytes))) as blocks:
            for block, file_bytes in blocks:
                data = rest + block
                if len(data) <= skip:
                    skip, done_bytes, rest = skip - len(data), done_bytes + len(data), b""
                    continue
                cursor["pos"], skip = skip, 0
                for batch in self._records(data, done_bytes):
                    yield *batch, file_bytes
                rest = data[int(cursor["pos"]) :]
                done_bytes += int(cursor["pos"])
        if rest:
            raise DataError(
                f"{self._path} is truncated: it ends in record {int(cursor['record']) + 1} (byte"
                f" {done_bytes:,}). Fetch it again."
            )

    def _records(self, data: bytes, done_bytes: int) -> Iterator[tuple[_Array, _Array]]:
        text = np.frombuffer(data, np.uint8)
        while True:
            status = select(text, len(text), self._intervals, self._out, self._numbers, self._cursors)
            n = int(self._cursor["n_selected"])
            if n:
                yield self._out.view(self._dtype)[:n, 0], self._numbers[:n]
            if status == SelectStatus.BROKEN:
                pos = int(self._cursor["pos"])
                raise DataError(
                    f"{self._path} record {int(self._cursor['record']) + 1} (byte {done_bytes + pos:,}) is"
                    f" malformed: it must not be {int(text[pos]) * _LENGTH_UNIT_BYTES} bytes long."
                    " Fetch the file again."
                )
            if status == SelectStatus.DONE:
                return

    def finish(self, report: FeedReport) -> None:
        """Count what was read and what was passed over."""
        cursor = self._cursor
        report.rows_read += int(cursor["record"])
        for reason, name in (("another kind of record", "other"), ("another instrument", "foreign")):
            count = int(cursor[name])
            report.drop(reason, f"record {int(cursor[f'{name}_first'])} of {self._path}", count)
