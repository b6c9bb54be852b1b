"""What every strategy, risk rule and sizing rule must hold; call from a test of your own.

::

    from bt_framework.testing.contracts import check_strategy

    def test_my_strategy_keeps_the_contract():
        check_strategy(build(MyStrategy()))

Run the suite once more with ``NUMBA_DISABLE_JIT=1`` to see the plain form, and with ``NUMBA_BOUNDSCHECK=1`` to see
reads outside of arrays.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bt_framework.engine.rules import RULE_STATE, RiskRule, Sizing, Slippage
from bt_framework.engine.strategy import WAKES, PlainStrategy, Strategy
from bt_framework.records import INTENT, IntentKind, OrderType, Side, record
from bt_framework.results.run import Instrument
from bt_framework.testing.desk import Desk

INSTRUMENTS = (
    Instrument("TESTA", 0.5, 0.01),
    Instrument("TESTB", 0.01, 0.1, 10.0),
    Instrument("TESTC", 1.0, 1.0),
)
"""Of different tick, lot and contract sizes."""

_WAKES = 1_500


def check_strategy(strategy: Strategy | PlainStrategy, seed: int = 1) -> np.ndarray[Any, Any]:
    """Wake a strategy on random markets, some of them one-sided, and look at what it does.

    A strategy in plain Python keeps its state from one kind of wake-up to the next.

    Returns
    -------
    intents : INTENT array
        All that it asked for: equal in every process and every form, for a comparison of your own.

    Raises
    ------
    AssertionError
        If it breaks the contract; the message says how.
    """
    if isinstance(strategy, PlainStrategy):
        return _check_plain_strategy(strategy, seed)
    kernels = strategy.kernels
    wanted = [k for k in (kernels.on_timer, kernels.on_book, kernels.on_order) if k]
    assert wanted, "a strategy must have a kernel"
    assert (strategy.timer_ns > 0) == bool(kernels.on_timer), (
        "timer_ns must be > 0 exactly if there is an on_timer"
    )
    instruments = INSTRUMENTS[: strategy.instruments or 2]
    _check_record(strategy.params(instruments), "params")
    first, second = strategy.state(instruments), strategy.state(instruments)
    _check_record(first, "state")
    assert first.tobytes() == second.tobytes(), "state() must return the same every time"
    first[(first.dtype.names or ("",))[0]] = 1
    assert first.tobytes() == second.tobytes() or not np.shares_memory(first, second), "state() must be fresh"
    work = strategy.work(instruments)
    assert work.dtype == np.float64, f"work() must be float64, was {work.dtype}"
    assert work.ndim == 2, f"work() must have two dimensions, had {work.ndim}"
    p = strategy.params(instruments)
    fixed = p.tobytes()
    intents = []
    for reference in wanted:
        arguments = (p, strategy.state(instruments), strategy.work(instruments))
        intents.append(_woken(load(reference), arguments, instruments, seed))
        assert p.tobytes() == fixed, f"{reference} must not write to p"
    return np.concatenate(intents)


def _check_plain_strategy(strategy: PlainStrategy, seed: int) -> np.ndarray[Any, Any]:
    wanted = [getattr(strategy, name) for name in WAKES if hasattr(strategy, name)]
    assert wanted, "a strategy must define on_timer, on_book or on_order"
    assert (strategy.timer_ns > 0) == hasattr(strategy, "on_timer"), (
        "timer_ns must be > 0 exactly if there is an on_timer"
    )
    instruments = INSTRUMENTS[: strategy.instruments or 2]
    strategy.start(instruments)
    return np.concatenate([_woken(wake, (), instruments, seed, plain=True) for wake in wanted])


def check_risk_rule(rule: RiskRule, seed: int = 1) -> list[bool]:
    """Ask a risk rule about random intents and accounts on random books; returns its answers.

    Those of ``allow``, then those of ``watch``.

    Raises
    ------
    AssertionError
        If it writes to what it is given but for its state, says a refusal without value and limit, or does not answer
        with a boolean.
    """
    kernels = rule.kernels.references
    assert kernels, "a rule must have a kernel"
    p = rule.params(INSTRUMENTS)
    _check_record(p, "params")
    first, second = rule.state(INSTRUMENTS), rule.state(INSTRUMENTS)
    _check_record(first, "state")
    assert list(first.dtype.names or ())[: len(RULE_STATE)] == list(RULE_STATE), (
        "state() must begin with RULE_STATE: use rule_state()"
    )
    assert first.tobytes() == second.tobytes(), "state() must return the same every time"
    assert not np.shares_memory(first, second), "state() must be fresh"
    rng = np.random.default_rng(seed)
    answers = []
    for reference in kernels:
        s = rule.state(INSTRUMENTS)
        s.day_end_ts = 2**62
        ask = load(reference)
        for turn in range(200):
            desk = _random_desk(INSTRUMENTS, rng)
            desk.at(turn * 0.1)
            intent = _random_intent(desk, rng)
            before, values = desk.snapshot(), (intent.tobytes(), p.tobytes())
            if reference == rule.kernels.allow:
                answer = ask(desk.market, desk.account, intent, p, s)
                bad = not answer
            else:
                answer = bad = ask(desk.market, desk.account, p, s)
            assert isinstance(answer, bool | np.bool_), f"{reference} must return a bool, was {type(answer)}"
            assert not bad or (s.value == s.value and s.limit == s.limit), (
                f"{reference} must set s.value and s.limit before it refuses"
            )
            assert desk.snapshot() == before, f"{reference} must not write to market or account"
            assert (intent.tobytes(), p.tobytes()) == values, f"{reference} must not write to intent or p"
            answers.append(bool(answer))
    return answers


def check_sizing(sizing: Sizing, seed: int = 1) -> list[float]:
    """Ask a sizing rule for one unit on random books; returns its answers.

    Raises
    ------
    AssertionError
        If it writes to what it is given but for its state, or answers with a negative number, infinity or NaN.
    """
    p, s = sizing.params(INSTRUMENTS), sizing.state(INSTRUMENTS)
    _check_record(p, "params")
    _check_record(s, "state")
    unit_qty, rng = load(sizing.kernel), np.random.default_rng(seed)
    answers = []
    for turn in range(200):
        desk = _random_desk(INSTRUMENTS, rng)
        desk.at(turn * 0.1)
        before, values = desk.snapshot(), p.tobytes()
        qty = unit_qty(desk.market, desk.account, turn % len(INSTRUMENTS), p, s)
        assert 0 <= qty < float("inf"), f"{sizing.kernel} must return a finite number >= 0, was {qty}"
        assert desk.snapshot() == before, f"{sizing.kernel} must not write to market or account"
        assert p.tobytes() == values, f"{sizing.kernel} must not write to p"
        answers.append(float(qty))
    return answers


def check_slippage(slippage: Slippage, seed: int = 1) -> list[float]:
    """Ask a slippage model about random takers on random books; returns its answers, bps.

    Raises
    ------
    AssertionError
        If it writes to what it is given, or answers with a negative number, infinity or NaN.
    """
    p = slippage.params(INSTRUMENTS)
    _check_record(p, "params")
    slippage_bps, rng = load(slippage.kernel), np.random.default_rng(seed)
    answers = []
    for turn in range(200):
        desk = _random_desk(INSTRUMENTS, rng)
        asset, before, values = turn % len(INSTRUMENTS), desk.snapshot(), p.tobytes()
        qty = float(rng.integers(1, 5_000)) * INSTRUMENTS[asset].lot_size
        bps = slippage_bps(desk.market, asset, int(rng.choice([1, -1])), rng.uniform(50.0, 2_500.0), qty, p)
        assert 0 <= bps < 10_000, f"{slippage.kernel} must return bps from 0 to 10,000, was {bps}"
        assert desk.snapshot() == before, f"{slippage.kernel} must not write to market"
        assert p.tobytes() == values, f"{slippage.kernel} must not write to p"
        answers.append(float(bps))
    return answers


def load(reference: str) -> Callable[..., Any]:
    """Return the kernel of a ``"package.module:function"``."""
    module, _, function = reference.partition(":")
    kernel: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return kernel


def _check_record(value: Any, what: str) -> None:
    assert isinstance(value, np.record), f"{what}() must return a record, was {type(value)}"
    names = value.dtype.names or ()
    assert names, f"{what}() must have a field"
    for name in names:
        kind = value.dtype[name].base.kind
        assert kind in "iufbV", f"{what}().{name} must be a number, was {value.dtype[name]}"


def _woken(
    wake: Callable[..., Any],
    arguments: tuple[Any, ...],
    instruments: Sequence[Instrument],
    seed: int,
    *,
    plain: bool = False,
) -> np.ndarray[Any, Any]:
    """Wake a strategy on prices that stay together; positions and working orders change at random."""
    rng = np.random.default_rng(seed)
    desk = Desk(instruments, end_s=_WAKES * 0.1, plain=plain)
    intents = [np.empty(0, INTENT)]
    common: float = 0.0
    own: np.ndarray[Any, Any] = np.zeros(len(instruments))
    for turn in range(_WAKES):
        common += rng.normal(0.0, 2e-4)
        own = 0.97 * own + rng.normal(0.0, 5e-4, len(own))
        desk.at(turn * 0.1)
        _fill_desk(desk, rng, 1_000.0 * np.exp(common + own))
        desk.begin()
        before = desk.snapshot()
        wake(desk.market, desk.account, desk.out, *arguments)
        assert desk.snapshot() == before, f"{wake} must not write to market or account"
        _check_intents(desk, len(instruments))
        intents.append(desk.intents.copy())
    return np.concatenate(intents)


def _check_intents(desk: Desk, count: int) -> None:
    working = desk.open_orders["order_id"][: int(desk.clock[0]["open_orders"])].tolist()
    for intent in desk.intents:
        assert 0 <= intent["asset"] < count, (
            f"asset must be one of {count} instruments, was {intent['asset']}"
        )
        assert intent["side"] in (1, -1), f"side must be 1 or -1, was {intent['side']}"
        if intent["kind"] == IntentKind.NEW:
            assert intent["qty"] > 0, f"qty must be > 0, was {intent['qty']}"
            is_market = intent["order_type"] == OrderType.MARKET
            assert is_market or intent["px"] > 0, f"px must be > 0, was {intent['px']}"
        else:
            assert intent["order_id"] in working, f"order {intent['order_id']} must be a working one"


def _random_desk(instruments: Sequence[Instrument], rng: np.random.Generator) -> Desk:
    desk = Desk(instruments)
    _fill_desk(desk, rng, rng.uniform(100.0, 2_000.0, len(instruments)))
    return desk


def _fill_desk(desk: Desk, rng: np.random.Generator, mids: np.ndarray[Any, Any]) -> None:
    """Set quotes around `mids`; now and then a side is missing, a position changes, an order works."""
    desk.forget_orders()
    for asset, mid in enumerate(mids):
        row = desk.quotes[asset]
        tick, lot = float(row["tick_size"]), float(row["lot_size"])
        bid_px = np.floor(mid / tick) * tick
        ask_px = bid_px + int(rng.integers(1, 4)) * tick
        gone = rng.random()
        desk.quote(
            asset,
            bid_px=float("nan") if gone < 0.02 else bid_px,
            ask_px=float("nan") if 0.02 <= gone < 0.04 else ask_px,
            bid_qty=float(rng.integers(1, 50)) * lot,
            ask_qty=float(rng.integers(1, 50)) * lot,
        )
        desk.hold(asset, float(rng.integers(-9, 10)) * lot, unit_qty=float(rng.uniform(0.0, 3_000.0)) * lot)
        for _ in range(int(rng.integers(0, 3))):
            side = Side.BUY if rng.random() < 0.5 else Side.SELL
            px = bid_px if side > 0 else ask_px
            desk.work(asset, side, px, float(rng.integers(1, 9)) * lot, request=int(rng.integers(0, 2)))


def _random_intent(desk: Desk, rng: np.random.Generator) -> Any:
    asset = int(rng.integers(len(desk.quotes)))
    row = desk.quotes[asset]
    kind = IntentKind.NEW if rng.random() < 0.8 else IntentKind.MODIFY
    return record(
        INTENT,
        kind=kind,
        asset=asset,
        side=int(rng.choice([1, -1])),
        order_id=1 if kind == IntentKind.MODIFY else 99,
        px=float(np.round(rng.uniform(50.0, 2_500.0) / row["tick_size"]) * row["tick_size"]),
        qty=float(rng.integers(1, 5_000)) * row["lot_size"],
    )
