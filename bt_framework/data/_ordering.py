"""Kernels of `bt_framework.data.ordering`."""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

_EXCH = np.uint64(1 << 31)
_LOCAL = np.uint64(1 << 30)
_EXCH_TODO = np.uint8(1)
_LOCAL_TODO = np.uint8(2)
_BOTH_TODO = np.uint8(3)

_Rows = np.ndarray[Any, Any]


@cached_kernel
def measure_clocks(rows: _Rows, stats: _Rows) -> None:
    """Update what the first pass needs to know of the two clocks.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
        In order of arrival.
    stats : int64 array of shape (5,), ns
        Least ``local_ts - exch_ts``; greatest ``exch_ts``; greatest ``local_ts``; largest fall of ``exch_ts``
        below an earlier one; the same of ``local_ts``.
    """
    min_latency, max_exch, max_local = stats[0], stats[1], stats[2]
    exch_disorder, local_disorder = stats[3], stats[4]
    for i in range(len(rows)):
        exch_ts = rows[i]["exch_ts"]
        local_ts = rows[i]["local_ts"]
        min_latency = min(min_latency, local_ts - exch_ts)
        if exch_ts >= max_exch:
            max_exch = exch_ts
        else:
            exch_disorder = max(exch_disorder, max_exch - exch_ts)
        if local_ts >= max_local:
            max_local = local_ts
        else:
            local_disorder = max(local_disorder, max_local - local_ts)
    stats[0], stats[1], stats[2] = min_latency, max_exch, max_local
    stats[3], stats[4] = exch_disorder, local_disorder


@cached_kernel
def take_rows(rows: _Rows, shift_ns: int, pool: _Rows, todo: _Rows, n_pool: int, max_ts: _Rows) -> int:
    """Append `rows`, their local time shifted, to `pool`, to be written on both sides.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
    shift_ns : int
        Added to ``local_ts``.
    pool : EVENT array of shape (n_capacity,)
    todo : uint8 array of shape (n_capacity,)
        1: to be written on the exchange's side, 2: on the local side.
    n_pool : int
        Rows in `pool`.
    max_ts : int64 array of shape (2,), ns
        Greatest ``exch_ts`` and ``local_ts`` taken so far; updated.

    Returns
    -------
    int
        Rows in `pool` now.
    """
    for i in range(len(rows)):
        pool[n_pool] = rows[i]
        pool[n_pool]["local_ts"] += shift_ns
        todo[n_pool] = _BOTH_TODO
        max_ts[0] = max(max_ts[0], pool[n_pool]["exch_ts"])
        max_ts[1] = max(max_ts[1], pool[n_pool]["local_ts"])
        n_pool += 1
    return n_pool


@cached_kernel
def merge_sides(
    pool: _Rows, todo: _Rows, exch_order: _Rows, local_order: _Rows, at_end: bool, out: _Rows
) -> int:
    """Merge the two orders into the engine's, as hftbacktest's ``correct_event_order`` does.

    Stops where one order is used up, because a row that is still to come might belong next; `at_end` goes on
    with the other.

    Parameters
    ----------
    pool : EVENT array of shape (n_pool,)
    todo : uint8 array of shape (n_pool,)
        Bits of what has been written are cleared.
    exch_order, local_order : int64 array of shape (n,)
        Rows of `pool` by exchange time and by local time.
    at_end : bool
        No row is still to come.
    out : EVENT array of shape (at least 2 n_pool,)

    Returns
    -------
    int
        Rows in `out`.
    """
    n_out = i_exch = i_local = 0
    n_exch, n_local = len(exch_order), len(local_order)
    while True:
        exch_left, local_left = i_exch < n_exch, i_local < n_local
        if not (exch_left or local_left) or not (at_end or (exch_left and local_left)):
            return n_out
        exch_row = exch_order[i_exch] if exch_left else -1
        local_row = local_order[i_local] if local_left else -1
        if exch_row == local_row:
            out[n_out] = pool[exch_row]
            out[n_out]["ev"] |= _EXCH | _LOCAL
            todo[exch_row] = 0
            i_exch += 1
            i_local += 1
        elif not local_left or (exch_left and _exchange_first(pool[exch_row], pool[local_row])):
            out[n_out] = pool[exch_row]
            out[n_out]["ev"] |= _EXCH
            todo[exch_row] &= _LOCAL_TODO
            i_exch += 1
        else:
            out[n_out] = pool[local_row]
            out[n_out]["ev"] |= _LOCAL
            todo[local_row] &= _EXCH_TODO
            i_local += 1
        n_out += 1


@kernel
def _exchange_first(exch: Any, local: Any) -> bool:
    """Whether the next row by exchange time comes before the next by local time."""
    if exch["exch_ts"] != local["exch_ts"]:
        return bool(exch["exch_ts"] < local["exch_ts"])
    return bool(exch["local_ts"] < local["local_ts"])


@cached_kernel
def compact(pool: _Rows, todo: _Rows) -> int:
    """Move what is still to be written to the front, in order of arrival; return how many rows that is."""
    n = 0
    for i in range(len(pool)):
        if todo[i]:
            if n != i:
                pool[n] = pool[i]
                todo[n] = todo[i]
            n += 1
    return n
