"""What a run earned and what it took: computed while it goes, in bounded memory.

Every sum runs strictly in the order of the rows (`numpy.cumsum` adds one by one, `numpy.sum` in pairs), so
the numbers have the same bits however the run was sliced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bt_framework.records import OrderEvent
from bt_framework.results.run import Instrument
from bt_framework.units import NS_PER_S

NS_PER_YEAR = 365 * 86_400 * 1_000_000_000
"""Crypto trades every day: a year is 365 days."""

_FILLED = (int(OrderEvent.PARTIALLY_FILLED), int(OrderEvent.FILLED))
_FINISHED = tuple(
    int(e) for e in (OrderEvent.FILLED, OrderEvent.CANCELLED, OrderEvent.EXPIRED, OrderEvent.REJECTED)
)


@dataclass
class Moments:
    """Running mean and standard deviation.

    Values are shifted by the first one before they are squared: that of a constant is exactly zero.
    """

    count: int = 0
    _first: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0

    def update(self, values: np.ndarray) -> None:
        """Add `values`, a float64 array of shape (n_values,)."""
        if len(values) == 0:
            return
        if self.count == 0:
            self._first = float(values[0])
        shifted = values - self._first
        self._sum = _add_up(self._sum, shifted)
        self._squares = _add_up(self._squares, shifted * shifted)
        self.count += len(values)

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN without values."""
        return self._first + self._sum / self.count if self.count else math.nan

    @property
    def std(self) -> float:
        """Standard deviation with n - 1 in the denominator; NaN for fewer than two values."""
        if self.count < 2:
            return math.nan
        return math.sqrt(max(0.0, self._squares - self._sum**2 / self.count) / (self.count - 1))

    def sharpe(self, periods_per_year: float) -> float:
        """Return mean / std x sqrt(periods_per_year); NaN if the deviation is zero or undefined."""
        std = self.std
        return self.mean / std * math.sqrt(periods_per_year) if std > 0 else math.nan


@dataclass
class Drawdown:
    """Running fall from the highest value so far, which starts at zero.

    Attributes
    ----------
    capital : float
        What the values come on top of, same unit.
    largest : float
        Largest fall, unit of the values.
    largest_frac : float
        Largest fall as a fraction of capital + peak, which need not be the same one. NaN without capital.
    """

    capital: float
    peak: float = 0.0
    largest: float = 0.0
    largest_frac: float = 0.0

    def update(self, values: np.ndarray) -> None:
        """Add `values`, a float64 array of shape (n_values,): changes since the start, in order of time."""
        if len(values) == 0:
            return
        peaks = np.maximum.accumulate(np.concatenate(([self.peak], values)))[1:]
        falls = peaks - values
        self.peak = float(peaks[-1])
        self.largest = max(self.largest, float(falls.max()))
        if self.capital > 0:
            self.largest_frac = max(self.largest_frac, float((falls / (self.capital + peaks)).max()))
        else:
            self.largest_frac = math.nan


def sharpe_ratio(returns: np.ndarray, periods_per_year: float) -> float:
    """Annualised Sharpe ratio, mean / std(ddof=1) x sqrt(periods_per_year), without a risk-free rate.

    Parameters
    ----------
    returns : float64 array of shape (n_periods,), fraction per period
    periods_per_year : float
        365 for daily returns of a market that never closes.

    Returns
    -------
    float
        NaN for fewer than two returns, or if they do not vary.

    References
    ----------
    W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994), 49-58.

    Examples
    --------
    >>> round(sharpe_ratio(np.array([0.01, -0.02, 0.03]), 365), 4)
    5.0615
    """
    moments = Moments()
    moments.update(np.asarray(returns, np.float64))
    return moments.sharpe(periods_per_year)


def max_drawdown(changes: np.ndarray, capital: float) -> tuple[float, float]:
    """Largest fall of ``capital + changes`` below its highest value so far, the start included.

    Parameters
    ----------
    changes : float64 array of shape (n_samples,), quote currency since the start
    capital : float
        Quote currency.

    Returns
    -------
    largest : float
        Quote currency, not negative.
    largest_frac : float
        Fraction of the value at the peak; NaN without capital.

    Examples
    --------
    >>> max_drawdown(np.array([100.0, 50.0, 80.0]), 900.0)
    (50.0, 0.05)
    """
    drawdown = Drawdown(capital)
    drawdown.update(np.asarray(changes, np.float64))
    return drawdown.largest, drawdown.largest_frac


@dataclass
class RunMetrics:
    """Metrics of a run, fed with its slices.

    Parameters
    ----------
    capital : float
        Quote currency; returns are on this constant amount, profits are not reinvested.
    equity_interval_ns : int
        Time between two equity samples.
    instruments : sequence of Instrument
        In the order of ``asset``. Quantity x price x contract size is a notional.

    Notes
    -----
    A sample of the portfolio is the sum of its instruments' rows and counts once all of them are there.

    ``pnl``, ``gross_pnl``
        Equity of the last sample after and before fees, quote currency.
    ``fees``
        Of all fills, quote currency; negative is a rebate.
    ``return_frac``
        pnl / capital.
    ``sharpe``
        Mean over standard deviation (n - 1) of the changes in equity from sample to sample, annualised with
        the square root of the samples in 365 days. A last interval that the end of the run cut short is left
        out. NaN if equity never changes.
    ``max_drawdown``, ``max_drawdown_frac``
        Largest fall of the sampled equity below its peak, quote currency; as a fraction of capital + peak.
    ``trades``, ``round_trips``
        Number of fills; number of fills that closed or reversed a position.
    ``trades_won``, ``trades_lost``, ``mean_trade_s``
        Closed trades, first in first out, that earned something after fees, or less than nothing; how long trades
        were open on average, seconds.
    ``orders``, ``fill_ratio``
        Orders submitted; orders with a fill among them, as a fraction.
    ``maker_share``
        Notional filled as maker, as a fraction of all.
    ``turnover_notional``, ``turnover``
        Notional filled, quote currency, and as a multiple of capital.
    """

    capital: float
    equity_interval_ns: int
    instruments: Sequence[Instrument]
    _changes: Moments = field(default_factory=Moments)
    _drawdown: Drawdown = field(init=False)
    _last_ts: int | None = None
    _equity: float = 0.0
    _sampled_fees: float = 0.0
    _fees: float = 0.0
    _notional: float = 0.0
    _maker_notional: float = 0.0
    _trades: int = 0
    _round_trips: int = 0
    _trades_closed: int = 0
    _trades_won: int = 0
    _trades_lost: int = 0
    _trades_ns: int = 0
    _orders: int = 0
    _orders_filled: int = 0

    def __post_init__(self) -> None:
        """Prepare what depends on the parameters."""
        self._drawdown = Drawdown(self.capital)
        self._contract_sizes = np.array([i.contract_size for i in self.instruments])
        self._inverse = np.array([i.inverse for i in self.instruments], bool)
        self._lot_sizes = np.array([i.lot_size for i in self.instruments])
        self._rest: np.ndarray | None = None
        self._partly_filled: set[int] = set()

    def update(self, tables: Mapping[str, np.ndarray]) -> None:
        """Add the rows of one slice.

        Parameters
        ----------
        tables : mapping of str to record array of shape (n_rows,)
            Records of `bt_framework.records` by table: orders, fills, trades and equity are read. Nothing is kept.
        """
        adders = {
            "orders": self._add_orders,
            "fills": self._add_fills,
            "trades": self._add_trades,
            "equity": self._add_equity,
        }
        for name, add in adders.items():
            rows = tables.get(name)
            if rows is not None and len(rows):
                add(rows)

    def result(self) -> dict[str, float]:
        """Metrics so far; undefined ones are NaN."""
        periods = NS_PER_YEAR / self.equity_interval_ns if self.equity_interval_ns > 0 else math.nan
        return {
            "pnl": self._equity,
            "gross_pnl": self._equity + self._sampled_fees,
            "fees": self._fees,
            "return_frac": _ratio(self._equity, self.capital),
            "sharpe": self._changes.sharpe(periods),
            "max_drawdown": self._drawdown.largest,
            "max_drawdown_frac": self._drawdown.largest_frac,
            "trades": self._trades,
            "round_trips": self._round_trips,
            "trades_won": self._trades_won,
            "trades_lost": self._trades_lost,
            "mean_trade_s": _ratio(self._trades_ns / NS_PER_S, self._trades_closed),
            "orders": self._orders,
            "fill_ratio": _ratio(self._orders_filled, self._orders),
            "maker_share": _ratio(self._maker_notional, self._notional),
            "turnover_notional": self._notional,
            "turnover": _ratio(self._notional, self.capital),
        }

    def _add_orders(self, rows: np.ndarray) -> None:
        """Count orders and those with a fill; only ids of partly filled, working orders are remembered."""
        events, ids = rows["event"], rows["order_id"]
        self._orders += int(np.count_nonzero(events == OrderEvent.SUBMITTED))
        filled = set(ids[np.isin(events, _FILLED)].tolist())
        self._orders_filled += len(filled - self._partly_filled)
        self._partly_filled |= filled
        self._partly_filled -= set(ids[np.isin(events, _FINISHED)].tolist())

    def _add_fills(self, rows: np.ndarray) -> None:
        asset, qty, after = rows["asset"], rows["qty"], rows["position_qty"]
        # Amounts of a run are in settlement currency: that of an inverse contract is its base.
        value = rows["px"] * qty * self._contract_sizes[asset]
        inverse = qty * self._contract_sizes[asset] / np.where(rows["px"] > 0, rows["px"], np.inf)
        notional = np.where(self._inverse[asset], inverse, value)
        before = after - rows["side"] * qty
        flat = 0.5 * self._lot_sizes[asset]
        closed = (np.abs(before) > flat) & ((np.abs(after) < flat) | (before * after < 0))
        self._trades += len(rows)
        self._round_trips += int(np.count_nonzero(closed))
        self._fees = _add_up(self._fees, rows["fee"])
        self._notional = _add_up(self._notional, notional)
        self._maker_notional = _add_up(self._maker_notional, np.where(rows["maker"] != 0, notional, 0.0))

    def _add_trades(self, rows: np.ndarray) -> None:
        closed = rows[rows["open"] == 0]
        self._trades_closed += len(closed)
        self._trades_won += int(np.count_nonzero(closed["net_pnl"] > 0))
        self._trades_lost += int(np.count_nonzero(closed["net_pnl"] < 0))
        self._trades_ns += sum(closed["duration_ns"].tolist())  # whole numbers of any size

    def _add_equity(self, rows: np.ndarray) -> None:
        """Add complete samples; the rows of one that the slice cut are kept for the next."""
        if self._rest is not None:
            rows = np.concatenate((self._rest, rows))
        width = len(self.instruments)
        complete = len(rows) // width * width
        self._rest = rows[complete:].copy() if complete < len(rows) else None
        if complete == 0:
            return
        samples = rows[:complete].reshape(-1, width)
        equity, ts = samples["equity"].sum(axis=1), samples["local_ts"][:, 0]
        self._drawdown.update(equity)
        if self._last_ts is None:
            changes, spans = np.diff(equity), np.diff(ts)
        else:
            changes = np.diff(equity, prepend=self._equity)
            spans = np.diff(ts, prepend=np.int64(self._last_ts))
        self._changes.update(changes[spans >= self.equity_interval_ns])
        self._last_ts = int(ts[-1])
        self._equity = float(equity[-1])
        self._sampled_fees = float(samples["fees"][-1].sum())


def _add_up(total: float, values: np.ndarray) -> float:
    """Add `values` to `total` one after the other."""
    return float(np.cumsum(np.concatenate(([total], values)))[-1])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
