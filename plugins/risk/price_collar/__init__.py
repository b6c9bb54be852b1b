"""Band around mid that orders must be in."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class PriceCollar(RiskRuleConfig):
    """Refuse orders priced further from mid than a number of bps or of ticks."""

    name: str = param("price_collar", "registry name")
    limit_bps: float = param(100.0, "largest |price - mid| / mid; 0: no such limit", unit="bps of mid")
    limit_ticks: float = param(0.0, "largest |price - mid|; 0: no such limit", unit="ticks")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_bps >= 0:
            raise ConfigError(f"limit_bps must be >= 0, was {self.limit_bps}.")
        if not self.limit_ticks >= 0:
            raise ConfigError(f"limit_ticks must be >= 0, was {self.limit_ticks}.")
        if self.limit_bps == 0 and self.limit_ticks == 0:
            raise ConfigError("limit_bps or limit_ticks must be > 0, both were 0.")


class PriceCollarRule(RiskRule):
    """See `PriceCollar`."""

    kernels = RuleKernels(allow="bt_plugins.risk.price_collar._kernels:allow")


def build(config: PriceCollar) -> PriceCollarRule:
    """Return the rule."""
    return PriceCollarRule(config)
