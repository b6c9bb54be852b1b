"""One symbol's bars on their way into the store: checked, cleaned, and what was found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars._tables import VALUES, spans, times_us
from bt_framework.bars.actions import Adjustment, ExDate, adjusted, steps_of, unadjusted
from bt_framework.bars.config import BarSourceConfig
from bt_framework.bars.preprocess import preprocess, with_closes
from bt_framework.bars.schema import BAR_SCHEMA, BarFlag
from bt_framework.errors import DataError

RECOVERY_LIMIT = 1e-15
"""Relative error of a raw price that was adjusted and divided again: two roundings."""


@dataclass(frozen=True)
class SymbolReport:
    """What was found in one symbol's bars.

    Attributes
    ----------
    bars : int
        As stored, filled ones included; of refused ones as read.
    first_us, last_us : int
        When the first and the last bar open, us UTC.
    missing : int or None
        Bars that were expected; None where nothing says which.
    no_close : int
        Bars that were read without a close and count as missing.
    inconsistent : int
        Bars without low <= open, close <= high.
    not_positive : int
        Bars with a price that is not above 0, or a volume below 0.
    actions : int
        Ex-dates that change the factors.
    recovery_error : float
        Largest relative error of raw values that were adjusted, either way, and divided again.
    change : str
        Against what was stored before: new, same, or the bars that came, changed and went.
    problem : str
        Why the symbol is refused; empty if it is not.
    """

    symbol: str
    bars: int = 0
    first_us: int = 0
    last_us: int = 0
    missing: int | None = None
    filled: int = 0
    outliers: int = 0
    unjudged: int = 0
    unexpected: int = 0
    longest_gap_ns: int = 0
    no_close: int = 0
    inconsistent: int = 0
    not_positive: int = 0
    actions: int = 0
    recovery_error: float = 0.0
    change: str = ""
    problem: str = ""

    @property
    def grade(self) -> str:
        """``refused``, ``doubtful`` if it is stored but something in it should be looked at, or ``ok``."""
        if self.problem:
            return "refused"
        return "doubtful" if self.inconsistent or self.not_positive or self.unexpected else "ok"


@dataclass(frozen=True)
class Rules:
    """What holds for all symbols of an ingest; ``opens_us`` is when the calendar expects bars, None without one."""

    source: str
    config: BarSourceConfig
    interval_ns: int
    opens_us: np.ndarray[Any, Any] | None


def clean(bars: pa.Table, rules: Rules, ex_dates: Sequence[ExDate]) -> tuple[pa.Table, SymbolReport]:
    """Return the bars of one symbol as they are to be stored, and the report.

    Raises
    ------
    DataError
        If they are refused: two bars at one time, order, runs without a close, an ex-date without a price, a high
        below the low. The message names symbol and time.
    """
    symbol = bars["symbol"][0].as_py()
    spans(bars, rules.source)
    priced = with_closes(bars, rules.config.max_gap)
    inconsistent, not_positive = _doubtful(priced, rules.source)
    times = times_us(priced)
    steps = steps_of(priced, ex_dates, rules.config.dividends)
    cleaned, found = preprocess(priced, rules.config, rules.interval_ns, steps, rules.opens_us)
    report = SymbolReport(
        symbol=symbol,
        bars=cleaned.num_rows,
        first_us=int(times[0]),
        last_us=int(times[-1]),
        no_close=bars.num_rows - priced.num_rows,
        inconsistent=inconsistent,
        not_positive=not_positive,
        actions=len(steps),
        recovery_error=recovery_error(cleaned),
        **vars(found),
    )
    if report.recovery_error > RECOVERY_LIMIT:
        raise DataError(
            f"{symbol}: the prices as traded cannot be recovered from adjusted ones to {RECOVERY_LIMIT:g}, the error is"
            f" {report.recovery_error:.1g}. Look at its corporate actions."
        )
    return cleaned, report


def _doubtful(bars: pa.Table, source: str) -> tuple[int, int]:
    """Count bars with prices outside [low, high], and with prices or volumes that should not be."""
    low, high = bars["low"], bars["high"]
    crossed = pc.index(pc.greater(low, high), True).as_py()
    if crossed >= 0:
        raise DataError(
            f"bars of {source}: {bars['symbol'][crossed]} has a high of {high[crossed]} below the low of"
            f" {low[crossed]} at {bars['datetime'][crossed]}. Correct or remove the bar."
        )
    outside = np.zeros(bars.num_rows, np.bool_)
    for name in ("open", "close"):
        outside |= _true(pc.less(bars[name], low)) | _true(pc.greater(bars[name], high))
    wrong = _true(pc.less(bars["volume"], 0.0))
    for name in ("open", "high", "low", "close"):
        wrong |= _true(pc.less_equal(bars[name], 0.0))
    return int(outside.sum()), int(wrong.sum())


def _true(condition: Any) -> np.ndarray[Any, Any]:
    """Where `condition` holds; null is no."""
    return condition.fill_null(False).to_numpy()  # type: ignore[no-any-return]


def recovery_error(bars: pa.Table) -> float:
    """Largest relative error of prices and volumes that were adjusted, either way, and divided again."""
    worst = 0.0
    real = bars.filter(pc.equal(pc.bit_wise_and(bars["outlier_flag"], BarFlag.INTERPOLATED), 0))
    for mode in (Adjustment.backward, Adjustment.point_in_time):
        again = unadjusted(adjusted(real, mode))
        for name in VALUES:
            raw, back = real[name].to_numpy(), again[name].to_numpy()
            error = np.abs(back - raw) / np.where(raw == 0, 1.0, np.abs(raw))
            worst = max(worst, float(np.nanmax(error, initial=0.0)))
    return worst


def digest(bars: pa.Table) -> str:
    """Hash of all values of one symbol's bars; null and NaN are the same."""
    total = hashlib.blake2b(digest_size=16)
    for field in BAR_SCHEMA:
        column = bars[field.name]
        if field.name == "symbol":
            total.update("\n".join(column.unique().to_pylist()).encode())
        else:
            values = times_us(bars) if field.name == "datetime" else column.to_numpy()
            total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def change(before: pa.Table | None, after: pa.Table) -> str:
    """Say how `after` differs from `before`, the same symbol's bars as they were stored."""
    if before is None:
        return "new"
    if digest(before) == digest(after):
        return "same"
    old, new = times_us(before), times_us(after)
    both, i, j = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    differs = np.zeros(len(both), np.bool_)
    for field in list(BAR_SCHEMA)[2:]:
        was, now = before[field.name].to_numpy()[i], after[field.name].to_numpy()[j]
        differs |= (was != now) & ~(np.isnan(was) & np.isnan(now))
    counts = {"added": len(new) - len(both), "changed": int(differs.sum()), "removed": len(old) - len(both)}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
