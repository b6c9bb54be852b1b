"""What the package offers."""

from bt_framework.hookspecs import Register, hookimpl
from bt_momentum import max_spread, momentum


@hookimpl
def register_strategies(register: Register) -> None:
    """Register the strategy."""
    register(momentum.Momentum, momentum.build)


@hookimpl
def register_risk_rules(register: Register) -> None:
    """Register the rule."""
    register(max_spread.MaxSpread, max_spread.build)


@hookimpl
def config_search_path() -> str:
    """Return where the YAML options are."""
    return "pkg://bt_momentum.conf"
