"""No slippage beyond what the engine's book says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import Slippage
from bt_framework.engine.strategy import params_record
from bt_framework.results.run import Instrument


@dataclass
class NoSlippage(ComponentConfig):
    """Takers are filled at the engine's price."""

    name: str = param("none", "registry name")


class NoSlippageModel(Slippage):
    """See `NoSlippage`."""

    kernel = "bt_framework.engine.slippage:none"

    def __init__(self, config: NoSlippage) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return an empty record."""
        return params_record(self._config)


def build(config: NoSlippage) -> NoSlippageModel:
    """Return the model."""
    return NoSlippageModel(config)
