"""hftbacktest's C symbols, callable from compiled code that numba can cache.

hftbacktest's own binding calls ctypes pointers, which numba freezes as addresses and therefore refuses to cache.
Here the same functions are declared by name; the linker resolves them once `load_symbols` has loaded the
extension. Pointers are plain integers and booleans are bytes.

The engine exists in two forms, with the order book in a vector over a range of prices (``roivec``) or in a hash
map (``hashmap``); the second argument, `is_roi`, chooses. They are intrinsics and not kernels because each kernel
costs tens of milliseconds to compile. Names and meanings are those of ``hftbacktest.binding``.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I64, _U64, _U8, _F64, _PTR, _VOID = (
    types.int64,
    types.uint64,
    types.uint8,
    types.float64,
    types.intp,
    types.void,
)

ORDER_VIEW = np.dtype(
    [
        ("qty", "f8"),
        ("leaves_qty", "f8"),
        ("exec_qty", "f8"),
        ("exec_price_tick", "i8"),
        ("price_tick", "i8"),
        ("tick_size", "f8"),
        ("exch_timestamp", "i8"),
        ("local_timestamp", "i8"),
        ("order_id", "u8"),
        ("_q1", "u8"),
        ("_q2", "u8"),
        ("maker", "u1"),
        ("order_type", "u1"),
        ("req", "u1"),
        ("status", "u1"),
        ("side", "i1"),
        ("time_in_force", "u1"),
    ],
    align=True,
)
"""The engine's order record."""


def load_symbols() -> None:
    """Make the extension's symbols known to the linker; call before compiled code that uses them is loaded."""
    import llvmlite.binding as llvm
    from hftbacktest import _hftbacktest

    llvm.load_library_permanently(_hftbacktest.__file__)


@intrinsic
def as_pointer(typingctx, address):
    """`address` as a void pointer, for `numba.carray`."""

    def codegen(context, builder, signature, values):
        return builder.inttoptr(values[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), codegen


@intrinsic
def call_back(typingctx, address, reason):
    """Call the function ``int64 f(int64)`` at an address; a Python one takes the GIL itself."""

    def codegen(context, builder, signature, values):
        function_type = ll.FunctionType(ll.IntType(64), [ll.IntType(64)])
        function = builder.inttoptr(values[0], function_type.as_pointer())
        return builder.call(function, [values[1]])

    return types.int64(types.int64, types.int64), codegen


def _call(name: str, result: Any, *arguments: Any) -> Any:
    """Typing and code of ``call(address, is_roi, *arguments)`` to one of the symbols ``{roivec,hashmap}{name}``."""

    def codegen(context, builder, signature, values):  # numba's own types
        kinds = [context.get_value_type(t) for t in (_PTR, *arguments)]
        returned = ll.VoidType() if result is _VOID else context.get_value_type(result)
        function_type = ll.FunctionType(returned, kinds)
        roi, hashed = (
            cgutils.get_or_insert_function(builder.module, function_type, form + name) for form in _FORMS
        )
        answer = builder.call(builder.select(values[1], roi, hashed), [values[0], *values[2:]])
        return context.get_dummy_value() if result is _VOID else answer

    return result(_PTR, types.boolean, *arguments), codegen


_FORMS = ("roivec", "hashmap")


@intrinsic
def elapse(typingctx, engine, is_roi, duration_ns):
    """Let time pass; 0 is done, 1 end of data, anything else an error."""
    return _call("bt_elapse", _I64, _U64)


@intrinsic
def wait_next_feed(typingctx, engine, is_roi, with_responses, timeout_ns):
    """Wait for feed or order response; 0 timeout, 1 end of data, 2 feed, 3 response, else an error."""
    return _call("bt_wait_next_feed", _I64, _U8, _I64)


@intrinsic
def position_qty(typingctx, engine, is_roi, asset):
    """Position as the engine books it, base units."""
    return _call("bt_position", _F64, _U64)


@intrinsic
def current_ts(typingctx, engine, is_roi):
    """Simulated time, ns UTC; int64 max before the first `elapse`."""
    return _call("bt_current_timestamp", _I64)


@intrinsic
def depth_address(typingctx, engine, is_roi, asset):
    """Address of the local order book; it does not move while the engine lives."""
    return _call("bt_depth", _PTR, _U64)


@intrinsic
def orders_address(typingctx, engine, is_roi, asset):
    """Address of the local orders, for `order_address`."""
    return _call("bt_orders", _PTR, _U64)


@intrinsic
def submit_buy(typingctx, engine, is_roi, asset, order_id, px, qty, time_in_force, order_type, wait):
    """Send a buy order; 0 is done, anything else an error."""
    return _call("bt_submit_buy_order", _I64, _U64, _U64, _F64, _F64, _U8, _U8, _U8)


@intrinsic
def submit_sell(typingctx, engine, is_roi, asset, order_id, px, qty, time_in_force, order_type, wait):
    """Send a sell order; 0 is done, anything else an error."""
    return _call("bt_submit_sell_order", _I64, _U64, _U64, _F64, _F64, _U8, _U8, _U8)


@intrinsic
def modify(typingctx, engine, is_roi, asset, order_id, px, qty, wait):
    """Ask for another price or quantity; 0 is done, anything else an error."""
    return _call("bt_modify", _I64, _U64, _U64, _F64, _F64, _U8)


@intrinsic
def cancel(typingctx, engine, is_roi, asset, order_id, wait):
    """Ask to cancel; 0 is done, anything else an error."""
    return _call("bt_cancel", _I64, _U64, _U64, _U8)


@intrinsic
def clear_inactive_orders(typingctx, engine, is_roi, asset):
    """Forget finished orders on the local side."""
    return _call("bt_clear_inactive_orders", _VOID, _U64)


@intrinsic
def order_latency(typingctx, engine, is_roi, asset, request_ts, exch_ts, response_ts):
    """Write the times of the last response to three addresses; 0 if there has been none."""
    return _call("bt_order_latency", _U8, _U64, _PTR, _PTR, _PTR)


@intrinsic
def feed_latency(typingctx, engine, is_roi, asset, exch_ts, local_ts):
    """Write the times of the last feed event to two addresses; 0 if there has been none."""
    return _call("bt_feed_latency", _U8, _U64, _PTR, _PTR)


@intrinsic
def best_bid_ticks(typingctx, depth, is_roi):
    """Best bid of the local book in ticks; int64 min if there is none."""
    return _call("depth_best_bid_tick", _I64)


@intrinsic
def best_ask_ticks(typingctx, depth, is_roi):
    """Best ask of the local book in ticks; int64 max if there is none."""
    return _call("depth_best_ask_tick", _I64)


@intrinsic
def bid_qty(typingctx, depth, is_roi, ticks):
    """Quantity bid at a price in the local book."""
    return _call("depth_bid_qty_at_tick", _F64, _I64)


@intrinsic
def ask_qty(typingctx, depth, is_roi, ticks):
    """Quantity offered at a price in the local book."""
    return _call("depth_ask_qty_at_tick", _F64, _I64)


order_address = types.ExternalFunction("orders_get", _PTR(_PTR, _U64))
"""Address of an order, an `ORDER_VIEW`, by the address of the orders and its id; 0 if there is none."""
