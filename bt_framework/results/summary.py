"""The numbers of a run in words: what the consoles and `bt runs show` print."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from bt_framework.results.record import RunRecord

_METRICS = (
    ("PnL", "pnl", "amount"),
    ("fees", "fees", "amount"),
    ("return", "return_frac", "percent"),
    ("Sharpe (annual)", "sharpe", "ratio"),
    ("max drawdown", "max_drawdown", "drawdown"),
    ("trades", "trades", "count"),
    ("fill ratio", "fill_ratio", "percent"),
    ("maker share", "maker_share", "percent"),
    ("turnover", "turnover", "times"),
)


def summary_rows(record: RunRecord) -> list[tuple[str, str]]:
    """(what, value) of the summary table, metrics first; empty values are left out."""
    rows = [(label, format_metric(record.metrics, key, style)) for label, key, style in _METRICS]
    return rows if record.metrics else []


def format_metric(metrics: Mapping[str, float], key: str, style: str) -> str:
    """Text of one metric; a dash where it is undefined. Amounts are quote currency."""
    value = float(metrics.get(key, math.nan))
    if not math.isfinite(value):
        return "-"
    if style == "drawdown":
        part = format_metric(metrics, "max_drawdown_frac", "percent")
        return f"{_amount(value)} ({part})"
    if style == "amount":
        return _amount(value)
    if style == "percent":
        return f"{value:.2%}" if abs(value) >= 1e-3 or value == 0 else f"{value:.4%}"
    if style == "times":
        return f"{value:,.2f} x capital"
    return f"{value:,.0f}" if style == "count" else f"{value:,.2f}"


def speed_line(record: RunRecord) -> str:
    """Feed events, how long the run took, and whether the loop had to be compiled."""
    parts = [f"{record.events:,} events"]
    if math.isfinite(record.events_per_s):
        parts.append(f"{format_rate(record.events_per_s)} in the loop")
    if math.isfinite(record.wall_s):
        parts.append(f"{record.wall_s:.2f} s in all")
    return ", ".join(parts)


def format_rate(events_per_s: float) -> str:
    """Events per second with three digits.

    >>> format_rate(17_240_000.0), format_rate(430_000.0), format_rate(12.0)
    ('17.2 M events/s', '430 k events/s', '12 events/s')
    """
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if events_per_s >= size:
            return f"{events_per_s / size:.3g}{letter} events/s"
    return f"{events_per_s:.0f} events/s"


def format_ts(ts: int) -> str:
    """Date and time UTC of `ts` (ns), to the second.

    >>> format_ts(1_700_000_000_000_000_000)
    '2023-11-14 22:13:20'
    """
    return str(np.datetime64(ts, "ns").astype("datetime64[s]")).replace("T", " ")


def _amount(value: float) -> str:
    """Two decimals, more where the amount is small.

    >>> _amount(-1234.5), _amount(0.00123), _amount(0.0)
    ('-1,234.50', '0.00123', '0.00')
    """
    return f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
