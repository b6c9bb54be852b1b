"""What hftbacktest makes of a latency table, for percentiles and tests."""

from __future__ import annotations

from typing import Any

from bt_framework.jit import cached_kernel, kernel


@kernel
def between(ts: int, x1: int, y1: int, x2: int, y2: int) -> int:
    """Latency at `ts` between two rows, ns: interpolated in float64, rounded towards zero."""
    lat1, lat2 = y1 - x1, y2 - x2
    return int((lat2 - lat1) / (x2 - x1) * (ts - x1)) + lat1


@cached_kernel
def latencies_at(rows: Any, times: Any, entry_ns: Any, response_ns: Any) -> int:
    """Write the latencies of requests and of responses sent at each of `times`; returns 0.

    Parameters
    ----------
    rows : LATENCY_ROW array of shape (n_rows,)
    times : int64 array of shape (n_times,)
        Never falling, ns UTC.
    entry_ns, response_ns : int64 arrays of shape (n_times,)
        Filled; a negative entry latency is a rejection, known after as much time.
    """
    last = rows.size - 1
    entry, response = 0, 0
    for index in range(times.size):
        ts = times[index]
        if ts < rows[0].req_ts:
            entry_ns[index] = rows[0].exch_ts - rows[0].req_ts
        else:
            while entry < last and not (rows[entry].req_ts <= ts and ts < rows[entry + 1].req_ts):
                entry += 1
            here = rows[entry]
            if entry == last:
                entry_ns[index] = here.exch_ts - here.req_ts
            else:
                there = rows[entry + 1]
                entry_ns[index] = between(ts, here.req_ts, here.exch_ts, there.req_ts, there.exch_ts)
        if ts < rows[0].exch_ts:
            response_ns[index] = rows[0].resp_ts - rows[0].exch_ts
        else:
            while response < last and not (rows[response].exch_ts <= ts and ts < rows[response + 1].exch_ts):
                response += 1
            here = rows[response]
            if response == last:
                response_ns[index] = here.resp_ts - here.exch_ts
            else:
                there = rows[response + 1]
                response_ns[index] = between(ts, here.exch_ts, here.resp_ts, there.exch_ts, there.resp_ts)
    return 0
