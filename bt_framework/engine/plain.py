"""Strategies in plain Python, inside the same compiled loop.

The loop calls back into Python where it would call the strategy's kernels. Market, account and intents are the
classes of `bt_framework.engine.view`, not compiled, over the same memory; risk, sizing and ledger stay compiled.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import int64

from bt_framework.engine import _native, view
from bt_framework.engine._state import LoopArrays
from bt_framework.engine.strategy import WAKES, Kernels, PlainStrategy, Strategy
from bt_framework.jit import PlainForms
from bt_framework.results.run import Instrument

_Wake = Callable[[Any, Any, Any], None]


def plain_kernels(strategy: PlainStrategy | Strategy) -> Kernels:
    """Return the kernels that call a strategy back for the wake-ups that it wants."""
    source: Any = strategy.kernels if isinstance(strategy, Strategy) else strategy
    wanted = {name: getattr(source, name, None) for name in WAKES}
    return Kernels(**{n: f"bt_framework.engine._callback:{n}" for n, wake in wanted.items() if wake})


class PlainWakes:
    """Calls a strategy in plain Python for the loop, and keeps what it raises.

    Parameters
    ----------
    strategy : PlainStrategy or Strategy
        The kernels of a compiled strategy are run as the Python functions that they were written as.
    """

    def __init__(self, strategy: PlainStrategy | Strategy, instruments: Sequence[Instrument]) -> None:
        self.error: BaseException | None = None
        self._views: tuple[Any, Any, Any] | None = None
        if isinstance(strategy, Strategy):
            wakes = _plain_wakes(strategy, instruments)
        else:
            strategy.start(instruments)
            wakes = {WAKES[n]: getattr(strategy, n) for n in WAKES if hasattr(strategy, n)}
        self._wakes: dict[int, _Wake] = wakes
        self._function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self._call)

    @property
    def address(self) -> int:
        """Address of a C function; valid as long as this object lives."""
        return ctypes.cast(self._function, ctypes.c_void_p).value or 0

    def attach(self, engine: int, is_roi: bool, arrays: LoopArrays) -> None:
        """Say which engine and arrays the views are of."""
        self._views = views_of(engine, is_roi, arrays)

    def _call(self, reason: int) -> int:
        """Wake the strategy; nothing may be raised through the compiled loop."""
        try:
            market, account, out = self._views  # type: ignore[misc]
            out.begin()
            self._wakes[reason](market, account, out)
        except BaseException as error:
            self.error = error
            return 1
        return 0


def views_of(engine: int, is_roi: bool, arrays: LoopArrays) -> tuple[Any, Any, Any]:
    """(market, account, out) in plain Python, over the memory of a run."""
    from hftbacktest import binding

    form = "roivec" if is_roi else "hashmap"
    depth_of = getattr(binding, f"{form}bt_depth")
    depths = [int(depth_of(engine, asset)) for asset in range(len(arrays.ledger))]
    forms = PlainForms(_plain_depth(form) | {int64: int})
    market, account, out = (forms.class_of(c) for c in (view.MarketView, view.AccountView, view.Intents))
    clock, contracts, ledger = (_rows(a) for a in (arrays.clock, arrays.contracts, arrays.ledger))
    intents, signals = (a.view(np.recarray) for a in (arrays.intents, arrays.signals))
    return (
        market(is_roi, depths, clock, contracts, engine, arrays.scratch),
        account(clock, contracts, ledger, _rows(arrays.open_orders)),
        out(clock, intents, signals),
    )


def _plain_depth(form: str) -> dict[Any, Any]:
    """For each intrinsic that reads a book, a Python function that does."""
    from hftbacktest import binding

    best_bid, best_ask, bid_qty, ask_qty = (
        getattr(binding, f"{form}depth_{name}")
        for name in ("best_bid_tick", "best_ask_tick", "bid_qty_at_tick", "ask_qty_at_tick")
    )
    feed_latency = getattr(binding, f"{form}bt_feed_latency")
    pointer = ctypes.POINTER(ctypes.c_int64)
    return {
        _native.feed_latency: lambda engine, _, asset, *times: feed_latency(
            engine, asset, *(ctypes.cast(time, pointer) for time in times)
        ),
        _native.best_bid_ticks: lambda depth, _: best_bid(depth),
        _native.best_ask_ticks: lambda depth, _: best_ask(depth),
        _native.bid_qty: lambda depth, _, ticks: bid_qty(depth, ticks),
        _native.ask_qty: lambda depth, _, ticks: ask_qty(depth, ticks),
    }


def _rows(array: np.ndarray) -> Any:
    """The records of `array` as C structures in the same memory: several times as fast to read as numpy's."""
    assert array.dtype.names is not None
    kinds = {"f": ctypes.c_double, "i": ctypes.c_int64}
    fields = [(name, kinds[array.dtype[name].kind]) for name in array.dtype.names]
    row = type("Row", (ctypes.Structure,), {"_fields_": fields})
    rows = type("Rows", (ctypes.Array,), {"_type_": row, "_length_": len(array), "size": len(array)})
    return rows.from_buffer(array.view(np.uint8).data)  # type: ignore[attr-defined]


def _plain_wakes(strategy: Strategy, instruments: Sequence[Instrument]) -> dict[int, _Wake]:
    """The kernels of a compiled strategy as plain functions of the three views."""
    p, s, w = (strategy.params(instruments), strategy.state(instruments), strategy.work(instruments))
    forms = PlainForms()
    wakes: dict[int, _Wake] = {}
    for name, reason in WAKES.items():
        reference = getattr(strategy.kernels, name)
        if reference:
            module, _, function = reference.partition(":")
            wakes[reason] = _with_records(
                forms.of(getattr(importlib.import_module(module), function)), p, s, w
            )
    return wakes


def _with_records(kernel: Callable[..., Any], p: np.record, s: np.record, w: np.ndarray) -> _Wake:
    def wake(market: Any, account: Any, out: Any) -> None:
        kernel(market, account, out, p, s, w)

    return wake
