"""hftbacktest's C symbols, callable from compiled code that numba can cache.

hftbacktest's own binding calls ctypes pointers, which numba freezes as addresses and therefore refuses to cache.
Here the same functions are declared by name; the linker resolves them once `load_symbols` has loaded the
extension. Pointers are plain integers. Booleans are declared as bytes: numba lowers an external boolean result as
i8 and then refuses it as a condition.

The engine exists in two forms, with the order book in a vector over a range of prices (``roivec``) or in a hash
map (``hashmap``); `is_roi` chooses. Names and meanings are those of ``hftbacktest.binding``.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bt_framework.jit import kernel

_I64, _U64, _U8, _F64, _PTR = types.int64, types.uint64, types.uint8, types.float64, types.intp

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

_BOT = {
    "elapse": _I64(_PTR, _U64),
    "wait_next_feed": _I64(_PTR, _U8, _I64),
    "position": _F64(_PTR, _U64),
    "current_timestamp": _I64(_PTR),
    "depth": _PTR(_PTR, _U64),
    "orders": _PTR(_PTR, _U64),
    "submit_buy_order": _I64(_PTR, _U64, _U64, _F64, _F64, _U8, _U8, _U8),
    "submit_sell_order": _I64(_PTR, _U64, _U64, _F64, _F64, _U8, _U8, _U8),
    "modify": _I64(_PTR, _U64, _U64, _F64, _F64, _U8),
    "cancel": _I64(_PTR, _U64, _U64, _U8),
    "clear_inactive_orders": types.void(_PTR, _U64),
    "order_latency": _U8(_PTR, _U64, _PTR, _PTR, _PTR),
    "close": _I64(_PTR),
}
_DEPTH = {
    "best_bid_tick": _I64(_PTR),
    "best_ask_tick": _I64(_PTR),
    "bid_qty_at_tick": _F64(_PTR, _I64),
    "ask_qty_at_tick": _F64(_PTR, _I64),
}


def _declare(symbol: str, signature: types.Type) -> types.ExternalFunction:
    return types.ExternalFunction(symbol, signature)


_roi_elapse = _declare("roivecbt_elapse", _BOT["elapse"])
_map_elapse = _declare("hashmapbt_elapse", _BOT["elapse"])
_roi_wait = _declare("roivecbt_wait_next_feed", _BOT["wait_next_feed"])
_map_wait = _declare("hashmapbt_wait_next_feed", _BOT["wait_next_feed"])
_roi_position = _declare("roivecbt_position", _BOT["position"])
_map_position = _declare("hashmapbt_position", _BOT["position"])
_roi_now = _declare("roivecbt_current_timestamp", _BOT["current_timestamp"])
_map_now = _declare("hashmapbt_current_timestamp", _BOT["current_timestamp"])
_roi_depth = _declare("roivecbt_depth", _BOT["depth"])
_map_depth = _declare("hashmapbt_depth", _BOT["depth"])
_roi_orders = _declare("roivecbt_orders", _BOT["orders"])
_map_orders = _declare("hashmapbt_orders", _BOT["orders"])
_roi_buy = _declare("roivecbt_submit_buy_order", _BOT["submit_buy_order"])
_map_buy = _declare("hashmapbt_submit_buy_order", _BOT["submit_buy_order"])
_roi_sell = _declare("roivecbt_submit_sell_order", _BOT["submit_sell_order"])
_map_sell = _declare("hashmapbt_submit_sell_order", _BOT["submit_sell_order"])
_roi_modify = _declare("roivecbt_modify", _BOT["modify"])
_map_modify = _declare("hashmapbt_modify", _BOT["modify"])
_roi_cancel = _declare("roivecbt_cancel", _BOT["cancel"])
_map_cancel = _declare("hashmapbt_cancel", _BOT["cancel"])
_roi_clear = _declare("roivecbt_clear_inactive_orders", _BOT["clear_inactive_orders"])
_map_clear = _declare("hashmapbt_clear_inactive_orders", _BOT["clear_inactive_orders"])
_roi_latency = _declare("roivecbt_order_latency", _BOT["order_latency"])
_map_latency = _declare("hashmapbt_order_latency", _BOT["order_latency"])
_roi_bid_tick = _declare("roivecdepth_best_bid_tick", _DEPTH["best_bid_tick"])
_map_bid_tick = _declare("hashmapdepth_best_bid_tick", _DEPTH["best_bid_tick"])
_roi_ask_tick = _declare("roivecdepth_best_ask_tick", _DEPTH["best_ask_tick"])
_map_ask_tick = _declare("hashmapdepth_best_ask_tick", _DEPTH["best_ask_tick"])
_roi_bid_qty = _declare("roivecdepth_bid_qty_at_tick", _DEPTH["bid_qty_at_tick"])
_map_bid_qty = _declare("hashmapdepth_bid_qty_at_tick", _DEPTH["bid_qty_at_tick"])
_roi_ask_qty = _declare("roivecdepth_ask_qty_at_tick", _DEPTH["ask_qty_at_tick"])
_map_ask_qty = _declare("hashmapdepth_ask_qty_at_tick", _DEPTH["ask_qty_at_tick"])
_orders_get = _declare("orders_get", _PTR(_PTR, _U64))


def load_symbols() -> None:
    """Make the extension's symbols known to the linker; call before compiled code that uses them is loaded."""
    import llvmlite.binding as llvm
    from hftbacktest import _hftbacktest

    llvm.load_library_permanently(_hftbacktest.__file__)


@intrinsic
def _as_pointer(typingctx, address):  # type: ignore[no-untyped-def]  # numba calls it with its own types
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), codegen


@kernel
def elapse(engine, is_roi, duration_ns):
    """Let time pass; 0 is done, 1 end of data, anything else an error."""
    return _roi_elapse(engine, duration_ns) if is_roi else _map_elapse(engine, duration_ns)


@kernel
def wait_next_feed(engine, is_roi, timeout_ns):
    """Wait for feed or order response; 0 timeout, 1 end of data, 2 feed, 3 response, else an error."""
    return _roi_wait(engine, 1, timeout_ns) if is_roi else _map_wait(engine, 1, timeout_ns)


@kernel
def position_qty(engine, is_roi, asset):
    """Position as the engine books it, base units."""
    return _roi_position(engine, asset) if is_roi else _map_position(engine, asset)


@kernel
def current_ts(engine, is_roi):
    """Simulated time, ns UTC; int64 max before the first `elapse`."""
    return _roi_now(engine) if is_roi else _map_now(engine)


@kernel
def depth_address(engine, is_roi, asset):
    """Address of the local order book; it does not move while the engine lives."""
    return _roi_depth(engine, asset) if is_roi else _map_depth(engine, asset)


@kernel
def best_bid_ticks(depth, is_roi):
    """Best bid of the local book in ticks; int64 min if there is none."""
    return _roi_bid_tick(depth) if is_roi else _map_bid_tick(depth)


@kernel
def best_ask_ticks(depth, is_roi):
    """Best ask of the local book in ticks; int64 max if there is none."""
    return _roi_ask_tick(depth) if is_roi else _map_ask_tick(depth)


@kernel
def bid_qty(depth, is_roi, ticks):
    """Quantity bid at a price in the local book."""
    return _roi_bid_qty(depth, ticks) if is_roi else _map_bid_qty(depth, ticks)


@kernel
def ask_qty(depth, is_roi, ticks):
    """Quantity offered at a price in the local book."""
    return _roi_ask_qty(depth, ticks) if is_roi else _map_ask_qty(depth, ticks)


@kernel
def submit(engine, is_roi, intent):
    """Send a new order; 0 is done, anything else an error."""
    asset, order_id, px, qty = intent.asset, intent.order_id, intent.px, intent.qty
    tif, kind = intent.time_in_force, intent.order_type
    if intent.side > 0:
        if is_roi:
            return _roi_buy(engine, asset, order_id, px, qty, tif, kind, 0)
        return _map_buy(engine, asset, order_id, px, qty, tif, kind, 0)
    if is_roi:
        return _roi_sell(engine, asset, order_id, px, qty, tif, kind, 0)
    return _map_sell(engine, asset, order_id, px, qty, tif, kind, 0)


@kernel
def modify(engine, is_roi, asset, order_id, px, qty):
    """Ask for another price or quantity; 0 is done, anything else an error."""
    if is_roi:
        return _roi_modify(engine, asset, order_id, px, qty, 0)
    return _map_modify(engine, asset, order_id, px, qty, 0)


@kernel
def cancel(engine, is_roi, asset, order_id):
    """Ask to cancel; 0 is done, anything else an error."""
    return _roi_cancel(engine, asset, order_id, 0) if is_roi else _map_cancel(engine, asset, order_id, 0)


@kernel
def clear_inactive_orders(engine, is_roi, asset):
    """Forget finished orders on the local side."""
    if is_roi:
        _roi_clear(engine, asset)
    else:
        _map_clear(engine, asset)


@kernel
def last_response_ts(engine, is_roi, asset, scratch):
    """When the last order response of `asset` arrived, ns UTC, or 0; `scratch` is int64 of shape (3,)."""
    at = scratch.ctypes.data
    if is_roi:
        known = _roi_latency(engine, asset, at, at + 8, at + 16)
    else:
        known = _map_latency(engine, asset, at, at + 8, at + 16)
    return scratch[2] if known else 0


@kernel
def order_address(engine, is_roi, asset, order_id):
    """Address of a local order, an `ORDER_VIEW`, or 0."""
    orders = _roi_orders(engine, asset) if is_roi else _map_orders(engine, asset)
    return _orders_get(orders, order_id)
