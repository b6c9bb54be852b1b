"""One engine with its data, driven in slices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from bt_framework.engine._broker import Fault
from bt_framework.engine._loop import Outcome
from bt_framework.engine._mappings import PassedPages
from bt_framework.engine._native import load_symbols
from bt_framework.engine._state import LOG_ROWS, TIER, LoopArrays, Sizes, allocate, contracts_of
from bt_framework.engine._sweep import SLACK_LOTS
from bt_framework.engine.calendar import local_days
from bt_framework.engine.models import (
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.engine.plain import PlainWakes
from bt_framework.engine.program import Program
from bt_framework.engine.rules import RiskRuleConfig
from bt_framework.errors import BtError, EngineError, KernelError, LedgerError
from bt_framework.results.run import LOGS, Instrument

_SLICE_S = 0.1
"""Wall time of a slice: short enough for progress and Ctrl-C, long enough for its overhead to vanish."""
_FIRST_SLICE_WAKES = 8_192
_FIRST_PLAIN_SLICE_WAKES = 16
"""A strategy in plain Python may take its time at each wake-up, and Ctrl-C waits for the end of a slice."""

_ENGINE_ERRORS = {
    10: "order id already exists",
    11: "a request for this order is under way",
    12: "no such order",
    13: "invalid order request",
    14: "invalid order status",
    15: "end of data",
    16: "the data cannot be read",
}
_FAULTS = {
    int(Fault.ORDER_LOST): "the engine no longer knows a working order",
    int(
        Fault.FILL_WITHOUT_PRICE
    ): "an order was filled while the other side of the exchange's book was empty",
    int(Fault.SWEEP_NOT_EXPLAINED): "an order was filled at prices that the followed book does not explain",
    int(
        Fault.PART_OF_A_LOT
    ): "an order was filled by a part of a lot: the book's quantities are not whole lots",
    int(Fault.TOO_MANY_FILLS): "more fills at one instant than the log holds",
}


@dataclass(frozen=True)
class Market:
    """The data and the venue of one instrument.

    Attributes
    ----------
    instrument : Instrument
        Symbol, tick, lot and contract size.
    events : sequence of EVENT arrays
        In time order; they are mapped, not copied, and kept alive as long as the engine, as `latency_rows` are.
    low_px, high_px : float or None
        Bounds of the book's price vector, quote currency; None for the hash-map book, which has no bounds.
    latency_rows : LATENCY_ROW array, optional
        Order latencies over time, instead of the model's constants.
    swept_low_px, swept_high_px : float
        Prices between which the exchange's book is followed where it fills level by level, quote currency.
    """

    instrument: Instrument
    events: Sequence[np.ndarray]
    latency: LatencyModel
    queue: QueueModel
    exchange: ExchangeModel
    fees: FeeSchedule
    low_px: float | None = None
    high_px: float | None = None
    latency_rows: np.ndarray | None = None
    swept_low_px: float = 0.0
    swept_high_px: float = 0.0

    @property
    def sweeps(self) -> bool:
        """Whether the exchange may fill one order at several prices."""
        return self.exchange.sweeps


@dataclass(frozen=True)
class Clocking:
    """When things happen. Times in ns UTC; `timer_ns` 0 is no timer."""

    start_ts: int
    end_ts: int
    timer_ns: int
    equity_interval_ns: int


@dataclass(frozen=True)
class RuleRecords:
    """Run-time values of one risk rule: its kernels' ``p`` and ``s``, and what follows a breach."""

    params: np.record
    state: np.record
    config: RiskRuleConfig


@dataclass(frozen=True)
class Records:
    """Run-time values of the composition's kernels.

    Attributes
    ----------
    sizing : tuple of (record, record)
        Parameters and state.
    slippage : record
        Parameters.
    """

    params: np.record
    state: np.record
    work: np.ndarray
    rules: tuple[RuleRecords, ...]
    sizing: tuple[np.record, np.record]
    slippage: np.record


@dataclass(frozen=True)
class AccountTerms:
    """What concerns the whole account: capital in settlement currency, and how many levels of a book are seen."""

    capital: float
    seen_levels: int = 0


class Session:
    """An engine that runs one composition once.

    Parameters
    ----------
    markets : sequence of Market
        One per instrument, in the strategy's order.
    program : Program
        The compiled loop.
    clocking, records, terms : Clocking, Records, AccountTerms
        Times and run-time values.
    plain : PlainWakes, optional
        The strategy, if it is plain Python; the parameters are then a record with its ``address``.
    log_rows : int
        Rows of each log buffer; bounds memory, never changes a result.

    Raises
    ------
    EngineError
        From `slices`, if the engine, a kernel or the ledger fails.
    """

    def __init__(
        self,
        markets: Sequence[Market],
        program: Program,
        clocking: Clocking,
        records: Records,
        terms: AccountTerms,
        *,
        plain: PlainWakes | None = None,
        log_rows: int = LOG_ROWS,
    ) -> None:
        load_symbols()
        self._markets = tuple(markets)  # keeps the event arrays alive: the engine holds bare pointers
        self._passed = [PassedPages(events) for market in self._markets for events in market.events]
        self._passed += [
            PassedPages(m.latency_rows, time="req_ts") for m in self._markets if m.latency_rows is not None
        ]
        self._program = program
        self._records = _records(records, clocking)
        self._is_roi = all(m.low_px is not None and m.high_px is not None for m in markets)
        self._engine = _build_engine(self._markets, self._is_roi)
        self.arrays = _arrays(self._markets, self._is_roi, records, log_rows)
        clock = self.arrays.clock[0]
        clock["start_ts"], clock["end_ts"] = clocking.start_ts, clocking.end_ts
        clock["timer_ns"], clock["equity_ns"] = (clocking.timer_ns, clocking.equity_interval_ns)
        clock["now_ts"], clock["next_order_id"] = clocking.start_ts, 1
        clock["capital"], clock["seen_levels"] = terms.capital, terms.seen_levels
        self._plain = plain
        if plain is not None:
            plain.attach(self._engine, self._is_roi, self.arrays)

    @property
    def local_ts(self) -> int:
        """Simulated time, ns UTC."""
        return int(self.arrays.clock[0]["now_ts"])

    @property
    def wakes(self) -> int:
        """How often the engine has been asked to go on."""
        return int(self.arrays.clock[0]["wakes"])

    def prepare(self) -> None:
        """Load or compile the loop, and go to the start of the data, without taking a step."""
        self._run(0)

    def slices(self, max_wakes: int) -> Iterator[Mapping[str, np.ndarray]]:
        """Run to the end in slices of about `_SLICE_S` wall time, and of `max_wakes` wake-ups at most.

        Yields
        ------
        mapping of str to record array
            What the slice added to each of `LOGS`: views, valid until the next slice.
        """
        wakes = min(_FIRST_SLICE_WAKES if self._plain is None else _FIRST_PLAIN_SLICE_WAKES, max_wakes)
        while True:
            began = time.perf_counter()
            try:
                outcome = self._run(wakes)
                took_s = time.perf_counter() - began
                self._check_ledger()
            except EngineError:
                yield self._drain()  # what led to the failure is what its finder needs
                raise
            yield self._drain()
            if outcome == Outcome.END_OF_DATA:
                return
            for pages in self._passed:
                pages.release(self.local_ts)
            if took_s < _SLICE_S / 2:
                wakes = min(2 * wakes, max_wakes)
            elif took_s > 2 * _SLICE_S:
                wakes = max(int(wakes * _SLICE_S / took_s), 1)

    def close(self) -> None:
        """Free the engine; the session cannot be used afterwards."""
        if self._engine:
            from hftbacktest import binding

            close = binding.roivecbt_close if self._is_roi else binding.hashmapbt_close
            close(self._engine)
            self._engine = 0

    def _run(self, max_wakes: int) -> Outcome:
        try:
            outcome = Outcome(
                self._program.run_slice(self._engine, self._is_roi, self.arrays, self._records, max_wakes)
            )
        except BtError:  # asked to stop while it compiled
            raise
        except Exception as error:
            if self._plain is not None and self._plain.error is not None:
                self._reraise(self._plain.error)
            raise KernelError(
                f"a kernel raised {type(error).__name__}: {error} (simulated time {_iso(self.local_ts)}).",
                local_ts=self.local_ts,
            ) from error
        if outcome == Outcome.ERROR:
            raise self._engine_error()
        return outcome

    def _reraise(self, error: BaseException) -> NoReturn:
        """Raise what a strategy in plain Python has raised."""
        if isinstance(error, BtError | KeyboardInterrupt):
            raise error
        raise KernelError(
            f"the strategy raised {type(error).__name__}: {error} (simulated time {_iso(self.local_ts)}).",
            local_ts=self.local_ts,
        ) from error

    def _engine_error(self) -> EngineError:
        clock = self.arrays.clock[0]
        code, order_id = int(clock["engine_code"]), int(clock["fault_order_id"])
        what = _FAULTS.get(code) or f"the engine returned code {code}: {_ENGINE_ERRORS.get(code, 'unknown')}"
        order = f", order {order_id}" if order_id else ""
        return EngineError(f"{what} (simulated time {_iso(self.local_ts)}{order}).", local_ts=self.local_ts)

    def _check_ledger(self) -> None:
        """Compare our positions with the engine's, which books fills on its own.

        Where it fills level by level, it books the last part only (upstream #316), and that is compared.
        """
        from hftbacktest import binding

        position = binding.roivecbt_position if self._is_roi else binding.hashmapbt_position
        for asset, market in enumerate(self._markets):
            ours = float(self.arrays.ledger[asset]["engine_qty" if market.sweeps else "position_qty"])
            theirs = float(position(self._engine, asset))
            if abs(ours - theirs) > 0.5 * market.instrument.lot_size:
                fills = self.arrays.fills[: int(self.arrays.clock[0]["fills"])]
                own = fills[fills["asset"] == asset]
                last = (
                    f"last fill: order {own[-1]['order_id']} at {_iso(int(own[-1]['local_ts']))}"
                    if len(own)
                    else "no fill in this slice"
                )
                raise LedgerError(
                    f"{market.instrument.symbol}: the ledger's position must be the engine's, was {ours} against "
                    f"{theirs} at {_iso(self.local_ts)} ({last}).",
                    local_ts=self.local_ts,
                )

    def _drain(self) -> Mapping[str, np.ndarray]:
        clock = self.arrays.clock[0]
        tables = {name: getattr(self.arrays, name)[: int(clock[name])] for name in LOGS}
        for name in LOGS:
            clock[name] = 0
        clock["booked_fills"] = 0
        return tables


def _records(records: Records, clocking: Clocking) -> tuple[Any, ...]:
    """Run-time values in the order that the loop takes them."""
    calendars = {
        zone: local_days(clocking.start_ts, clocking.end_ts, zone)
        for zone in {rule.config.time_zone for rule in records.rules}
    }
    rules = tuple((rule.params, rule.state, calendars[rule.config.time_zone]) for rule in records.rules)
    return (records.params, records.state, records.work, rules, records.sizing, records.slippage)


def _arrays(markets: Sequence[Market], is_roi: bool, records: Records, log_rows: int) -> LoopArrays:
    """The arrays of a run, with all that the composition decides filled in."""
    contracts = contracts_of([_contract(market, is_roi) for market in markets])
    levels = [2 * (int(c["high_ticks"] - c["low_ticks"]) + 1) if c["sweeps"] else 0 for c in contracts]
    days = max(market.fees.of(market.instrument.symbol).volume_days for market in markets)
    sizes = Sizes(log_rows, len(records.rules), days, sum(levels))
    arrays = allocate(contracts, _tiers(markets), sizes)
    for asset, market in enumerate(markets):
        feed = arrays.exch_feeds[asset]
        feed["first_level"] = sum(levels[:asset])
        if market.sweeps:
            (events,) = market.events
            feed["address"], feed["rows"] = events.ctypes.data, len(events)
            feed["best_bid_ticks"] = contracts[asset]["low_ticks"] - 1
            feed["best_ask_ticks"] = feed["low_bid_ticks"] = contracts[asset]["high_ticks"] + 1
            feed["high_ask_ticks"] = contracts[asset]["low_ticks"] - 1
    for control, rule in zip(arrays.controls, records.rules, strict=True):
        control["action"] = rule.config.action
        control["resume_after_ns"] = rule.config.resume_after_ns
    return arrays


def _tiers(markets: Sequence[Market]) -> np.ndarray:
    """A TIER array of shape (n_instruments, n_tiers); tiers that nobody reaches fill up the rows."""
    schedules = [market.fees.of(market.instrument.symbol).all_tiers for market in markets]
    tiers = np.zeros((len(schedules), max(map(len, schedules))), TIER)
    tiers["min_volume"] = np.inf
    for row, schedule in zip(tiers, schedules, strict=True):
        for place, tier in enumerate(schedule):
            row[place] = (tier.min_volume, tier.maker_value_frac, tier.taker_value_frac)
    return tiers


def _contract(market: Market, is_roi: bool) -> dict[str, float]:
    instrument, fees = market.instrument, market.fees.of(market.instrument.symbol)
    low, high = (1, 2**62)
    if market.sweeps:
        low, high = _ticks(market, market.swept_low_px, market.swept_high_px)
    if is_roi:
        low, high = _bounds_ticks(market)
    return {
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "contract_size": instrument.contract_size,
        "low_ticks": low,
        "high_ticks": high,
        "inverse": instrument.inverse,
        "sweeps": market.sweeps,
        "slack_qty": SLACK_LOTS * instrument.lot_size if market.sweeps else 0.0,
        "maker_per_qty": fees.maker_per_qty,
        "taker_per_qty": fees.taker_per_qty,
        "per_fill": fees.per_fill,
    }


def _bounds_ticks(market: Market) -> tuple[int, int]:
    assert market.low_px is not None
    assert market.high_px is not None
    return _ticks(market, market.low_px, market.high_px)


def _ticks(market: Market, low_px: float, high_px: float) -> tuple[int, int]:
    tick = market.instrument.tick_size
    return max(1, round(low_px / tick)), round(high_px / tick)


def _build_engine(markets: Sequence[Market], is_roi: bool) -> int:
    """Build hftbacktest's engine and return its address."""
    from hftbacktest import BacktestAsset, build_hashmap_backtest, build_roivec_backtest

    assets = []
    for market in markets:
        size = market.instrument.contract_size
        asset = BacktestAsset().data(list(market.events))
        asset = asset.inverse_asset(size) if market.instrument.inverse else asset.linear_asset(size)
        if market.latency_rows is None:
            asset.constant_order_latency(market.latency.entry_ns, market.latency.response_ns)
        else:
            asset.intp_order_latency(market.latency_rows)
        _set_queue(asset, market.queue)
        asset = asset.partial_fill_exchange() if market.sweeps else asset.no_partial_fill_exchange()
        # The engine's own fees are not used (see the ledger); its position is.
        asset.trading_value_fee_model(0.0, 0.0)
        asset.tick_size(market.instrument.tick_size).lot_size(
            market.instrument.lot_size
        ).last_trades_capacity(0)
        if is_roi:
            low, high = _bounds_ticks(market)
            # One tick more than orders may have, see `bt_framework.engine.clears`.
            asset.roi_lb(low * market.instrument.tick_size).roi_ub((high + 1) * market.instrument.tick_size)
        assets.append(asset)
    return int((build_roivec_backtest if is_roi else build_hashmap_backtest)(assets))


def _set_queue(asset: Any, queue: QueueModel) -> None:
    match queue.kind:
        case QueueKind.RISK_AVERSE:
            asset.risk_adverse_queue_model()
        case QueueKind.LOG_PROB:
            asset.log_prob_queue_model()
        case QueueKind.LOG_PROB2:
            asset.log_prob_queue_model2()
        case QueueKind.POWER_PROB:
            asset.power_prob_queue_model(queue.exponent)
        case QueueKind.POWER_PROB2:
            asset.power_prob_queue_model2(queue.exponent)
        case QueueKind.POWER_PROB3:
            asset.power_prob_queue_model3(queue.exponent)
        case QueueKind.L3_FIFO:
            asset.l3_fifo_queue_model()


def _iso(ts: int) -> str:
    """ISO 8601 UTC with nanoseconds."""
    return f"{np.datetime64(ts, 'ns')}Z"
