"""Corporate actions: what makes prices before and after an ex-date comparable.

Each ex-date gives a factor for the prices before it. With the close ``c`` of the first bar on the ex-date, the close
``b`` before it, ``s`` new shares per old one and ``d`` cash per new share::

    split                            1 / s
    dividend, close_plus_dividend    c / (c + d)
    dividend, previous_close         1 - d * s / b

``adj_factor`` of a bar is the product of the factors of all later ex-dates: 1 for the newest bars. A price times it is
comparable with the newest one; volume is divided by it, so that price times volume stays what was paid. Several
dividends of one ex-date are added up, several splits multiplied. The day of a bar is the UTC day in which it opens.

References
----------
Center for Research in Security Prices, "CRSP Calculations", cumulative factors to adjust prices; the convention with
the previous close is theirs. Quandl, "WIKI EOD stock prices", methodology: the convention with the ex-date's close.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars._manifest import DAY_NS
from bt_framework.bars._tables import by_symbol, times_us
from bt_framework.bars.config import DividendConvention
from bt_framework.bars.schema import ACTION_SCHEMA, BAR_SCHEMA, BarFlag
from bt_framework.errors import DataError
from bt_framework.registry import unknown_name

KINDS = ("split", "dividend")
_MOST_FACTOR = 1e100
"""Of all ex-dates of a symbol together; beyond, products of prices and factors are no numbers."""
_PRICES = ("open", "high", "low", "close")
_DAY_US = DAY_NS // 1_000
_EPOCH = date(1970, 1, 1)


class Adjustment(Enum):
    """How prices are made comparable.

    ``backward``: times ``adj_factor``, comparable with the newest price; a later action changes all of them.
    ``point_in_time``: times ``adj_factor`` over that of the symbol's first bar; only what was known at a bar's own
    time goes into it, so later actions change nothing.
    """

    none = "none"
    backward = "backward"
    point_in_time = "point_in_time"


@dataclass(frozen=True)
class Step:
    """One ex-date of a symbol: prices before the bar at `index` are multiplied by `factor`."""

    index: int
    factor: float


def adjustment_factors(
    bars: pa.Table,
    actions: pa.Table,
    *,
    dividends: DividendConvention = DividendConvention.close_plus_dividend,
    as_of: date | None = None,
) -> np.ndarray[Any, Any]:
    """Return the factors that make past prices comparable with the newest ones.

    Parameters
    ----------
    bars : pa.Table
        Of `BAR_SCHEMA`, raw; each symbol's rows in order of time.
    actions : pa.Table
        Of `ACTION_SCHEMA`; those of other symbols are left out, as are ex-dates after a symbol's last bar, which
        are not known yet, and up to its first bar, before which there is nothing to adjust.
    dividends : DividendConvention
        How a dividend becomes a factor.
    as_of : date, optional
        Ex-dates after it are not known.

    Returns
    -------
    float64 array of shape (n_bars,)
        Backward factors: 1 at each symbol's newest bar.

    Raises
    ------
    DataError
        If an ex-date has no bar with a close of its own, a dividend is not below the price, or an action's kind or
        value is wrong. The message names symbol and ex-date.
    """
    factors = np.ones(bars.num_rows)
    by_name = actions_by_symbol(actions)
    for symbol, rows in by_symbol(bars):
        known = [a for a in by_name.get(symbol, ()) if as_of is None or a.ex_date <= as_of]
        if known:
            steps = steps_of(bars.take(rows), known, dividends)
            factors[rows] = backward_factors(len(rows), steps)
    return factors


@dataclass(frozen=True)
class ExDate:
    """What happens to one symbol on one day: new shares per old one, and cash per new share."""

    symbol: str
    ex_date: date
    split: float = 1.0
    dividend: float = 0.0


def actions_by_symbol(actions: pa.Table) -> dict[str, list[ExDate]]:
    """Ex-dates by symbol, in order.

    Raises
    ------
    DataError
        If a kind is unknown, or a value is not positive and finite.
    """
    merged: dict[tuple[str, date], ExDate] = {}
    for row in actions.to_pylist():
        symbol, day, kind, value = (row[name] for name in ACTION_SCHEMA.names)
        what = f"the {kind} of {symbol} on {day}"
        if kind not in KINDS:
            raise DataError(
                unknown_name(f"the kind of the corporate action of {symbol} on {day}", kind, KINDS)
            )
        if value is None or not 0 < value < float("inf"):
            raise DataError(f"{what} must be > 0 and finite, was {value}.")
        old = merged.get((symbol, day), ExDate(symbol, day))
        split = old.split * (value if kind == "split" else 1.0)
        dividend = old.dividend + (value if kind == "dividend" else 0.0)
        merged[symbol, day] = ExDate(symbol, day, split, dividend)
    by_name: dict[str, list[ExDate]] = {}
    for key in sorted(merged):
        by_name.setdefault(key[0], []).append(merged[key])
    return by_name


def steps_of(bars: pa.Table, ex_dates: Sequence[ExDate], dividends: DividendConvention) -> list[Step]:
    """Steps of one symbol's raw `bars`; raises as `adjustment_factors`."""
    real = pc.and_(
        pc.is_valid(bars["close"]), pc.equal(pc.bit_wise_and(bars["outlier_flag"], BarFlag.FILLED), 0)
    )
    at = np.flatnonzero(real.to_numpy())
    days, close_px = times_us(bars)[at] // _DAY_US, bars["close"].to_numpy()[at]
    steps = []
    for event in ex_dates:
        day = (event.ex_date - _EPOCH).days
        if not len(days) or day <= days[0] or day > days[-1]:
            continue
        first = int(np.searchsorted(days, day))
        if days[first] != day:
            raise DataError(
                f"{event.symbol} has no price on the ex-date {event.ex_date}: the bars around it are of"
                f" {_EPOCH + timedelta(days=int(days[first - 1]))} and {_EPOCH + timedelta(days=int(days[first]))}."
                " Correct the date, or add the bar."
            )
        factor = _factor(event, close_px[first - 1], close_px[first], dividends)
        steps.append(Step(int(at[first]), factor))
    whole = math.prod(step.factor for step in steps)
    if not 1 / _MOST_FACTOR < whole < _MOST_FACTOR:
        raise DataError(
            f"the corporate actions of {ex_dates[0].symbol} give its first prices the factor {whole:g}, which must be"
            f" between {1 / _MOST_FACTOR:g} and {_MOST_FACTOR:g}. Correct their values."
        )
    return steps


def _factor(event: ExDate, before_px: float, close_px: float, dividends: DividendConvention) -> float:
    """Factor of one ex-date for the prices before it."""
    factor = 1.0 / event.split
    if not event.dividend:
        return factor
    if dividends is DividendConvention.close_plus_dividend:
        kept, base_px = close_px / (close_px + event.dividend), close_px
    else:
        kept, base_px = 1.0 - event.dividend * event.split / before_px, before_px / event.split
    if not (base_px > 0 and 0 < kept < 1):
        raise DataError(
            f"the dividend of {event.symbol} on {event.ex_date} must be below the price, was {event.dividend:g} with"
            f" a price of {base_px:g}. Correct the dividend or the bar."
        )
    return factor * kept


def backward_factors(rows: int, steps: Sequence[Step]) -> np.ndarray[Any, Any]:
    """Float64 array of shape (rows,): product of the factors of later steps."""
    factors = np.ones(rows)
    product = 1.0
    end = rows
    for step in reversed(steps):
        factors[step.index : end] = product
        product *= step.factor
        end = step.index
    factors[:end] = product
    return factors


def forward_scale(rows: int, steps: Sequence[Step]) -> np.ndarray[Any, Any]:
    """Float64 array of shape (rows,): what makes prices comparable with the first one; 1 until the first step.

    A later action changes nothing in it, not even the last bit.
    """
    scale = np.ones(rows)
    product = 1.0
    for i, step in enumerate(steps):
        product /= step.factor
        scale[step.index : steps[i + 1].index if i + 1 < len(steps) else rows] = product
    return scale


def adjusted(bars: pa.Table, mode: Adjustment) -> pa.Table:
    """Return `bars` with comparable prices and volumes.

    Parameters
    ----------
    bars : pa.Table
        Of `BAR_SCHEMA`, raw with its factors, as the store keeps them; each symbol's rows in order of time.
    mode : Adjustment
        With ``point_in_time``, the first bar in `bars` of each symbol is as traded; bars that were interpolated take
        the close before the gap, for the one after it was not known then, and are left out where there is none.

    Returns
    -------
    pa.Table
        Of `BAR_SCHEMA`; ``adj_factor`` is what the prices were multiplied by. `unadjusted` is the inverse.
    """
    if mode is Adjustment.none:
        return _with(bars, "adj_factor", pa.array(np.ones(bars.num_rows)))
    factors = bars["adj_factor"].to_numpy()
    if mode is Adjustment.backward:
        return _scaled(bars, factors)
    factors = factors.copy()
    for _, rows in by_symbol(bars):
        factors[rows] /= factors[rows[0]]
    return _as_known_then(_scaled(bars, factors))


def unadjusted(bars: pa.Table) -> pa.Table:
    """Return the raw bars of what `adjusted` returned: prices divided by ``adj_factor``, volume times it."""
    factors = bars["adj_factor"]
    for name in _PRICES:
        bars = _with(bars, name, pc.divide(bars[name], factors))
    return _with(bars, "volume", pc.multiply(bars["volume"], factors))


def _scaled(bars: pa.Table, factors: np.ndarray[Any, Any]) -> pa.Table:
    column = pa.array(factors)
    for name in _PRICES:
        bars = _with(bars, name, pc.multiply(bars[name], column))
    return _with(_with(bars, "volume", pc.divide(bars["volume"], column)), "adj_factor", column)


def _as_known_then(bars: pa.Table) -> pa.Table:
    """Interpolated bars take the close before them, and are left out where there is none."""
    made = pc.not_equal(pc.bit_wise_and(bars["outlier_flag"], BarFlag.INTERPOLATED), 0).to_numpy()
    if not made.any():
        return bars
    close_px = bars["close"].to_numpy().copy()
    known = np.ones(len(close_px), np.bool_)
    for _, rows in by_symbol(bars):
        source = np.maximum.accumulate(np.where(made[rows], -1, np.arange(len(rows))))
        known[rows] = source >= 0
        close_px[rows] = close_px[rows[source]]
    for name in _PRICES:
        values = bars[name].to_numpy().copy()
        values[made] = close_px[made]
        bars = _with(bars, name, pa.array(values, from_pandas=True))
    return bars.filter(pa.array(known))


def _with(bars: pa.Table, name: str, values: Any) -> pa.Table:
    return bars.set_column(int(BAR_SCHEMA.get_field_index(name)), BAR_SCHEMA.field(name), values)


def read_actions(path: Path) -> pa.Table:
    """Read a CSV file with the columns symbol, ex_date (2024-02-09), kind and value: a table of `ACTION_SCHEMA`.

    Raises
    ------
    DataError
        If it cannot be read, or a column is absent or of another type.
    """
    import pyarrow.csv

    options = pyarrow.csv.ConvertOptions(
        column_types=ACTION_SCHEMA, include_columns=ACTION_SCHEMA.names, strings_can_be_null=True
    )
    try:
        table = pyarrow.csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"corporate actions {path} cannot be read: {str(error).splitlines()[0]}. The columns are symbol, ex_date"
            " (2024-02-09), kind (split, dividend) and value."
        ) from error
    for name in ACTION_SCHEMA.names:
        at = pc.index(pc.is_null(table[name]), True).as_py()
        if at >= 0:
            raise DataError(f"corporate actions {path}: {name} must be given, was not in line {at + 2}.")
    return table.cast(ACTION_SCHEMA)
