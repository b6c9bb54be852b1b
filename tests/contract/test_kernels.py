"""Every built-in strategy, risk rule and sizing rule keeps its contract, compiled and plain."""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, Sizing, rule_state
from bt_framework.engine.stand_in import MarketStandIn
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.engine.view import MarketView
from bt_framework.plugin_manager import discover
from bt_framework.registry import Kind
from bt_framework.testing import contracts
from bt_framework.testing.desk import Desk

CHECKS: dict[Kind, Callable[..., Any]] = {
    Kind.STRATEGY: contracts.check_strategy,
    Kind.RISK: contracts.check_risk_rule,
    Kind.SIZING: contracts.check_sizing,
}


def built_ins(kind: Kind) -> list[Any]:
    """Registered components of a kind."""
    return [c for c in discover().registry.components() if c.kind is kind and c.package == "bt-framework"]


CASES = [pytest.param(c, CHECKS[kind], id=f"{kind}-{c.name}") for kind in CHECKS for c in built_ins(kind)]


@pytest.mark.parametrize(("component", "check"), CASES)
def test_the_contract_is_kept(component: Any, check: Callable[..., Any]) -> None:
    answers = check(component.build(component.config_class()))
    assert len(answers) > 0


def digest() -> str:
    """What all built-ins answer."""
    content = hashlib.sha256()
    for kind, check in CHECKS.items():
        for component in built_ins(kind):
            content.update(np.asarray(check(component.build(component.config_class()))).tobytes())
    return content.hexdigest()


@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_DISABLE_JIT": "1"}, pytest.param({"NUMBA_BOUNDSCHECK": "1"}, marks=pytest.mark.long)],
    ids=str,
)
def test_answers_are_the_same_without_the_jit_and_with_bounds_checks(environment: dict[str, str]) -> None:
    folder = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); import test_kernels; print(test_kernels.digest())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest()


def test_the_stand_in_has_the_methods_of_the_market() -> None:
    def methods(cls: Any) -> dict[str, list[str]]:
        plain = getattr(cls, "class_type", None)
        found = plain.jit_methods if plain else vars(cls)
        return {
            name: list(inspect.signature(getattr(m, "py_func", m)).parameters)
            for name, m in found.items()
            if not name.startswith("_")
        }

    assert methods(MarketStandIn) == methods(MarketView)


class _Wrong(Strategy):
    timer_ns = 1

    def __init__(self, kernel: str) -> None:
        self.kernels = Kernels(on_timer=f"wrong_kernels:{kernel}")

    def params(self, instruments: Any) -> np.record:
        return np.zeros(1, np.dtype([("a", "i8")])).view(np.recarray)[0]  # type: ignore[no-any-return]

    state = params


@pytest.mark.parametrize(
    ("kernel", "text"),
    [
        ("writes_params", "must not write to p"),
        ("writes_orders", "must not write to market or account"),
        ("bad_asset", "asset must be one of 2 instruments, was 7"),
        ("bad_qty", "qty must be > 0, was 0.0"),
    ],
)
def test_a_strategy_that_breaks_the_contract_is_told_how(kernel: str, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        contracts.check_strategy(_Wrong(kernel))


class _WrongRule(RiskRule):
    def __init__(self, **kernels: str) -> None:
        super().__init__(RiskRuleConfig())
        self.kernels = RuleKernels(**{kind: f"wrong_kernels:{name}" for kind, name in kernels.items()})


class _RuleOfBareState(_WrongRule):
    def state(self, instruments: Any) -> np.record:
        return params_record(self.config)


class _RuleOfOneState(_WrongRule):
    kept = rule_state()

    def state(self, instruments: Any) -> np.record:
        return self.kept


class _WrongSizing(Sizing):
    kernel = "wrong_kernels:negative"

    def params(self, instruments: Any) -> np.record:
        return params_record(contracts.INSTRUMENTS[0])


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (_WrongRule(allow="not_bool"), "must return a bool"),
        (_WrongRule(allow="refuses_without_a_value"), "must set s.value and s.limit before it refuses"),
        (_WrongRule(watch="breaches_without_a_value"), "must set s.value and s.limit before it refuses"),
        (_WrongRule(allow="writes_the_intent"), "must not write to intent or p"),
        (_WrongRule(watch="writes_its_params"), "must not write to intent or p"),
        (_WrongRule(watch="moves_an_order"), "must not write to market or account"),
        (_WrongRule(), "a rule must have a kernel"),
        (_RuleOfBareState(allow="not_bool"), "must begin with RULE_STATE: use rule_state"),
        (_RuleOfOneState(allow="not_bool"), "must be fresh"),
    ],
)
def test_rules_that_break_the_contract_are_told_how(rule: RiskRule, text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        contracts.check_risk_rule(rule)


def test_sizings_that_break_the_contract_are_told_how() -> None:
    with pytest.raises(AssertionError, match="must return a finite number >= 0, was -1"):
        contracts.check_sizing(_WrongSizing())


def test_a_desk_shows_what_was_set() -> None:
    desk = Desk(contracts.INSTRUMENTS[:1])
    desk.quote(0, bid_px=99.5, ask_px=100.5, bid_qty=3.0)
    desk.work(0, 1, 99.5, 0.2)
    assert desk.market.mid_px(0) == 100.0
    assert desk.market.micro_px(0) == pytest.approx((99.5 + 3 * 100.5) / 4)
    assert desk.market.bid_qty_at(0, 99.5) == 3.0
    assert desk.market.bid_qty_at(0, 99.0) == 0.0
    assert desk.account.order_count() == 1
    assert desk.account.open_qty(0, 1) == pytest.approx(0.2)
