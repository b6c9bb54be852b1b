"""What a run returns to Python."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bt_framework.results.folder import RunFolder
from bt_framework.results.record import RunRecord

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RunResult:
    """What a run left: the fields of `record`, and its tables, read when asked for."""

    record: RunRecord

    def __getattr__(self, name: str) -> Any:
        """Fields of the record: run_id, status, run_dir, result_hash, counts, metrics, ..."""
        if name == "record":  # while being copied or unpickled there is none yet
            raise AttributeError(name)
        return getattr(self.record, name)

    @property
    def config_hash(self) -> str:
        """SHA-256 of the configuration."""
        return self.record.identity.config_hash

    @property
    def data_hash(self) -> str:
        """SHA-256 of the data."""
        return self.record.identity.data_hash

    @property
    def code_hash(self) -> str:
        """SHA-256 of the code."""
        return self.record.identity.code_hash

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.record.identity.seed

    @cached_property
    def signals(self) -> pa.Table:
        """Decisions of the strategy."""
        return self._table("signals")

    @cached_property
    def orders(self) -> pa.Table:
        """Steps in the lives of the orders."""
        return self._table("orders")

    @cached_property
    def fills(self) -> pa.Table:
        """Executions."""
        return self._table("fills")

    @cached_property
    def refusals(self) -> pa.Table:
        """Intents that risk or the broker refused."""
        return self._table("refusals")

    @cached_property
    def risk_events(self) -> pa.Table:
        """Circuit breakers at work."""
        return self._table("risk_events")

    @cached_property
    def equity(self) -> pa.Table:
        """Position and equity per sample and instrument."""
        return self._table("equity")

    @cached_property
    def trades(self) -> pa.Table:
        """Round trips, first in first out."""
        return self._table("trades")

    @cached_property
    def order_lives(self) -> pa.Table:
        """One row per order with all steps of its life, by order id."""
        from bt_framework.results.forensics import order_lives, whole

        return whole("order_lives", order_lives(self._folder())).sort_by("order_id")

    def trades_by(self, method: str) -> pa.Table:
        """Round trips by a `bt_framework.results.trades.CostMethod`: fifo or average_cost."""
        from bt_framework.results.forensics import trades, whole
        from bt_framework.results.trades import CostMethod

        return whole("trades", trades(self._folder(), CostMethod(method)))

    def attribution(self, by: str, method: str = "fifo") -> pa.Table:
        """PnL by a `bt_framework.results.forensics.By`: symbol, tag, signal, liquidity, entry_tag, entry_signal."""
        from bt_framework.results.forensics import By, attribution
        from bt_framework.results.trades import CostMethod

        return attribution(self._folder(), By(by), CostMethod(method))

    def _folder(self) -> RunFolder:
        return RunFolder(self.record.run_dir)

    def _table(self, name: str) -> pa.Table:
        return self._folder().table(name)
