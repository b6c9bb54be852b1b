"""Plain hftbacktest as a simulator of the fill conformance set: an example of an adapter, with nothing worked around.

::

    python benchmarks/by_hand/conformance.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from numba import njit

from bt_framework.testing import _script
from bt_framework.testing.conformance import (
    EXPONENT,
    Fill,
    Result,
    Scenario,
    Venue,
    check,
    events_of,
    scenarios,
    script_of,
)
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS

ENDS = {1: "working", 2: "expired", 3: "filled", 4: "cancelled", 5: "working"}
QUEUES = {
    "risk_averse": ("risk_adverse_queue_model", False),
    "log_prob": ("log_prob_queue_model", False),
    "log_prob2": ("log_prob_queue_model2", False),
    "power_prob": ("power_prob_queue_model", True),
    "power_prob2": ("power_prob_queue_model2", True),
    "power_prob3": ("power_prob_queue_model3", True),
    "l3_fifo": ("l3_fifo_queue_model", False),
}


@njit
def follow(hbt: Any, script: Any, steps: int, filled: Any, ends: Any) -> Any:
    """Step a millisecond at a time, do what is due, and note each change of an order; (code, rows of `filled`)."""
    placed, done, rows = 0, 0, 0
    leaves = np.zeros(len(ends))
    hbt.elapse(0)
    for step in range(1, steps + 1):
        code = hbt.elapse(1_000_000)
        if code > 1:
            return code, rows
        for order_id in range(1, placed + 1):
            order = hbt.orders(0).get(order_id)
            ends[order_id - 1] = order.status
            qty = leaves[order_id - 1] - (0.0 if order.status == 3 else order.leaves_qty)
            if qty > 0:
                leaves[order_id - 1] -= qty
                maker = 1.0 if order.arr[0].maker else 0.0
                filled[rows, 0], filled[rows, 1] = order_id, order.exch_timestamp - START_TS
                filled[rows, 2], filled[rows, 3], filled[rows, 4] = order.exec_price, qty, maker
                rows += 1
        while done < len(script) and step * 1_000_000 >= script[done, 0]:
            _at, do, side, px, qty, tif, target = script[done]
            if do <= 2:
                placed += 1
                leaves[placed - 1] = qty
                if side > 0:
                    hbt.submit_buy_order(0, placed, px, qty, int(tif), int(do) - 1, False)
                else:
                    hbt.submit_sell_order(0, placed, px, qty, int(tif), int(do) - 1, False)
            elif ends[int(target) - 1] in (1, 5):
                hbt.cancel(0, int(target), False)
            done += 1
    return 0, rows


class Hftbacktest:
    """The adapter."""

    def run(self, scenario: Scenario, venue: Venue) -> Result:
        """Return what the order updates say was filled."""
        events, script = events_of(scenario), script_of(scenario)
        asset = BacktestAsset().data([events]).linear_asset(1.0)
        asset.constant_order_latency(
            round(scenario.entry_ms * NS_PER_MS), round(scenario.response_ms * NS_PER_MS)
        )
        queue, has_exponent = QUEUES[venue.queue]
        getattr(asset, queue)(*([EXPONENT] if has_exponent else []))
        getattr(asset, f"{venue.exchange}_exchange")()
        asset.trading_value_fee_model(0.0, 0.0).tick_size(scenario.tick_size).lot_size(scenario.lot_size)
        hbt = HashMapMarketDepthBacktest([asset])
        placed = int((script[:, 1] <= _script.MARKET).sum())
        filled, ends = np.zeros((100, 5)), np.zeros(placed, np.int64)
        code, rows = follow(hbt, script, round(scenario.end_ms), filled, ends)
        fills = [
            Fill(int(order), ns / NS_PER_MS, px, qty, maker > 0)
            for order, ns, px, qty, maker in filled[:rows].tolist()
        ]
        if code:
            return Result(fills, ("stops",) * placed)
        return Result(sorted(fills, key=lambda fill: fill.exch_ms), [ENDS[int(end)] for end in ends])


def main() -> None:
    """Print each case that is not as it must be."""
    simulator, cases, wrong = Hftbacktest(), 0, 0
    for scenario in scenarios():
        for case in scenario.cases:
            cases += 1
            difference = check(simulator, scenario, case)
            if difference:
                wrong += 1
                print(f"{scenario.name} ({case.venue.queue}, {case.venue.exchange}): {difference}")
    print(f"{cases - wrong} of {cases} cases are as worked by hand")


if __name__ == "__main__":
    main()
