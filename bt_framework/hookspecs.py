"""Everything that a plugin package may implement.

A package names a module under the entry point group ``bt_framework``; the functions in it that are marked
with `hookimpl` are called by name. Registration hooks are called when the packages are found, those of the kinds
that a command needs. Life-cycle hooks are called on the components of one run (writer, store, console, strategy,
...), never inside the compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

from bt_framework.config.schema import ComponentConfig

if TYPE_CHECKING:
    from bt_framework.results.run import RunContext, RunSummary, SliceBatch

Register = Callable[[type[ComponentConfig], Callable[[Any], Any]], None]
"""What registration hooks are called with: ``register(config_class, build)``."""

PROJECT = "bt_framework"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RegistrationSpecs:
    """Called on each package, with a function ``register(config_class, build)``.

    ``config_class`` is the component's dataclass; its default ``name`` is the registry name. ``build`` takes
    a validated instance of it and returns the component.
    """

    @hookspec
    def register_data(self, register: Register) -> None:
        """Register data sources: `bt_framework.data.source.DataSource`."""

    @hookspec
    def register_bar_sources(self, register: Register) -> None:
        """Register sources of bars: `bt_framework.bars.source.BarSource`."""

    @hookspec
    def register_strategies(self, register: Register) -> None:
        """Register strategies: `bt_framework.engine.strategy.Strategy`."""

    @hookspec
    def register_latency_models(self, register: Register) -> None:
        """Register latency models: `bt_framework.engine.models.LatencyModel`."""

    @hookspec
    def register_queue_models(self, register: Register) -> None:
        """Register queue models: `bt_framework.engine.models.QueueModel`."""

    @hookspec
    def register_exchange_models(self, register: Register) -> None:
        """Register exchange models: `bt_framework.engine.models.ExchangeModel`."""

    @hookspec
    def register_fee_models(self, register: Register) -> None:
        """Register fee models: `bt_framework.engine.models.FeeSchedule`."""

    @hookspec
    def register_slippage_models(self, register: Register) -> None:
        """Register slippage models: `bt_framework.engine.rules.Slippage`."""

    @hookspec
    def register_contract_models(self, register: Register) -> None:
        """Register contract models: `bt_framework.engine.models.ContractModel`."""

    @hookspec
    def register_depth_models(self, register: Register) -> None:
        """Register forms of order book: `bt_framework.engine.models.DepthModel`."""

    @hookspec
    def register_risk_rules(self, register: Register) -> None:
        """Register risk rules: `bt_framework.engine.rules.RiskRule`."""

    @hookspec
    def register_sizings(self, register: Register) -> None:
        """Register sizing rules: `bt_framework.engine.rules.Sizing`."""

    @hookspec
    def register_writers(self, register: Register) -> None:
        """Register writers: objects with life-cycle hooks."""

    @hookspec
    def register_stores(self, register: Register) -> None:
        """Register run stores: `bt_framework.stores.base.RunStore`, with life-cycle hooks."""

    @hookspec
    def register_consoles(self, register: Register) -> None:
        """Register consoles: objects with life-cycle hooks that talk to the user."""

    @hookspec
    def config_search_path(self) -> str:  # type: ignore[empty-body]
        """Return a folder of YAML options to add to Hydra's search path, such as ``pkg://my_package.conf``."""


class LifecycleSpecs:
    """Called on a run's components, in the order writers, strategy, run folder, store, console."""

    @hookspec
    def before_run(self, run: RunContext) -> None:
        """Call before the first slice; the run folder exists."""

    @hookspec
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Call after each slice. The arrays of `batch` are valid during the call only: copy what you keep."""

    @hookspec
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Call when the run has completed or was stopped."""

    @hookspec
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Call instead of `after_run` when the run failed."""
