"""A built-in sizing on a desk of its own."""

from __future__ import annotations

from typing import Any

from bt_framework.plugin_manager import discover
from bt_framework.registry import Kind
from bt_framework.results.run import Instrument
from bt_framework.testing.contracts import load
from bt_framework.testing.desk import Desk

PAIR = (Instrument("A", 0.5, 0.1), Instrument("B", 0.01, 1.0, 10.0))
INVERSE = (Instrument("X", 0.5, 1.0, 100.0, inverse=True),)


class Sizer:
    """A built-in sizing with its records, on a desk of its own; equity is 100,000 unless said otherwise."""

    def __init__(
        self, name: str, instruments: Any = PAIR, capital: float = 100_000.0, **settings: Any
    ) -> None:
        component = discover().registry.get(Kind.SIZING, name)
        built = component.build(component.config_class(**settings))
        self.desk = Desk(instruments, capital=capital)
        self.p, self.s = built.params(instruments), built.state(instruments)
        self._unit_qty = load(built.kernel)

    def at(self, mid: float, seconds: float = 0.0, asset: int = 0) -> float:
        """One unit at a mid and a time."""
        self.desk.quote(asset, bid_px=mid - 0.5, ask_px=mid + 0.5)
        self.desk.at(seconds)
        return self.unit_qty(asset)

    def unit_qty(self, asset: int = 0) -> float:
        """One unit of an instrument as things are."""
        return float(self._unit_qty(self.desk.market, self.desk.account, asset, self.p, self.s))
