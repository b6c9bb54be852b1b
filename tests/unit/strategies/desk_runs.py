"""Strategies over a table of closes on a desk without an engine; market orders are filled at once, in full."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bt_framework.engine.strategy import Strategy
from bt_framework.jit import PlainForms
from bt_framework.records import OrderType
from bt_framework.results.run import Instrument
from bt_framework.testing.desk import Desk

TICK = 0.001


@dataclass(frozen=True)
class DeskRun:
    """What a strategy did: positions after each close, signals as (close, kind, direction), and its state."""

    positions: np.ndarray[Any, Any]
    signals: list[tuple[int, int, int]]
    state: Any
    desk: Desk


def run_on_desk(
    strategy: Strategy,
    closes: Any,
    *,
    unit_qty: float = 100.0,
    lots: Sequence[float] = (),
    every_s: float = 60.0,
    ends_after: float = 10.0,
) -> DeskRun:
    """Wake the strategy's kernel, in plain Python, at each row of `closes`, shape (n, n_instruments).

    A NaN close is an instrument without an update. The run ends `ends_after` steps after the last row.
    """
    closes = np.asarray(closes, float)
    count = closes.shape[1]
    instruments = [Instrument(f"S{i}", TICK, (lots or [1.0] * count)[i]) for i in range(count)]
    desk = Desk(instruments, end_s=(len(closes) + ends_after) * every_s, plain=True)
    reference = strategy.kernels.on_book or strategy.kernels.on_timer
    module, _, name = str(reference).partition(":")
    wake = PlainForms().of(getattr(importlib.import_module(module), name))
    p, s, w = strategy.params(instruments), strategy.state(instruments), strategy.work(instruments)
    positions, signals = np.zeros(closes.shape), []
    for at, row in enumerate(closes):
        desk.at((at + 1) * every_s)
        for asset, close in enumerate(row):
            if np.isfinite(close):
                desk.quote(asset, bid_px=close - TICK, ask_px=close + TICK)
            desk.ledger[asset]["unit_qty"] = unit_qty
        desk.begin()
        wake(desk.market, desk.account, desk.out, p, s, w)
        signals += [(at, int(x["kind"]), int(x["direction"])) for x in desk.signals]
        for intent in desk.intents:
            assert intent["order_type"] == OrderType.MARKET
            assert intent["signal_id"] > 0
            desk.ledger[intent["asset"]]["position_qty"] += intent["side"] * intent["qty"]
        positions[at] = desk.ledger["position_qty"]
    return DeskRun(positions, signals, s, desk)
