"""Every symbol that the loop calls by name gives what hftbacktest's own binding gives, in both forms of the book."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import probe
import pytest
from hftbacktest import binding
from numba import carray, njit

from bt_framework.engine import _native
from bt_framework.engine._native import ORDER_VIEW, as_pointer
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

_FORMS = {True: "roivec", False: "hashmap"}


@njit
def _elapse(engine: int, roi: bool, ns: int) -> int:
    return _native.elapse(engine, roi, ns)


@njit
def _wait(engine: int, roi: bool, responses: int, ns: int) -> int:
    return _native.wait_next_feed(engine, roi, responses, ns)


@njit
def _buy(engine: int, roi: bool, order_id: int, px: float, qty: float) -> int:
    return _native.submit_buy(engine, roi, 0, order_id, px, qty, 0, 0, 0)


@njit
def _sell(engine: int, roi: bool, order_id: int, px: float, qty: float) -> int:
    return _native.submit_sell(engine, roi, 0, order_id, px, qty, 0, 0, 0)


@njit
def _modify(engine: int, roi: bool, order_id: int, px: float, qty: float) -> int:
    return _native.modify(engine, roi, 0, order_id, px, qty, 0)


@njit
def _cancel(engine: int, roi: bool, order_id: int) -> int:
    return _native.cancel(engine, roi, 0, order_id, 0)


@njit
def _clear(engine: int, roi: bool) -> None:
    _native.clear_inactive_orders(engine, roi, 0)


@njit
def _looks(engine: int, roi: bool, ticks: int) -> Any:
    depth = _native.depth_address(engine, roi, 0)
    return (
        _native.position_qty(engine, roi, 0),
        _native.current_ts(engine, roi),
        _native.best_bid_ticks(depth, roi),
        _native.best_ask_ticks(depth, roi),
        _native.bid_qty(depth, roi, ticks),
        _native.ask_qty(depth, roi, ticks + 2),
    )


@njit
def _latencies(engine: int, roi: bool, out: Any) -> Any:
    at = out.ctypes.data
    order = _native.order_latency(engine, roi, 0, at, at + 8, at + 16)
    feed = _native.feed_latency(engine, roi, 0, at + 24, at + 32)
    return order, feed


@njit
def _order(engine: int, roi: bool, order_id: int) -> Any:
    address = _native.order_address(_native.orders_address(engine, roi, 0), order_id)
    if address == 0:
        return np.zeros(1, ORDER_VIEW)
    return carray(as_pointer(address), 1, ORDER_VIEW).copy()


class ByName:
    """Through our symbols."""

    def __init__(self, session: Any, roi: bool) -> None:
        self.engine, self.roi = session._engine, roi

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = {
            "elapse": _elapse, "wait": _wait, "buy": _buy, "sell": _sell, "modify": _modify, "cancel": _cancel,
            "clear": _clear, "looks": _looks,
        }[name]  # fmt: skip
        return lambda *arguments: function(self.engine, self.roi, *arguments)

    def latencies(self) -> Any:
        out = np.zeros(5, np.int64)
        order, feed = _latencies(self.engine, self.roi, out)
        return bool(order), bool(feed), out.tolist()

    def order(self, order_id: int) -> Any:
        row = _order(self.engine, self.roi, order_id)[0]
        return {name: row[name].item() for name in ORDER_VIEW.names or () if not name.startswith("_")}


class ByBinding:
    """Through hftbacktest's ctypes functions."""

    def __init__(self, session: Any, roi: bool) -> None:
        self.engine, self.form = session._engine, _FORMS[roi]

    def _call(self, name: str, *arguments: Any) -> Any:
        return getattr(binding, f"{self.form}{name}")(*arguments)

    def elapse(self, ns: int) -> Any:
        return self._call("bt_elapse", self.engine, ns)

    def wait(self, responses: int, ns: int) -> Any:
        return self._call("bt_wait_next_feed", self.engine, bool(responses), ns)

    def buy(self, order_id: int, px: float, qty: float) -> Any:
        return self._call("bt_submit_buy_order", self.engine, 0, order_id, px, qty, 0, 0, False)

    def sell(self, order_id: int, px: float, qty: float) -> Any:
        return self._call("bt_submit_sell_order", self.engine, 0, order_id, px, qty, 0, 0, False)

    def modify(self, order_id: int, px: float, qty: float) -> Any:
        return self._call("bt_modify", self.engine, 0, order_id, px, qty, False)

    def cancel(self, order_id: int) -> Any:
        return self._call("bt_cancel", self.engine, 0, order_id, False)

    def clear(self) -> None:
        self._call("bt_clear_inactive_orders", self.engine, 0)

    def looks(self, ticks: int) -> Any:
        depth = self._call("bt_depth", self.engine, 0)
        return (
            self._call("bt_position", self.engine, 0),
            self._call("bt_current_timestamp", self.engine),
            self._call("depth_best_bid_tick", depth),
            self._call("depth_best_ask_tick", depth),
            self._call("depth_bid_qty_at_tick", depth, ticks),
            self._call("depth_ask_qty_at_tick", depth, ticks + 2),
        )

    def latencies(self) -> Any:
        out = [ctypes.c_int64(0) for _ in range(5)]
        refs = [ctypes.byref(value) for value in out]
        order = self._call("bt_order_latency", self.engine, 0, *refs[:3])
        feed = self._call("bt_feed_latency", self.engine, 0, *refs[3:])
        return bool(order), bool(feed), [value.value for value in out]

    def order(self, order_id: int) -> Any:
        from hftbacktest.order import order_dtype

        address = binding.orders_get(self._call("bt_orders", self.engine, 0), order_id)
        if not address:
            row = np.zeros(1, order_dtype)[0]
        else:
            raw = (ctypes.c_uint8 * order_dtype.itemsize).from_address(address)
            row = np.frombuffer(bytes(raw), order_dtype)[0]
        return {name: row[name].item() for name in order_dtype.names if not name.startswith("_")}


def _journey(call: Any) -> list[Any]:
    """Use every function, and return all answers."""
    seen: list[Any] = [call.latencies(), call.looks(199), call.elapse(0), call.looks(199)]

    def after(*answers: Any) -> None:
        seen.extend([*answers, call.looks(199), call.latencies(), *(call.order(i) for i in (1, 2, 3, 9))])

    after(call.elapse(11 * MS))
    after(call.buy(1, 99.5, 1.0), call.sell(2, 102.0, 2.0), call.buy(1, 99.5, 1.0))
    after(call.wait(1, 50 * MS))
    after(call.wait(0, 50 * MS), call.wait(1, 1))
    after(call.modify(2, 101.5, 2.0), call.modify(2, 101.5, 2.0), call.cancel(9))
    after(call.elapse(10 * MS))
    after(call.cancel(1), call.sell(3, 99.0, 0.5))
    after(call.elapse(20 * MS))
    call.clear()
    after(call.elapse(500 * MS))
    return seen


@pytest.mark.parametrize("roi", [True, False])
def test_every_symbol_answers_as_the_binding_does(roi: bool) -> None:
    journeys = []
    for way in (ByName, ByBinding):
        session, _ = probe.session_of([probe.flat_book()], roi=roi)
        journeys.append(_journey(way(session, roi)))
        session.close()
    for ours, theirs in zip(*journeys, strict=True):
        assert ours == theirs
    # The journey went somewhere: filled, modified, cancelled, refused and ended.
    flat = [x for x in journeys[0] if isinstance(x, int)]
    assert {0, 1, 2, 3, 10, 11, 12} <= set(flat)
    assert any(isinstance(x, tuple) and x[0] == -0.5 for x in journeys[0])
    assert START_TS + 6 * MS in [x[2][2] for x in journeys[0] if isinstance(x, tuple) and len(x) == 3]


def test_our_view_of_an_order_lies_where_the_binding_has_it() -> None:
    from hftbacktest.order import order_dtype

    assert ORDER_VIEW.itemsize == order_dtype.itemsize
    for name in ORDER_VIEW.names or ():
        if not name.startswith("_"):
            assert ORDER_VIEW.fields is not None
            theirs = order_dtype.fields[name]
            assert ORDER_VIEW.fields[name][1] == theirs[1]
            assert ORDER_VIEW.fields[name][0].itemsize == theirs[0].itemsize


def test_compiled_code_calls_a_python_function_back_and_takes_its_answer() -> None:
    seen: list[int] = []

    def wake(reason: int) -> int:
        seen.append(reason)
        return 7 * reason

    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(wake)
    address = ctypes.cast(function, ctypes.c_void_p).value

    @njit(nogil=True)
    def call(address: int, reason: int) -> int:
        return _native.call_back(address, reason)  # type: ignore[no-any-return]

    assert [call(address, reason) for reason in (1, 3)] == [7, 21]
    assert seen == [1, 3]


def test_no_symbol_is_left_out_of_the_comparison() -> None:
    import inspect

    used = inspect.getsource(inspect.getmodule(_journey))  # type: ignore[arg-type]
    names = [n for n, v in vars(_native).items() if type(v).__name__ == "_Intrinsic" or n == "order_address"]
    assert len(names) >= 18
    assert [n for n in names if n != "as_pointer" and f"_native.{n}(" not in used] == []
