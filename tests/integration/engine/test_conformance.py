"""The fill conformance set: every case as worked by hand, in both forms of book and mirrored."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bt_framework.engine.models import ExchangeKind, QueueKind
from bt_framework.testing.conformance import (
    BtSimulator,
    Case,
    Result,
    Scenario,
    Venue,
    check,
    scenarios,
)

SCENARIOS = scenarios()
EACH = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
_SIDES = {"buy": "sell", "sell": "buy"}
_MIRROR_PX = 200.0


def differences(simulator: Any, scenario: Scenario) -> dict[Venue, str]:
    """What is not as worked by hand, by venue."""
    found = {case.venue: check(simulator, scenario, case) for case in scenario.cases}
    return {venue: text for venue, text in found.items() if text}


def mirrored(scenario: Scenario) -> Scenario:
    """The same with buyers as sellers."""

    def row(values: Mapping[str, Any]) -> dict[str, Any]:
        other = dict(values)
        if "side" in values:
            other["side"] = _SIDES[values["side"]]
        if "px" in values:
            other["px"] = _MIRROR_PX - values["px"]
        return other

    cases = [
        replace(c, fills=tuple(fill._replace(px=_MIRROR_PX - fill.px) for fill in c.fills))
        for c in scenario.cases
    ]
    return replace(
        scenario,
        events=tuple(map(row, scenario.events)),
        orders=tuple(map(row, scenario.orders)),
        cases=tuple(cases),
    )


@EACH
def test_fills_are_as_worked_by_hand(scenario: Scenario) -> None:
    assert differences(BtSimulator(), scenario) == {}


@EACH
def test_fills_are_the_same_in_the_price_vector(scenario: Scenario) -> None:
    assert differences(BtSimulator(roi=True), scenario) == {}


@EACH
def test_sellers_are_treated_as_buyers(scenario: Scenario) -> None:
    assert differences(BtSimulator(), mirrored(scenario)) == {}


def test_every_queue_and_exchange_model_is_in_the_set() -> None:
    venues = {case.venue for scenario in SCENARIOS for case in scenario.cases}
    level = {Venue(str(q), str(x)) for q in QueueKind for x in ExchangeKind if q != QueueKind.L3_FIFO}
    assert venues == level | {Venue("l3_fifo", "no_partial_fill")}
    assert len({s.name for s in SCENARIOS}) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert len({case.venue for case in scenario.cases}) == len(scenario.cases)


class _Fixed:
    """A simulator that answers always the same."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def run(self, scenario: Scenario, venue: Venue) -> Result:
        return self._result


@EACH
def test_wrong_answers_are_told(scenario: Scenario) -> None:
    for case in scenario.cases:
        assert check(_Fixed(Result(case.fills, case.ends)), scenario, case) == ""
        wrong = [Result(case.fills[:-1], case.ends)] if case.fills else []
        for change in WRONG if case.fills else ():
            wrong.append(Result([change(fill) for fill in case.fills], case.ends))
        wrong.append(Result(case.fills, ["lost", *case.ends[1:]]))
        for result in wrong:
            assert "must" in check(_Fixed(result), scenario, case), result


WRONG = (
    lambda fill: fill._replace(px=fill.px + 0.5),
    lambda fill: fill._replace(qty=fill.qty + 1),
    lambda fill: fill._replace(exch_ms=fill.exch_ms + 1),
    lambda fill: fill._replace(maker=not fill.maker),
    lambda fill: fill._replace(order=fill.order + 1),
)


def test_a_simulator_without_ends_is_asked_for_fills_only() -> None:
    case = Case(Venue("log_prob", "partial_fill"), (), ("filled",), "")
    assert check(_Fixed(Result(())), SCENARIOS[0], case) == ""


def test_plain_hftbacktest_differs_where_its_defects_are() -> None:
    """What is listed in docs/conformance.md; a scenario less says that upstream has changed."""
    path = Path(__file__).parents[3] / "benchmarks/by_hand/conformance.py"
    spec = importlib.util.spec_from_file_location("plain_conformance", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {s.name: differences(module.Hftbacktest(), s) for s in SCENARIOS}
    by_exchange = {
        str(kind): {name for name, texts in found.items() if any(v.exchange == kind for v in texts)}
        for kind in ExchangeKind
    }
    assert by_exchange == {
        "no_partial_fill": {"halt", "halt_in_flight"},
        "partial_fill": {"cancels_advance", "market_deep", "market_short", "ioc", "gtc_through"},
    }
