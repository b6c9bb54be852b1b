"""The contracts of risk rules and of sizing: each is one kernel with its parameters.

::

    @kernel
    def allow(market, account, intent, p):  # risk: True lets the intent through
        ...

    @kernel
    def unit_qty(market, account, asset, p):  # sizing: what one unit of a position is now, base units
        ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from bt_framework.results.run import Instrument


class RiskRule(ABC):
    """Base class of risk rules: what an option of the ``risk`` group builds.

    Rules see every new and modify intent, in the order of the configuration, and the first that refuses decides.
    Cancels always pass. The kernel must not write to anything.
    """

    kernel: str
    """``"package.module:function"`` of ``allow(market, account, intent, p) -> bool``."""

    @abstractmethod
    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernel's ``p``, see `bt_framework.engine.strategy.params_record`."""


class Sizing(ABC):
    """Base class of sizing rules: what the ``sizing`` group builds.

    Evaluated for every instrument before each timer wake-up; strategies read ``account.unit_qty(asset)``. The result
    need not be whole lots: strategies round what they order.
    """

    kernel: str
    """``"package.module:function"`` of ``unit_qty(market, account, asset, p) -> float``."""

    @abstractmethod
    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernel's ``p``."""
