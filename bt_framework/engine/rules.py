"""The contracts of risk rules, of sizing and of slippage: kernels with their parameters and state.

::

    @kernel
    def allow(market, account, intent, p, s):  # before an order is sent: True lets the intent through
        ...

    @kernel
    def watch(market, account, p, s):  # on the account: True while its limit is breached
        ...

    @kernel
    def unit_qty(market, account, asset, p, s):  # sizing: what one unit of a position is now, base units
        ...

    @kernel
    def slippage_bps(market, asset, side, px, qty, p):  # how much worse a taker's price is
        ...

`bt_framework.engine.portfolio` has what rules usually ask: exposures, equity, whether an intent only reduces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.strategy import numbers_record, params_record
from bt_framework.errors import ConfigError
from bt_framework.records import RiskAction
from bt_framework.registry import unknown_name
from bt_framework.results.run import Instrument

RULE_STATE: dict[str, Any] = {
    "value": np.nan,
    "limit": np.nan,
    "resumed": 0,
    "day_start_ts": 0,
    "day_end_ts": 0,
    "utc_offset_ns": 0,
}
"""Fields that the state of every rule begins with, see `RiskRule`."""


@dataclass
class RiskRuleConfig(ComponentConfig):
    """Base of the configuration of risk rules: what follows a breach.

    ``action`` REFUSE keeps back what would increase a position, while the limit is breached. CANCEL_ALL also cancels
    all working orders. FLATTEN_AND_HALT cancels, closes all positions at the market, and lets nothing through any
    more. HALT_FOR_DAY cancels, and lets only what reduces a position through until the next day in ``time_zone``.
    Where an action ends by time, it does not end before the limit holds again.
    """

    action: RiskAction = param(RiskAction.REFUSE, "what follows a breach")
    resume_after_ns: Duration = param(
        0,
        "end of the action after this time; 0: REFUSE and CANCEL_ALL with the breach, FLATTEN_AND_HALT never",
        unit="ns",
    )
    time_zone: str = param("UTC", "IANA name of the clock whose days count")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.resume_after_ns) < 0:
            raise ConfigError(f"resume_after_ns must be >= 0, was {self.resume_after_ns}.")
        if self.action == RiskAction.HALT_FOR_DAY and int(self.resume_after_ns) > 0:
            raise ConfigError(
                f"resume_after_ns must be 0 with the action HALT_FOR_DAY, was {self.resume_after_ns}: it ends with the "
                "day."
            )
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ConfigError(
                f"time_zone must be an IANA time zone, was {self.time_zone!r}. Examples: UTC, America/New_York."
            ) from None


@dataclass(frozen=True)
class RuleKernels:
    """A rule's kernels as ``"package.module:function"``; None for what it does not do."""

    allow: str | None = None
    watch: str | None = None

    @property
    def references(self) -> list[str]:
        """Those that there are."""
        return [kernel for kernel in (self.allow, self.watch) if kernel]


class RiskRule(ABC):
    """Base class of risk rules: what an option of the ``risk`` group builds.

    ``allow(market, account, intent, p, s) -> bool`` sees every new and modify intent, in the order of the
    configuration, and the first that refuses decides; cancels always pass. ``watch(market, account, p, s) -> bool`` is
    asked before the strategy wakes on a timer or an order response (on each update, if it wakes on the book) and with
    each equity sample; True is a breach, and `config.action` says what follows.

    The state ``s`` begins with `RULE_STATE`: a rule writes ``value`` and ``limit``, what it measured and allows, for
    the rows of refusals and risk events. ``resumed`` is set to 1 when the time of an action is over: a rule that keeps
    a peak or a count starts anew then, and sets it back to 0. ``day_start_ts``, ``day_end_ts`` and ``utc_offset_ns``
    are the current day in ``time_zone``. A kernel must not write to anything but ``s``.
    """

    kernels: RuleKernels

    def __init__(self, config: RiskRuleConfig) -> None:
        self.config = config

    @property
    def guards(self) -> bool:
        """Whether a breach may lead to more than the refusal of an intent."""
        config = self.config
        return (
            bool(self.kernels.watch) or config.action != RiskAction.REFUSE or int(config.resume_after_ns) > 0
        )

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernels' ``p``: by default the numbers of the configuration."""
        return params_record(self.config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernels' ``s`` as it is before the first wake-up; fresh at each call."""
        return rule_state()


def rule_state(**extra: Any) -> np.record:
    """Record of `RULE_STATE` and further fields, numbers or arrays."""
    return numbers_record(RULE_STATE | extra)


def per_instrument(
    default: float, by_symbol: Mapping[str, float], instruments: Sequence[Instrument]
) -> np.ndarray:
    """Return the value of each instrument: its symbol's, or the default; float64 of shape (n_instruments,).

    Raises
    ------
    ConfigError
        If `by_symbol` names an instrument that the run has not.
    """
    symbols = [instrument.symbol for instrument in instruments]
    for symbol in by_symbol:
        if symbol not in symbols:
            raise ConfigError(unknown_name("by_symbol's symbols", symbol, symbols))
    return np.array([by_symbol.get(symbol, default) for symbol in symbols], np.float64)


def check_limits(name: str, default: float, by_symbol: Mapping[str, float]) -> None:
    """Check a limit, key `name`, and what ``by_symbol`` sets instead of it.

    Raises
    ------
    ConfigError
        If one is not > 0 and finite.
    """
    for key, value in {name: default, **{f"by_symbol.{s}": v for s, v in by_symbol.items()}}.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{key} must be > 0 and finite, was {value}.")


class Sizing(ABC):
    """Base class of sizing rules: what the ``sizing`` group builds.

    Evaluated for every instrument before each timer wake-up; strategies read ``account.unit_qty(asset)``. The result
    need not be whole lots: strategies round what they order.
    """

    kernel: str
    """``"package.module:function"`` of ``unit_qty(market, account, asset, p, s) -> float``."""

    @abstractmethod
    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernel's ``p``."""

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernel's ``s`` as it is before the first wake-up; fresh at each call."""
        return numbers_record({})


def variance_state(count: int) -> dict[str, np.ndarray]:
    """Fields that a sizing's state must have for `bt_framework.engine.variance`, of shape (count,): no returns yet."""
    names = ("last_px", "samples", "squares", "weight")
    return {"last_ts": np.zeros(count, np.int64), **{name: np.zeros(count) for name in names}}


class Slippage(ABC):
    """Base class of slippage models: what the ``slippage`` group builds.

    Asked for every taker fill. The fill is booked at the engine's price made worse by the answer, which is its
    ``slippage_bps``.
    """

    kernel: str
    """``"package.module:function"`` of ``slippage_bps(market, asset, side, px, qty, p) -> float``."""

    @abstractmethod
    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernel's ``p``."""
