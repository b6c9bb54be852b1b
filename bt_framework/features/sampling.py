"""Mid prices in fixed steps of simulated time, as a strategy's timer finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bt_framework.data import _book, _scan
from bt_framework.data._scan import replay_level
from bt_framework.data.doctor import new_book
from bt_framework.features.feature import feature
from bt_framework.jit import cached_kernel, kernel
from bt_framework.records import record

LOCAL, ADD = _scan.LOCAL, _scan.ADD
BID, ASK, ENGINE, NONE = _book.BID, _book.ASK, _book.ENGINE, _book.NONE


@kernel
def book_mid_px(best: Any, tick_size: float) -> Any:
    """Mid price of a book in ticks; NaN while a side is missing or the book is crossed."""
    bid, ask = best[ENGINE, BID], best[ENGINE, ASK]
    if bid == NONE or ask == NONE or bid >= ask:
        return np.nan
    return (bid * tick_size + ask * tick_size) / 2


@cached_kernel
def sample_rows(rows: Any, s: Any, book: Any, clock: Any, out: Any) -> None:
    """Replay price levels and take the mid at each step; a step sees what has arrived up to its time, that included.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
    s : record of `bt_framework.data._scan.STATS`
    book : tuple of arrays, see `bt_framework.data._scan.scan_rows`
    clock : (int, int)
        Time of the first step and from one to the next, ns.
    out : float64 array of shape (n_steps,), quote currency
    """
    best, tags, groups, _ = book
    next_ts, interval_ns = clock
    step = 0
    for i in range(len(rows)):
        row = rows[i]
        ev = np.int64(row["ev"])
        if not ev & LOCAL:
            continue
        while step < len(out) and row["local_ts"] > next_ts:
            out[step] = book_mid_px(best, s.tick_size)
            step += 1
            next_ts += interval_ns
        if step == len(out):
            return
        if ev & 0xFF < ADD:
            replay_level(s, row, ev, best, tags, groups)
    while step < len(out):
        out[step] = book_mid_px(best, s.tick_size)
        step += 1


@feature("sampled_mids")
def sampled_mids(inputs: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Mids of ``events`` from ``start_ts`` on, the first one step later, each ``interval_ns`` until ``end_ts``.

    Parameters are these three, and ``tick_size``. Of a feed of single orders all are NaN.
    """
    start_ts, interval_ns = params["start_ts"], params["interval_ns"]
    mids = np.empty((params["end_ts"] - start_ts) // interval_ns)
    stats = record(_scan.STATS, tick_size=params["tick_size"])
    stats["trade_low_ticks"] = stats["trade_high_ticks"] = NONE
    sample_rows(inputs["events"], stats, new_book(), (start_ts + interval_ns, interval_ns), mids)
    return {"mid_px": mids}
