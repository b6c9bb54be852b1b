"""The numbers of a run in words: what the consoles and `bt runs show` print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bt_framework.results.record import RunRecord
from bt_framework.units import NS_PER_S, format_duration_ns

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

_AFTER_TRADES = 6


def summary_rows(record: RunRecord) -> list[tuple[str, str]]:
    """(what, value) of the summary table, metrics first; empty values are left out."""
    metrics = record.metrics
    rows = [(label, format_metric(metrics, key, style)) for label, key, style in _METRICS]
    if metrics.get("trades_won", 0) + metrics.get("trades_lost", 0) > 0:
        rows.insert(_AFTER_TRADES, ("round trips", _trades_line(metrics)))
    return rows if metrics else []


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


def _trades_line(metrics: Mapping[str, float]) -> str:
    """Won and lost trades, and how long they were open."""
    won, lost = (format_metric(metrics, key, "count") for key in ("trades_won", "trades_lost"))
    return f"{won} won, {lost} lost, open for {format_metric(metrics, 'mean_trade_s', 'ratio')} s on average"


def speed_line(record: RunRecord) -> str:
    """Feed events, how long the run took, and how the strategy ran."""
    parts = [f"{record.events:,} events"]
    if math.isfinite(record.events_per_s):
        parts.append(f"{format_rate(record.events_per_s)} in the loop")
    if math.isfinite(record.wall_s):
        parts.append(f"{record.wall_s:.2f} s in all")
    parts.append("strategy in plain Python" if record.mode == "plain" else "strategy compiled")
    return ", ".join(parts)


def latency_line(latency: Mapping[str, Mapping[str, float]]) -> str:
    """Percentiles of the order latencies, one part per symbol, or one for all if they are alike; empty without any.

    >>> each = {"entry_p50_ns": 250e3, "entry_p99_ns": 1.5e6, "response_p50_ns": 2e6, "response_p99_ns": 2e6}
    >>> latency_line({"A": each | {"rejected_frac": 0.0}, "B": each | {"rejected_frac": 0.0}})
    'entry p50 250us p99 1500us, response p50 2ms p99 2ms'
    """
    parts = {symbol: _latency_part(values) for symbol, values in latency.items()}
    if len(set(parts.values())) <= 1:
        return next(iter(parts.values()), "")
    return "; ".join(f"{symbol} {part}" for symbol, part in parts.items())


def _latency_part(values: Mapping[str, float]) -> str:
    parts = []
    for name in ("entry", "response"):
        p50, p99 = (values[f"{name}_p{percent}_ns"] for percent in (50, 99))
        texts = [format_duration_ns(round(ns)) if math.isfinite(ns) else "-" for ns in (p50, p99)]
        parts.append(f"{name} p50 {texts[0]} p99 {texts[1]}")
    if values["rejected_frac"] > 0:
        parts.append(f"rejected {values['rejected_frac']:.2%} of the time")
    return ", ".join(parts)


def books_line(books: Sequence[str]) -> str:
    """Form of the order books (each ``"SYMBOL: form and reason"``), told once where it is the same for all.

    >>> books_line(["BTC: price vector of 9 ticks", "ETH: hash map: chosen"])
    'BTC: price vector of 9 ticks; ETH: hash map: chosen'
    >>> books_line(["BTC: hash map: chosen", "ETH: hash map: chosen"])
    'hash map: chosen'
    """
    forms = {book.partition(": ")[2] for book in books}
    return forms.pop() if len(forms) == 1 else "; ".join(books)


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
    return str(datetime(1970, 1, 1) + timedelta(seconds=int(ts) // NS_PER_S))


def _amount(value: float) -> str:
    """Two decimals, more where the amount is small.

    >>> _amount(-1234.5), _amount(0.00123), _amount(0.0)
    ('-1,234.50', '0.00123', '0.00')
    """
    return f"{value:,.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
