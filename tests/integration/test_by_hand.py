"""Runs against a plain hftbacktest script that makes the same decisions: an independent answer, fill by fill."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bt_framework
from bt_framework.data.manifest import Manifest
from bt_framework.data.store import EventStore
from bt_framework.engine.book import choose_book

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "by_hand" / "ou_pairs.py"
BUSY = {"entry_z": 1.0, "exit_z": 0.2, "stop_z": 3.0, "window": 300, "warmup": 300}
"""Thresholds that trade often, stops included."""

LATENCY_NS = {"colo": 250_000, "same_region": 2_000_000}
COLUMNS = ["local_ts", "exch_ts", "symbol", "side", "maker", "px", "qty", "fee"]


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ModuleType]:
    """The script, as a module: it is no package, and imports nothing of ours."""
    spec = importlib.util.spec_from_file_location("by_hand_ou_pairs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def real_pair(shared_dir: Path) -> list[str]:
    names = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")
    files = ",".join(str(shared_dir / "data" / "binance" / name) for name in names)
    return ["data=binance", f"data.files=[{files}]"]


SYNTHETIC_PAIR = ["data=synthetic_pair", "data.duration_ns=20min", "data.seed=7"]


def run_ours(
    data: list[str], store_dir: Path, runs_dir: Path, strategy: dict[str, Any], *more: str
) -> bt_framework.RunResult:
    overrides = [f"strategy.{key}={value}" for key, value in strategy.items()]
    return bt_framework.run(
        [
            "+strategy=ou_pairs",
            *data,
            *overrides,
            *more,
            "console=json",
            f"store_dir={store_dir}",
            f"runs_dir={runs_dir}",
        ]
    )


def feeds_of(result: bt_framework.RunResult, store_dir: Path) -> list[Manifest]:
    """What the store knows of the run's instruments, in the run's order."""
    stored = {manifest.symbol: manifest for manifest in EventStore(store_dir).manifests()}
    return [stored[instrument["symbol"]] for instrument in result.record.instruments]


def run_theirs(
    by_hand: ModuleType, feeds: list[Manifest], store_dir: Path, strategy: dict[str, Any], **venue: Any
) -> tuple[np.recarray, Any]:
    """The script's fills and recorder, on the same events; of those that clear the book, in a hash map."""
    books = [
        choose_book(
            f.spec,
            f.touch_low_px,
            f.touch_high_px,
            clears=(lambda reach: None) if f.has_depth_clear else None,
        )
        for f in feeds
    ]
    if all(book.low_px is not None for book in books):
        venue["low_px"] = tuple(book.low_px for book in books)
        venue["high_px"] = tuple(book.high_px for book in books)
    sizes = tuple(f.spec.tick_size for f in feeds), tuple(f.spec.lot_size for f in feeds)
    store = EventStore(store_dir)
    events = [np.load(store.mapping_path(f.content_hash)) for f in feeds]
    settings = dict(strategy)
    settings["taker"] = settings.pop("execution", "maker") == "taker"
    return by_hand.backtest(events, by_hand.Venue(*sizes, **venue), **settings)


def ours(result: bt_framework.RunResult) -> pd.DataFrame:
    table = result.fills.to_pandas()
    for column in ("local_ts", "exch_ts"):
        table[column] = table[column].astype("int64")
    table["symbol"] = table["symbol"].astype(str)
    table["side"] = table["side"].astype(str)
    return ordered(table[COLUMNS])


def theirs(fills: np.recarray, feeds: list[Manifest], venue: Any) -> pd.DataFrame:
    rates = np.where(fills.maker != 0, venue.maker_frac, venue.taker_frac)
    return ordered(
        pd.DataFrame(
            {
                "local_ts": fills.local_ts,
                "exch_ts": fills.exch_ts,
                "symbol": [feeds[leg].symbol for leg in fills.leg],
                "side": np.where(fills.side == 1, "buy", "sell"),
                "maker": fills.maker != 0,
                "px": fills.px,
                "qty": fills.qty,
                "fee": fills.px * fills.qty * rates,
            }
        )
    )


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """By time; the script looks at its legs every 100 ms, so that its own order is another."""
    return table.sort_values(["local_ts", "symbol"], ignore_index=True)


def assert_same_fills(
    by_hand: ModuleType, result: bt_framework.RunResult, fills: np.recarray, feeds: list[Manifest]
) -> None:
    got, wanted = ours(result), theirs(fills, feeds, by_hand.Venue())
    # Prices are the same product of ticks and tick size; quantities are the same lots, reached on other ways.
    pd.testing.assert_frame_equal(got.drop(columns=["qty", "fee"]), wanted.drop(columns=["qty", "fee"]))
    np.testing.assert_allclose(got["qty"], wanted["qty"], rtol=1e-12)
    np.testing.assert_allclose(got["fee"], wanted["fee"], rtol=1e-12)


@pytest.mark.parametrize(
    ("execution", "latency", "queue"),
    [
        ("maker", "colo", "risk_averse"),
        ("maker", "same_region", "risk_averse"),
        ("maker", "colo", "log_prob"),
        ("maker", "same_region", "power_prob"),
        ("taker", "colo", "risk_averse"),
        ("taker", "same_region", "log_prob"),
    ],
)
def test_fills_on_the_real_pair_are_those_of_the_plain_script(
    by_hand: ModuleType,
    real_pair: list[str],
    store_dir: Path,
    tmp_path: Path,
    execution: str,
    latency: str,
    queue: str,
) -> None:
    strategy = {**BUSY, "execution": execution}
    result = run_ours(real_pair, store_dir, tmp_path, strategy, f"latency={latency}", f"queue={queue}")
    feeds = feeds_of(result, store_dir)
    delay = {"entry_ns": LATENCY_NS[latency], "response_ns": LATENCY_NS[latency]}
    fills, _ = run_theirs(by_hand, feeds, store_dir, strategy, queue=queue, **delay)
    assert len(fills) > 60
    assert_same_fills(by_hand, result, fills, feeds)


@pytest.mark.parametrize("latency", ["colo", "same_region"])
@pytest.mark.parametrize("execution", ["maker", "taker"])
def test_fills_on_the_synthetic_pair_are_those_of_the_plain_script(
    by_hand: ModuleType, store_dir: Path, tmp_path: Path, execution: str, latency: str
) -> None:
    strategy = {**BUSY, "execution": execution}
    result = run_ours(SYNTHETIC_PAIR, store_dir, tmp_path, strategy, f"latency={latency}")
    feeds = feeds_of(result, store_dir)
    delay = {"entry_ns": LATENCY_NS[latency], "response_ns": LATENCY_NS[latency]}
    fills, _ = run_theirs(by_hand, feeds, store_dir, strategy, **delay)
    assert len(fills) > 200
    assert_same_fills(by_hand, result, fills, feeds)


@pytest.mark.parametrize(("rule", "limit"), [("max_position", 12_000.0), ("max_order_notional", 11_000.0)])
def test_limits_refuse_the_same_orders_as_in_the_plain_script(
    by_hand: ModuleType, real_pair: list[str], store_dir: Path, tmp_path: Path, rule: str, limit: float
) -> None:
    override = f"risk.{rule}.limit_notional={limit}"
    result = run_ours(real_pair, store_dir, tmp_path, BUSY, "latency=colo", override)
    feeds = feeds_of(result, store_dir)
    setting = {"max_position": "max_position_notional"}.get(rule, rule)
    fills, _ = run_theirs(by_hand, feeds, store_dir, {**BUSY, setting: limit})
    assert result.counts["refusals"] > 10
    assert len(fills) > 20
    assert_same_fills(by_hand, result, fills, feeds)


@pytest.mark.parametrize("pair", ["real", "synthetic"])
def test_equity_is_what_the_recorder_of_hftbacktest_records(
    by_hand: ModuleType, request: pytest.FixtureRequest, store_dir: Path, tmp_path: Path, pair: str
) -> None:
    data = request.getfixturevalue("real_pair") if pair == "real" else SYNTHETIC_PAIR
    result = run_ours(data, store_dir, tmp_path, BUSY, "latency=colo", "equity_interval_ns=100ms")
    feeds = feeds_of(result, store_dir)
    _, recorder = run_theirs(by_hand, feeds, store_dir, BUSY)
    equity = result.equity.to_pandas()
    for leg, feed in enumerate(feeds):
        got = equity[equity["symbol"] == feed.symbol].reset_index(drop=True)
        wanted = recorder.get(leg)
        np.testing.assert_array_equal(got["local_ts"].astype("int64"), wanted["timestamp"])
        seen = np.isfinite(wanted["price"])
        assert seen.sum() > 3_000
        np.testing.assert_array_equal(got["mid_px"][seen], wanted["price"][seen])
        np.testing.assert_allclose(got["position_qty"], wanted["position"], atol=0.1 * feed.spec.lot_size)
        scale = wanted["trading_value"][-1]
        np.testing.assert_allclose(got["cash"], wanted["balance"], atol=1e-12 * scale)
        np.testing.assert_allclose(got["fees"], wanted["fee"], atol=1e-12 * scale)
