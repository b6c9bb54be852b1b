"""Preprocessing of one symbol's bars: outliers and missing bars, from the bars before them only.

Prices are judged and filled on a scale without the jumps of corporate actions, and kept as traded. Nothing that
happens here is silent: each value that was judged or made has its bit in ``outlier_flag``.

Outliers. With ``x`` the close, ``r`` its log return and the statistics over the `outlier_window` bars before::

    zscore     |r - mean(r)| > outlier_threshold * sd(r)
    hampel     |x - median(x)| > outlier_threshold * 1.4826 * median(|x - median(x)|)

The windows see the bars as they came, never what replaced them, so that a new level or a new volatility is accepted
after a window at most. A window that does not vary, or has a price that is not positive (zscore), judges nothing. An
outlier is replaced by the close before it (zscore) or the window's median (hampel), in all four prices.

Missing bars. ``ffill`` repeats the last close in the first `max_gap` bars of each gap, however long the gap becomes:
at the time nobody knew. ``linear`` draws a line to the bar after the gap, if no more than `max_gap` bars are missing;
these bars have the bit INTERPOLATED, because they were not known at their own time. Volume is 0 in either. After the
last bar nothing is filled.

References
----------
Hampel, F. R. (1974). The influence curve and its role in robust estimation. J. Am. Stat. Assoc. 69, 383-393.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bt_framework.bars._manifest import DAY_NS, time_text
from bt_framework.bars._tables import VALUES, times_us
from bt_framework.bars.actions import Step, backward_factors, forward_scale
from bt_framework.bars.config import BarSourceConfig, MissingBars, OutlierAction, Outliers
from bt_framework.bars.schema import BAR_SCHEMA, BarFlag
from bt_framework.errors import ConfigError, DataError

_NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution per median absolute deviation."""
_NO_VARIATION = 1e-12
"""A window that varies less does not vary: what is left are rounding errors."""
_ROWS_AT_ONCE = 65_536
_MOST_FILLS = 50_000_000
"""Bars made for one symbol; more are a mistake, and do not fit into memory."""
_DAY_US = DAY_NS // 1_000
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Cleaning:
    """What was found and done.

    Attributes
    ----------
    missing : int or None
        Bars that were expected between the first and the last one; None where nothing says which.
    unexpected : int
        Bars that the calendar does not expect, or that are no whole number of intervals after the one before.
    unjudged : int
        Bars after the first window that could not be judged.
    longest_gap_ns : int
        Longest distance between two bars.
    """

    missing: int | None
    unexpected: int
    filled: int
    outliers: int
    unjudged: int
    longest_gap_ns: int


def check_rules(rules: BarSourceConfig, interval_ns: int) -> None:
    """Refuse to fill what nothing says is missing: days, without a calendar.

    Raises
    ------
    ConfigError
        If bars of a day or longer are to be filled and there is no calendar for them.
    """
    if rules.missing is MissingBars.leave or interval_ns < DAY_NS:
        return
    if interval_ns > DAY_NS:
        raise ConfigError(f"bars.missing must be leave for bars longer than a day, was {rules.missing.name}.")
    if not rules.calendar:
        raise ConfigError(
            f"bars.missing={rules.missing.name} needs a calendar for bars of a day: nothing else says which days are"
            " missing. Add bars.calendar=XNYS, or 24/7 for a market that never closes."
        )


def with_closes(bars: pa.Table, max_gap: int) -> pa.Table:
    """Leave out the bars of one symbol that have no close: they are missing bars.

    Raises
    ------
    DataError
        If none has one, or more than `max_gap` in a row between two others have none.
    """
    has_close = bars["close"].is_valid().to_numpy()
    at = np.flatnonzero(has_close)
    symbol = bars["symbol"][0].as_py()
    if not len(at):
        raise DataError(f"{symbol} has no close in any of its {bars.num_rows:,} bars.")
    if len(at) == bars.num_rows:
        return bars
    runs = np.diff(at) - 1
    if len(runs) and runs.max() > max_gap:
        first = int(at[runs.argmax()]) + 1
        times = times_us(bars)
        raise DataError(
            f"{symbol} has no close in {runs.max():,} bars in a row, {time_text(int(times[first]))} to"
            f" {time_text(int(times[first + runs.max() - 1]))}; max_gap is {max_gap}. Leave these bars out of the"
            " input, or raise bars.max_gap."
        )
    return bars.take(at)


def preprocess(
    bars: pa.Table,
    rules: BarSourceConfig,
    interval_ns: int,
    steps: Sequence[Step] = (),
    opens_us: _Array | None = None,
) -> tuple[pa.Table, Cleaning]:
    """Return the bars of one symbol with outliers and fills flagged and ``adj_factor`` set, and what was done.

    Parameters
    ----------
    bars : pa.Table
        Of `BAR_SCHEMA`, one symbol, in order, each with a close; at least one.
    rules : BarSourceConfig
        How to clean.
    interval_ns : int
        From one bar to the next.
    steps : sequence of Step
        What corporate actions do to the prices.
    opens_us : int64 array of shape (n_expected,), optional
        When the calendar expects bars, us UTC, at least from the first bar to the last.
    """
    times, close_px = times_us(bars), bars["close"].to_numpy()
    scale = forward_scale(len(times), steps)
    flagged, judged = find_outliers(close_px * scale, rules)
    columns: dict[str, _Array] = {name: bars[name].to_numpy().copy() for name in VALUES}
    flags = np.where(flagged, int(BarFlag.OUTLIER), 0).astype(np.uint8)
    if rules.outlier_action is OutlierAction.replace:
        flags[flagged] |= int(BarFlag.REPLACED)
        clean_px = _replaced(close_px * scale, flagged, rules) / scale
        for name in ("open", "high", "low", "close"):
            columns[name][flagged] = clean_px[flagged]
    factors = backward_factors(len(times), steps)
    gaps = _gaps(times, interval_ns, opens_us, rules.max_gap)
    fills = _fills(gaps, columns, scale, rules)
    order = np.argsort(np.r_[times, fills.times_us], kind="stable")
    arrays = {name: np.r_[columns[name], fills.values(name)][order] for name in VALUES}
    arrays["datetime"] = np.r_[times, fills.times_us][order]
    arrays["adj_factor"] = np.r_[factors, factors[fills.previous]][order]
    arrays["outlier_flag"] = np.r_[flags, np.full(len(fills.times_us), fills.flag, np.uint8)][order]
    warm = len(times) - rules.outlier_window - (rules.outliers is Outliers.zscore)
    cleaning = Cleaning(
        missing=gaps.missing,
        unexpected=gaps.unexpected,
        filled=len(fills.times_us),
        outliers=int(flagged.sum()),
        unjudged=0 if rules.outliers is Outliers.none else max(warm, 0) - int(judged.sum()),
        longest_gap_ns=int(np.diff(times).max(initial=0)) * 1_000,
    )
    return _table(bars["symbol"][0].as_py(), arrays), cleaning


def _table(symbol: str, arrays: dict[str, _Array]) -> pa.Table:
    columns = [pa.repeat(pa.scalar(symbol), len(arrays["datetime"]))]
    for field in list(BAR_SCHEMA)[1:]:
        columns.append(pa.array(arrays[field.name], from_pandas=True).cast(field.type))
    return pa.table(columns, schema=BAR_SCHEMA)


def find_outliers(close_px: _Array, rules: BarSourceConfig) -> tuple[_Array, _Array]:
    """Return which bars are outliers, and which could be judged at all.

    Parameters
    ----------
    close_px : float64 array of shape (n_bars,)
        Comparable closes, quote currency.
    rules : BarSourceConfig
        Method, window and threshold.

    Returns
    -------
    flagged, judged : bool arrays of shape (n_bars,)
    """
    flagged, judged = np.zeros((2, len(close_px)), np.bool_)
    if rules.outliers is Outliers.none:
        return flagged, judged
    values = close_px
    if rules.outliers is Outliers.zscore:
        values = np.full(len(close_px), np.nan)
        positive = np.where(close_px > 0, close_px, np.nan)
        values[1:] = np.diff(np.log(positive))
    window = rules.outlier_window
    for begin in range(window, len(values), _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, len(values))
        before = np.lib.stride_tricks.sliding_window_view(values[begin - window : end - 1], window)
        centre, spread, least = _location_and_scale(before, rules.outliers)
        with np.errstate(invalid="ignore"):
            judged[begin:end] = (spread > least) & np.isfinite(values[begin:end])
            flagged[begin:end] = np.abs(values[begin:end] - centre) > rules.outlier_threshold * spread
    return flagged & judged, judged


def _location_and_scale(before: _Array, method: Outliers) -> tuple[_Array, _Array, Any]:
    """Centre and spread of each window, and the spread below which it does not vary."""
    if method is Outliers.zscore:
        return before.mean(axis=1), before.std(axis=1, ddof=1), _NO_VARIATION
    centre = np.median(before, axis=1)
    spread = _NORMAL_MAD * np.median(np.abs(before - centre[:, None]), axis=1)
    return centre, spread, _NO_VARIATION * np.abs(centre)


def _replaced(close_px: _Array, flagged: _Array, rules: BarSourceConfig) -> _Array:
    """Closes with what takes the place of outliers."""
    clean_px = close_px.copy()
    for at in np.flatnonzero(flagged):
        if rules.outliers is Outliers.hampel:
            clean_px[at] = np.median(close_px[at - rules.outlier_window : at])
        else:
            clean_px[at] = clean_px[at - 1]
    return clean_px


@dataclass(frozen=True)
class _Gaps:
    """Missing bars that may be filled: time, the bar before, place in the gap from 1, and the gap's size."""

    missing: int | None
    unexpected: int
    times_us: _Array
    previous: _Array
    place: _Array
    size: _Array


def _gaps(times: _Array, interval_ns: int, opens_us: _Array | None, max_gap: int) -> _Gaps:
    interval_us = max(interval_ns // 1_000, 1)
    if opens_us is not None:
        return _calendar_gaps(times, opens_us, daily=interval_ns == DAY_NS)
    distance = np.diff(times)
    counts = (distance - 1) // interval_us
    unknown = interval_ns >= DAY_NS
    fillable = np.minimum(counts, 0 if unknown else max_gap)
    if fillable.sum() > _MOST_FILLS:
        raise DataError(
            f"bars.max_gap={max_gap} would fill up to {fillable.sum():,} bars of a symbol, {_MOST_FILLS:,} are the"
            " most. Look at bars.interval_ns and the times of its bars, or lower bars.max_gap."
        )
    previous = np.repeat(np.arange(len(distance)), fillable)
    place = np.arange(len(previous)) - np.repeat(np.cumsum(fillable) - fillable, fillable) + 1
    return _Gaps(
        missing=None if unknown else int(counts.sum()),
        unexpected=0 if unknown else int((distance % interval_us != 0).sum()),
        times_us=times[previous] + place * interval_us,
        previous=previous,
        place=place,
        size=counts[previous],
    )


def _calendar_gaps(times: _Array, opens_us: _Array, daily: bool) -> _Gaps:
    """Gaps against the calendar; a bar of a day belongs to the session of its UTC date."""
    keys = times // _DAY_US * _DAY_US if daily else times
    expected = opens_us[(opens_us >= keys[0]) & (opens_us <= keys[-1])]
    absent = np.setdiff1d(expected, keys)
    previous = np.searchsorted(keys, absent) - 1
    _, first, run, size = np.unique(previous, return_index=True, return_inverse=True, return_counts=True)
    return _Gaps(
        missing=len(absent),
        unexpected=len(np.setdiff1d(keys, expected)),
        times_us=absent + (times[previous] % _DAY_US if daily else 0),
        previous=previous,
        place=np.arange(len(absent)) - first[run] + 1,
        size=size[run],
    )


@dataclass(frozen=True)
class _Fills:
    """Bars that are made; ``previous`` is the bar before the gap."""

    times_us: _Array
    previous: _Array
    close_px: _Array
    volume: _Array
    flag: int

    def values(self, name: str) -> _Array:
        return self.volume if name == "volume" else self.close_px


def _fills(gaps: _Gaps, columns: dict[str, _Array], scale: _Array, rules: BarSourceConfig) -> _Fills:
    flag = int(BarFlag.FILLED)
    wanted: _Array
    if rules.missing is MissingBars.leave:
        wanted = np.zeros(len(gaps.place), np.bool_)
    elif rules.missing is MissingBars.ffill:
        wanted = gaps.place <= rules.max_gap
    else:
        flag |= int(BarFlag.INTERPOLATED)
        wanted = gaps.size <= rules.max_gap
    previous = gaps.previous[wanted]
    close_px = columns["close"][previous]
    if rules.missing is MissingBars.linear:
        after = columns["close"][previous + 1] * scale[previous + 1] / scale[previous]
        close_px = close_px + (after - close_px) * (gaps.place / (gaps.size + 1.0))[wanted]
    volume = np.where(np.isnan(columns["volume"][previous]), np.nan, 0.0)
    return _Fills(gaps.times_us[wanted], previous, close_px, volume, flag)
