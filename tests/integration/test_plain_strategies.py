"""Strategies in plain Python: the same market, account, intents, risk and ledger as compiled ones."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plain_probe_kernels as probe
import pytest

import bt_framework
from bt_framework import assembly
from bt_framework.config.compose import compose
from bt_framework.engine.plain import PlainWakes, plain_kernels
from bt_framework.engine.program import KernelSet, build_program
from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, Session
from bt_framework.engine.strategy import Kernels, PlainStrategy, Strategy, numbers_record
from bt_framework.engine.view import AccountView, Intents, MarketView
from bt_framework.errors import KernelError, RunStopped
from bt_framework.records import Side, Tag, TimeInForce
from bt_framework.results.run import Instrument
from bt_framework.testing.contracts import check_strategy
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS, clean_events
from bt_framework.units import NS_PER_MS as MS
from bt_framework.units import NS_PER_S
from bt_plugins.sizing import fixed_qty
from bt_plugins.strategies.imbalance import Imbalance
from bt_plugins.strategies.imbalance import build as build_imbalance

SHORT = ["data=synthetic_pair", "data.duration_ns=3min", "console=plain"]


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def session_of(
    events: np.ndarray[Any, Any],
    strategy: PlainStrategy | Strategy,
    *,
    plain: bool = True,
    roi: bool = True,
    end_ts: int | None = None,
) -> Session:
    """A session of one instrument, tick 0.1, lot 0.001, without risk rules."""
    from probe_venue import venue

    instruments = (Instrument("TEST", 0.1, 0.001),)
    wakes = PlainWakes(strategy, instruments) if plain else None
    if wakes is not None:
        kernels: Kernels = plain_kernels(strategy)
        params, state, work = numbers_record({"address": wakes.address}), numbers_record({}), np.zeros((1, 1))
    else:
        assert isinstance(strategy, Strategy)
        kernels = strategy.kernels
        params, state = strategy.params(instruments), strategy.state(instruments)
        work = strategy.work(instruments)
    bounds = {"low_px": 900.0, "high_px": 1_100.0} if roi else {}
    market = Market(instruments[0], [events], *venue(), **bounds)  # type: ignore[arg-type]
    sizing = fixed_qty.build(fixed_qty.FixedQty())
    program = build_program(KernelSet(kernels, [], sizing.kernel))
    size = (sizing.params(instruments), sizing.state(instruments))
    records = Records(params, state, work, (), size, numbers_record({}))
    end = end_ts if end_ts is not None else int(events["local_ts"][-1])
    clocking = Clocking(START_TS, end, strategy.timer_ns, NS_PER_S)
    return Session([market], program, clocking, records, AccountTerms(50_000.0), plain=wakes)


def drain(session: Session) -> dict[str, np.ndarray[Any, Any]]:
    parts: dict[str, list[np.ndarray[Any, Any]]] = {}
    try:
        for tables in session.slices(1_000_000):
            for name, rows in tables.items():
                parts.setdefault(name, []).append(rows.copy())
    finally:
        session.close()
    return {name: np.concatenate(rows) for name, rows in parts.items()}


class Prober(Strategy):
    """Writes all that market and account say into its work array, and sends one of each intent."""

    kernels = Kernels(
        on_timer="plain_probe_kernels:on_timer",
        on_book="plain_probe_kernels:on_book",
        on_order="plain_probe_kernels:on_order",
    )
    timer_ns = 7 * MS

    def __init__(self) -> None:
        self.notes = np.zeros((4_000, probe.COLUMNS))

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        return numbers_record({"unused": 0})

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        return numbers_record({"wakes": 0, "row": 0})

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray[Any, Any]:
        return self.notes


@pytest.mark.parametrize("roi", [True, False], ids=["price vector", "hash map"])
def test_both_forms_of_the_views_say_the_same_and_send_the_same(roi: bool) -> None:
    events = clean_events(1_500, seed=3)
    compiled, plain = Prober(), Prober()
    wanted = drain(session_of(events, compiled, plain=False, roi=roi))
    got = drain(session_of(events, plain, roi=roi))
    assert np.count_nonzero(wanted["fills"]["qty"]) > 20
    assert np.count_nonzero(compiled.notes) > 10_000
    np.testing.assert_array_equal(plain.notes, compiled.notes)
    for name, rows in wanted.items():
        assert rows.tobytes() == got[name].tobytes(), name


def test_the_comparison_of_the_forms_leaves_out_no_method() -> None:
    def public(view: Any) -> set[str]:
        methods = view.class_type.instance_type.jit_methods
        return {name for name in methods if not name.startswith("_")}

    names = {n for f in (probe.note, probe.act) for n in f.py_func.__code__.co_names}
    called_by_the_loop = {"begin"}
    for view in (MarketView, AccountView, Intents):
        assert public(view) - called_by_the_loop <= names


@pytest.mark.parametrize("strategy", ["ou_pairs", "market_maker"])
def test_a_compiled_strategy_gives_the_same_run_in_plain_form(
    strategy: str, tmp_path: Path, store_dir: Path
) -> None:
    hashes = []
    for plain in ("false", "true"):
        result = bt_framework.run(
            [
                f"+strategy={strategy}",
                *SHORT,
                f"plain={plain}",
                f"store_dir={store_dir}",
                f"runs_dir={tmp_path}",
            ]
        )
        assert result.record.mode == ("plain" if plain == "true" else "compiled")
        assert result.record.counts["fills"] > 0
        hashes.append(result.record.result_hash)
    assert hashes[0] == hashes[1]


def test_ou_pairs_gives_identical_orders_on_the_real_pair(
    shared_dir: Path, tmp_path: Path, store_dir: Path
) -> None:
    files = ",".join(str(shared_dir / "data/binance" / f"{s}_20240808.gz") for s in ("btcusdt", "ethusdt"))
    busy = [
        f"strategy.{k}={v}" for k, v in {"entry_z": 1.0, "exit_z": 0.2, "window": 300, "warmup": 300}.items()
    ]
    overrides = ["+strategy=ou_pairs", "data=binance", f"data.files=[{files}]", *busy, "console=plain"]
    places = [f"store_dir={store_dir}", f"runs_dir={tmp_path}"]
    compiled, plain = (bt_framework.run([*overrides, *places, f"plain={p}"]) for p in ("false", "true"))
    assert compiled.record.counts["orders"] > 20
    pd.testing.assert_frame_equal(compiled.orders.to_pandas(), plain.orders.to_pandas(), check_exact=True)
    assert compiled.record.result_hash == plain.record.result_hash


def test_a_plain_strategy_is_composed_like_any_other_and_repeats(
    tmp_path: Path, store_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["+strategy=imbalance", *SHORT, f"store_dir={store_dir}", f"runs_dir={tmp_path}"]
    first, second = bt_framework.run(overrides), bt_framework.run([*overrides, "slice_wakes=17"])
    assert first.record.mode == "plain"
    assert first.record.counts["fills"] > 10
    assert first.record.result_hash == second.record.result_hash
    assert "strategy in plain Python" in capsys.readouterr().out


def test_risk_holds_a_plain_strategy_too(tmp_path: Path, store_dir: Path) -> None:
    result = bt_framework.run(
        ["+strategy=imbalance", *SHORT, "risk.max_position.limit_notional=1", f"store_dir={store_dir}"]
        + [f"runs_dir={tmp_path}"]
    )
    assert result.record.counts["refusals"] > 10
    assert result.record.counts["fills"] == 0


class Raises(PlainStrategy):
    timer_ns = 10 * MS

    def __init__(self, error: BaseException, at_wake: int = 5) -> None:
        self.error, self.at_wake, self.wakes = error, at_wake, 0

    def on_timer(self, market: Any, account: Any, out: Any) -> None:
        self.wakes += 1
        if self.wakes == self.at_wake:
            raise self.error


def test_what_a_plain_strategy_raises_stops_the_run_with_the_time_and_the_cause() -> None:
    error = ValueError("no model")
    with pytest.raises(KernelError) as caught:
        drain(session_of(clean_events(500), Raises(error)))
    text = "the strategy raised ValueError: no model (simulated time 2024-01-01T00:00:00.050000000Z)."
    assert str(caught.value) == text
    assert caught.value.__cause__ is error
    assert caught.value.__cause__.__traceback__ is not None
    assert caught.value.__cause__.__traceback__.tb_next is not None, "the user's own line is in the traceback"


def test_a_plain_strategy_cannot_end_the_process() -> None:
    with pytest.raises(KernelError, match=r"^the strategy raised SystemExit: 5 "):
        drain(session_of(clean_events(500), Raises(SystemExit(5))))


def test_a_stop_waits_for_a_few_wake_ups_of_a_plain_strategy_at_most() -> None:
    strategy = Quoter()
    session = session_of(clean_events(2_000), strategy)
    next(session.slices(1_000_000))
    assert 0 < len(strategy.reasons) <= 48
    session.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunStopped("stopped by Ctrl-C.", signal_number=2)])
def test_a_stop_inside_a_plain_strategy_stays_a_stop(error: BaseException) -> None:
    strategy = Raises(error)
    with pytest.raises(type(error)):
        drain(session_of(clean_events(500), strategy))
    assert strategy.wakes == 5


class Quoter(PlainStrategy):
    """Keeps one order in the book; numpy's scalars must do as well as Python's."""

    timer_ns = 5 * MS

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def on_timer(self, market: Any, account: Any, out: Any) -> None:
        self.reasons.append("timer")
        if account.order_count() == 0:
            px, qty = np.float64(market.best_bid_px(np.int64(0))), np.float64(0.01)
            out.limit_with(np.int64(0), np.int64(Side.BUY), px, qty, Tag.QUOTE, TimeInForce.GTX)

    def on_book(self, market: Any, account: Any, out: Any) -> None:
        self.reasons.append("book")

    def on_order(self, market: Any, account: Any, out: Any) -> None:
        self.reasons.append("order")


def test_a_plain_strategy_wakes_on_timers_books_and_orders() -> None:
    feed = SmallFeed()
    for at in range(0, 110, 10):  # the last one ends the data
        feed.book(at * MS, bid_px=999.9, ask_px=1_000.1)
    strategy = Quoter()
    tables = drain(session_of(feed.events(), strategy, end_ts=START_TS + 95 * MS))
    assert strategy.reasons.count("timer") == 18
    assert strategy.reasons.count("book") == 10
    assert strategy.reasons.count("order") == 1
    assert len(tables["orders"]) == 2


def test_two_threads_run_plain_strategies_at_once(tmp_path: Path, store_dir: Path) -> None:
    overrides = ["+strategy=imbalance", *SHORT, f"store_dir={store_dir}", f"runs_dir={tmp_path}"]
    hashes = [bt_framework.run(overrides).record.result_hash]

    def run() -> None:
        hashes.append(bt_framework.run(overrides).record.result_hash)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hashes) == 3
    assert len(set(hashes)) == 1


def test_a_plain_strategy_holds_the_contract_of_strategies() -> None:
    intents = check_strategy(build_imbalance(Imbalance()))
    assert len(intents) > 10


PLAIN_MODULE = """
from bt_framework.engine.strategy import PlainStrategy


class Mine(PlainStrategy):
    timer_ns = 1_000_000

    def on_timer(self, market, account, out):
        from helper_of_mine import threshold

        self.seen = threshold()
"""


def test_the_identity_of_a_plain_strategy_follows_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strategy_of_mine.py").write_text(PLAIN_MODULE)
    helper = tmp_path / "helper_of_mine.py"
    monkeypatch.syspath_prepend(tmp_path)
    composition = compose(["+strategy=imbalance"])
    parts = assembly.Parts.of(composition)
    program = assembly.build_program(parts)

    def identity() -> str:
        strategy_of_mine = importlib.import_module("strategy_of_mine")
        return assembly._sources_hash(program, replace(parts, strategy=strategy_of_mine.Mine()))

    helper.write_text("def threshold():\n    return 1\n")
    first = identity()
    assert identity() == first
    helper.write_text("def threshold():\n    return 2\n")
    assert identity() != first
    del sys.modules["strategy_of_mine"]
