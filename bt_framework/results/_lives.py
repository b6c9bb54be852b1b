"""The life of each order from the rows of its steps and fills."""

from __future__ import annotations

import numpy as np

from bt_framework.records import ORDER_LIFE, OrderEvent, OrderStatus, Rows
from bt_framework.results._legs import Contracts

ENDS = {
    OrderEvent.FILLED: OrderStatus.FILLED,
    OrderEvent.CANCELLED: OrderStatus.CANCELLED,
    OrderEvent.EXPIRED: OrderStatus.EXPIRED,
    OrderEvent.REJECTED: OrderStatus.REJECTED,
}
"""Steps that end an order, and what it then is."""


def lives(orders: Rows, fills: Rows, contracts: Contracts) -> Rows:
    """Return the ORDER_LIFE rows of some orders, by ``order_id``.

    Parameters
    ----------
    orders : ORDER array of shape (n_steps,)
        All their steps so far, in order of time.
    fills : FILL array of shape (n_fills,)
        All their fills so far, in order of time; of no other orders.
    """
    submitted = orders[orders["event"] == OrderEvent.SUBMITTED]
    rows = np.zeros(len(submitted), ORDER_LIFE)
    ids = np.argsort(submitted["order_id"], kind="stable")
    sent = submitted[ids]
    for name in ("order_id", "signal_id", "asset", "side", "order_type", "time_in_force", "tag", "px", "qty"):
        rows[name] = sent[name]
    rows["created_ts"] = rows["sent_ts"] = sent["local_ts"]
    rows["last_px"], rows["last_qty"] = rows["px"], rows["qty"]
    rows["queue_ahead_qty"], rows["status"] = np.nan, OrderStatus.PENDING
    _add_steps(rows, orders)
    _add_fills(rows, fills, contracts)
    return rows


def _add_steps(rows: Rows, orders: Rows) -> None:
    place = np.searchsorted(rows["order_id"], orders["order_id"])
    accepted = orders["event"] == OrderEvent.ACCEPTED
    at, steps = place[accepted], orders[accepted]
    rows["accepted_exch_ts"][at], rows["accepted_local_ts"][at] = steps["exch_ts"], steps["local_ts"]
    rows["queue_ahead_qty"][at], rows["status"][at] = steps["queue_ahead_qty"], OrderStatus.WORKING
    # Later steps of an order come later, and of several values for one place numpy keeps the last.
    modified = orders["event"] == OrderEvent.MODIFIED
    at, steps = place[modified], orders[modified]
    rows["last_px"][at], rows["last_qty"][at] = steps["px"], steps["qty"]
    rows["modifications"] = np.bincount(at, minlength=len(rows))
    refused = orders["event"] == OrderEvent.REQUEST_REJECTED
    rows["refused_requests"] = np.bincount(place[refused], minlength=len(rows))
    asked = orders["event"] == OrderEvent.CANCEL_REQUESTED
    rows["cancel_requested_ts"][place[asked]] = orders["local_ts"][asked]
    partly = orders["event"] == OrderEvent.PARTIALLY_FILLED
    rows["status"][place[partly]] = OrderStatus.WORKING
    for event, status in ENDS.items():
        ended = orders["event"] == event
        at, steps = place[ended], orders[ended]
        rows["ended_exch_ts"][at], rows["ended_local_ts"][at] = steps["exch_ts"], steps["local_ts"]
        rows["status"][at] = status


def _add_fills(rows: Rows, fills: Rows, contracts: Contracts) -> None:
    place = np.searchsorted(rows["order_id"], fills["order_id"])
    rows["last_fill_exch_ts"][place], rows["last_fill_local_ts"][place] = fills["exch_ts"], fills["local_ts"]
    back = place[::-1]  # the last one that is kept is then the first
    rows["first_fill_exch_ts"][back] = fills["exch_ts"][::-1]
    rows["first_fill_local_ts"][back] = fills["local_ts"][::-1]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values, minlength=len(rows))

    qty = fills["qty"]
    rows["fills"], rows["filled_qty"], rows["fees"] = sums(np.ones(len(fills))), sums(qty), sums(fills["fee"])
    inverse = contracts.inverse[rows["asset"]]
    with np.errstate(invalid="ignore", divide="ignore"):
        rows["maker_share"] = sums(np.where(fills["maker"] != 0, qty, 0.0)) / rows["filled_qty"]
        some_px = np.zeros(len(rows))
        some_px[place] = fills["px"]  # summing what is beyond it leaves the price of one fill as it is
        linear = some_px + sums(qty * (fills["px"] - some_px[place])) / rows["filled_qty"]
        harmonic = rows["filled_qty"] / sums(qty / fills["px"])
        rows["average_px"] = np.where(inverse, harmonic, linear)
