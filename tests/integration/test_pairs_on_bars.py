"""Strategies of several legs on bars and books, in the engine: what every one of them promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bar_stores import DAY_NS, OPEN_US, store_bars

import bt_framework
from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.errors import ConfigError, DataError
from bt_framework.results.result import RunResult
from bt_framework.stores.research import KalmanParams, OuParams, ResearchStore

BARS = 700
FIRST_CLOSE_TS = OPEN_US * 1_000 + DAY_NS
STRATEGIES: dict[str, list[str]] = {
    "ou_pairs": [
        "data.symbols=[YYY,XXX]",
        "strategy.sample_ns=0",
        "strategy.execution=taker",
        "strategy.window=60",
        "strategy.warmup=60",
        "strategy.entry_z=1.0",
        "strategy.time_stop_half_lives=5",
    ],
    "bollinger_pairs": ["data.symbols=[YYY,XXX]"],
    "johansen_basket": ["strategy.weights=[1,-1.5,0.5]", "strategy.window=20", "data.symbols=[YYY,XXX,ZZZ]"],
    "basis": ["data.symbols=[SPOT,FUT]", "strategy.short_spot=true"],
}
WARM_UP = {"ou_pairs": 60, "bollinger_pairs": 50, "johansen_basket": 20, "basis": 1}


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Daily bars of a pair, a third instrument, and a spot with its future."""
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(11)
    x, z = (p + np.cumsum(0.3 * rng.normal(size=BARS)) for p in (80.0, 120.0))
    spread = np.zeros(BARS)
    for i in range(1, BARS):
        spread[i] = 0.8 * spread[i - 1] + 0.6 * rng.normal()
    spot = 100.0 + np.cumsum(0.2 * rng.normal(size=BARS))
    closes = {"YYY": 1.5 * x - 0.5 * z + 80.0 + spread, "XXX": x, "ZZZ": z}
    closes |= {"SPOT": spot, "FUT": spot * (1.0 + 0.004 * np.sin(np.arange(BARS) / 7.0))}
    store_bars(folder, {s: np.round(c, 3).tolist() for s, c in closes.items()})
    return folder


@pytest.fixture(scope="module")
def run(store_dir: Path) -> Callable[..., RunResult]:
    """Return a function that runs a strategy over the bars."""
    folders = [f"store_dir={store_dir}", f"runs_dir={store_dir / 'runs'}", "console=json"]
    base = ["data=bars", "data.source=test", "sizing=fixed_qty", "sizing.qty=100", "risk=[]", *folders]
    return lambda name, *more: bt_framework.run([f"+strategy={name}", *base, *STRATEGIES[name], *more])


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_on_bars_keeps_what_a_strategy_of_legs_promises(
    run: Callable[..., RunResult], name: str
) -> None:
    result = run(name)
    signals = {row["signal_id"]: row for row in result.signals.to_pylist()}
    orders = result.orders.to_pylist()
    entries = [row for row in signals.values() if row["kind"] == "enter"]
    assert len(entries) > 5
    # Every order carries the signal that it came from, and none a refusal's.
    for order in orders:
        assert signals[order["signal_id"]]["local_ts"] <= order["local_ts"]
        assert signals[order["signal_id"]]["kind"] != "refused"
    # No entry before the warm-up, and every one at a close.
    first = min(row["local_ts"] for row in entries)
    assert first >= FIRST_CLOSE_TS + (WARM_UP[name] - 1) * DAY_NS
    assert all((row["local_ts"] - FIRST_CLOSE_TS) % DAY_NS == 0 for row in signals.values())
    # Flat at the end.
    held: dict[str, float] = {}
    for fill in result.fills.to_pylist():
        held[fill["symbol"]] = held.get(fill["symbol"], 0.0) + (
            fill["qty"] if fill["side"] == "buy" else -fill["qty"]
        )
    assert set(held.values()) == {0.0}
    # In plain Python, the same.
    assert run(name, "plain=true").result_hash == result.result_hash


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_market_order_of_a_decision_is_filled_at_the_close_it_was_taken_at(
    run: Callable[..., RunResult], name: str
) -> None:
    result = run(name, "latency=zero", "data.slippage_bps=2")
    mids = {
        (row["symbol"], row["local_ts"]): row["mid_px"]
        for row in result.equity.to_pylist()
        if row["mid_px"] > 0
    }
    fills = result.fills.to_pylist()
    assert len(fills) > 20
    for fill in fills:
        sign = 1 if fill["side"] == "buy" else -1
        close = mids[fill["symbol"], fill["local_ts"]]
        assert fill["px"] == pytest.approx(close * (1 + sign * 2e-4), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ou_pairs", ["strategy.thresholds=bertram", "strategy.estimator=unbiased"]),
        ("bollinger_pairs", ["strategy.hedge=kalman", "strategy.rebalance=true", "strategy.entry_z=0.5"]),
        ("bollinger_pairs", ["strategy.sample_ns=1d", "strategy.hedge_sample_ns=5d"]),
    ],
)
def test_other_ways_are_the_same_compiled_and_plain(
    run: Callable[..., RunResult], name: str, keys: list[str]
) -> None:
    compiled, plain = run(name, *keys), run(name, *keys, "plain=true")
    assert compiled.counts["fills"] > 10
    assert compiled.result_hash == plain.result_hash


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_strategies_trade_books(run: Callable[..., RunResult], tmp_path: Path, name: str) -> None:
    keys = {
        "ou_pairs": [
            "strategy.window=60",
            "strategy.warmup=60",
            "strategy.entry_z=1",
            "strategy.thresholds=leung_li",
        ],
        "johansen_basket": ["strategy.log_prices=true", "strategy.weights=[1,-1]", "strategy.window=30"],
        "bollinger_pairs": ["strategy.log_prices=true", "strategy.hedge=fixed", "strategy.hedge_ratio=1"],
        "basis": ["strategy.short_spot=true", "strategy.entry_bps=5", "strategy.exit_bps=1"],
    }[name]
    result = bt_framework.run(
        [
            f"+strategy={name}",
            "strategy.sample_ns=1s",
            "strategy.execution=maker",
            *keys,
            "data.duration_ns=3min",
            "console=json",
            f"store_dir={tmp_path}",
            f"runs_dir={tmp_path}",
        ]
    )
    assert result.record.status == "completed"
    assert result.counts["signals"] > 0


def test_a_basket_is_trained_on_the_bars_before_the_run_and_says_so(run: Callable[..., RunResult]) -> None:
    start = datetime.fromtimestamp(OPEN_US / 1e6 + 400 * 86_400, UTC).isoformat()
    keys = [
        "strategy.weights=[]",
        "strategy.window=0",
        "strategy.train_source=test",
        "strategy.train_bars=300",
        f"start='{start}'",
    ]
    result = run("johansen_basket", *keys)
    taken: Any = result.record.inputs
    assert list(taken["weights"]) == ["YYY", "XXX", "ZZZ"]
    assert taken["bars"] == 300
    assert result.counts["fills"] > 0
    with pytest.raises(ConfigError, match="train_source must name the source of earlier bars"):
        run("johansen_basket", "strategy.weights=[]")


def test_a_warm_start_without_stored_parameters_is_refused(run: Callable[..., RunResult]) -> None:
    with pytest.raises(
        DataError, match=r"must have Kalman and OU parameters of XXX_YYY \(log prices, y = YYY\)"
    ):
        run("ou_pairs", "strategy.warm_start=stored")


def test_a_warm_start_enters_before_the_warm_up_and_is_part_of_the_identity(
    run: Callable[..., RunResult], store_dir: Path
) -> None:
    known = datetime.fromtimestamp(OPEN_US / 1e6 - 86_400, UTC)
    window = {"as_of": known, "window_start": known, "window_end": known, "interval_ns": DAY_NS}
    common = {
        "source": "test",
        "pair_id": "SPOT_YYY",
        "y_symbol": "YYY",
        "log_prices": True,
        "adjust": "none",
    }
    common |= {**window, "dt_s": 86_400.0, "observations": 500}
    process = {"theta": 2e-6, "mu": 0.0, "sigma": 8e-5, "stationary_sd": 0.04, "half_life_s": 346_573.0}
    store = ResearchStore.in_folder(store_dir)
    store.put_universe([("YYY", "SPOT")], "test")
    line = {"intercept": 0.53, "hedge_ratio": 1.0}
    noise = {"q_intercept": 1e-14, "q_slope": 1e-10, "r": 1e-8, "log_likelihood": 0.0}
    store.put_kalman_params([KalmanParams(**common, **line, p00=1e-8, p01=0.0, p11=1e-8, **noise)])
    keys = ["data.symbols=[YYY,SPOT]", "strategy.warm_start=stored"]
    hashes = []
    for half_life_s in (346_573.0, 346_574.0):
        store.put_ou_params([OuParams(**common, **line, **process | {"half_life_s": half_life_s})])
        result = run("ou_pairs", *keys)
        assert result.record.inputs["ou_params"]["half_life_s"] == half_life_s
        first = min(row["local_ts"] for row in result.signals.to_pylist() if row["kind"] == "enter")
        assert first < FIRST_CLOSE_TS + 59 * DAY_NS
        hashes.append(result.data_hash)
    assert hashes[0] != hashes[1]


def test_a_warm_start_needs_data_that_begin_after_the_ex_dates_before_its_parameters(
    run: Callable[..., RunResult], store_dir: Path
) -> None:
    ex_date, known = (datetime.fromtimestamp(OPEN_US / 1e6 + day * 86_400, UTC) for day in (200, 300))
    window = {"as_of": known, "window_start": known, "window_end": known, "interval_ns": DAY_NS}
    common = {"source": "test", "pair_id": "FUT_SPOT", "y_symbol": "FUT", "log_prices": True}
    common |= {**window, "adjust": "point_in_time", "dt_s": 86_400.0, "observations": 200}
    line = {"intercept": 0.0, "hedge_ratio": 1.0}
    process = {"theta": 2e-6, "mu": 0.0, "sigma": 8e-6, "stationary_sd": 0.004, "half_life_s": 346_573.0}
    noise = {"q_intercept": 1e-14, "q_slope": 1e-10, "r": 1e-8, "log_likelihood": 0.0}
    store = ResearchStore.in_folder(store_dir)
    store.put_universe([("FUT", "SPOT")], "test")
    store.put_kalman_params([KalmanParams(**common, **line, p00=1e-8, p01=0.0, p11=1e-8, **noise)])
    store.put_ou_params([OuParams(**common, **line, **process)])
    action = {"symbol": "FUT", "ex_date": ex_date.date(), "kind": "dividend", "value": 1.0}
    store.add_actions(pa.Table.from_pylist([action], ACTION_SCHEMA), source="test")
    keys = ["data.symbols=[FUT,SPOT]", "strategy.warm_start=stored"]
    start = f"start='{known.isoformat()}'"
    with pytest.raises(
        DataError, match="after the dividend of FUT on 2020-07-19, but the data begin on 2020"
    ):
        run("ou_pairs", *keys, start)
    assert run("ou_pairs", *keys, f"data.{start}").record.status == "completed"
    with pytest.raises(
        ConfigError, match=r"data\.adjust must be point_in_time or none where .*, was backward"
    ):
        run("ou_pairs", *keys, f"data.{start}", "data.adjust=backward")


def test_an_unknown_symbol_is_refused(run: Callable[..., RunResult]) -> None:
    with pytest.raises(DataError, match="XXY"):
        run("bollinger_pairs", "data.symbols=[YYY,XXY]")
