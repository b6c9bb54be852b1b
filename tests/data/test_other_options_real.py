"""Options on real data that have no file of their own: what each says is what the tables of the run show."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bt_framework
from bt_framework.config.compose import compose
from bt_framework.data.shift import ShiftedFeed
from bt_framework.data.store import EventStore
from bt_framework.errors import DataError
from bt_framework.results.result import RunResult
from bt_framework.runner import run_composition
from bt_framework.units import NS_PER_S
from bt_plugins.data.binance import Binance, build

Run = Callable[..., RunResult]
SHORT = ["start=2024-08-08T23:55:00", "end=2024-08-08T23:58:30"]
_PACKAGE = '''
from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.strategy import PlainStrategy
from bt_framework.hookspecs import hookimpl


@dataclass
class LevelProbe(ComponentConfig):
    """Says what it sees of the book."""

    name: str = param("level_probe", "registry name")


class LevelProbeStrategy(PlainStrategy):
    timer_ns = 1_000_000_000

    def __init__(self, config):
        pass

    def on_timer(self, market, account, out):
        for asset in range(market.count()):
            best, tick = market.best_bid_px(asset), market.tick_size(asset)
            if not best > 0:
                continue
            prices = [market.bid_level_px(asset, level) for level in range(6)]
            first = sum(market.bid_qty_at(asset, px) for px in prices[:5])
            near = sum(market.bid_qty_at(asset, best - i * tick) for i in range(300))
            out.signal(1, 1, prices[4], prices[5], first, near)


@hookimpl
def register_strategies(register):
    register(LevelProbe, LevelProbeStrategy)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("others")


@pytest.fixture(scope="module")
def pair(shared_dir: Path) -> list[str]:
    return [str(shared_dir / "data/binance" / f"{name}_20240808.gz") for name in ("btcusdt", "ethusdt")]


@pytest.fixture
def run(folder: Path) -> Run:
    """Return a function that makes markets."""

    def go(*overrides: str) -> RunResult:
        maker = ["+strategy=market_maker", "strategy.max_units=20", "latency=colo", "risk=[]"]
        places = ["console=json", f"store_dir={folder / 'store'}", f"runs_dir={folder / 'runs'}"]
        result = bt_framework.run([*maker, *places, *overrides])
        assert result.status == "completed"
        assert result.counts["fills"] >= 10
        return result

    return go


def binance(*files: str) -> list[str]:
    return ["data=binance", f"data.files=[{','.join(files)}]"]


def frame(table: Any) -> pd.DataFrame:
    data = table.to_pandas()
    return data.astype({name: object for name in data.select_dtypes("category").columns})


VECTOR_DATA = {
    "lobster": ("lobster/LOBSTER_SampleFile_GOOG_2012-06-21_5.zip", "strategy.half_spread_bps=2"),
    "quotes": ("fx/lean_oanda_eurusd_20140506_quote.zip", "strategy.half_spread_bps=0.5"),
}


@pytest.mark.parametrize("exchange", ["no_partial_fill", "partial_fill"])
@pytest.mark.parametrize("reader", VECTOR_DATA)
def test_fills_in_the_price_vector_are_those_in_the_hash_map(
    run: Run, shared_dir: Path, reader: str, exchange: str
) -> None:
    file, spread = VECTOR_DATA[reader]
    data = [f"data={reader}", f"data.files=[{shared_dir / 'data' / file}]", spread, f"exchange={exchange}"]
    vector, hashed, auto = (run(*data, f"depth={form}") for form in ("price_vector", "hash_map", "auto"))
    assert vector.result_hash == hashed.result_hash == auto.result_hash
    books = [result.record.books[0].split(": ", 1)[1] for result in (vector, hashed, auto)]
    assert books[0].startswith("price vector")
    assert books[1] == "hash map: chosen"
    assert books[2].startswith("price vector")


@pytest.fixture
def probe(folder: Path, pair: list[str]) -> Iterator[Callable[..., pd.DataFrame]]:
    """Return a function that runs the strategy of this file, and gives what it saw."""
    info, options = folder / "site/level_probe-1.0.dist-info", folder / "options/strategy"
    for path in (info, options):
        path.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: level-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bt_framework]\nmain = level_probe\n")
    (folder / "site/level_probe.py").write_text(_PACKAGE)
    (options / "level_probe.yaml").write_text("defaults:\n  - /schema/strategy/level_probe@_here_\n")

    def go(*overrides: str) -> pd.DataFrame:
        places = ["console=json", f"store_dir={folder / 'store'}", f"runs_dir={folder / 'runs'}"]
        words = ["+strategy=level_probe", *binance(*pair), *places, *overrides]
        result = run_composition(compose(words, config_dirs=[str(folder / "options")]))
        return frame(result.signals)

    sys.path.insert(0, str(folder / "site"))
    try:
        yield go
    finally:
        sys.path.remove(str(folder / "site"))
        sys.modules.pop("level_probe", None)


def test_with_five_levels_the_sixth_is_not_there(probe: Callable[..., pd.DataFrame]) -> None:
    whole, five = probe("depth=auto"), probe("depth.levels=5")
    assert len(whole) == len(five) > 600
    np.testing.assert_array_equal(five["z"], whole["z"])  # price of the fifth
    np.testing.assert_array_equal(five["hedge_ratio"], whole["hedge_ratio"])  # quantity of the first five
    assert whole["spread"].notna().mean() > 0.99  # price of the sixth
    assert five["spread"].isna().all()
    np.testing.assert_allclose(five["half_life_s"], five["hedge_ratio"], rtol=1e-12)  # quantity of all near
    assert (whole["half_life_s"] > 1.5 * whole["hedge_ratio"]).mean() > 0.9


def test_an_inverse_contract_pays_in_its_base(run: Run, pair: list[str]) -> None:
    size = "contract.contract_size.BTCUSDT=100"
    result = run(*binance(pair[0]), "contract=inverse", size, "capital=2", "sizing.notional=1000", *SHORT)
    fills, last = frame(result.fills), frame(result.equity).iloc[-1]
    sign = fills["side"].map({"buy": 1.0, "sell": -1.0})
    value = fills["qty"] * 100.0 / fills["px"]
    np.testing.assert_allclose(fills["fee"], value * np.where(fills["maker"], 2e-4, 5e-4), rtol=1e-12)
    cash, position = (sign * value).sum(), (sign * fills["qty"]).sum()
    assert last["cash"] == pytest.approx(cash, abs=1e-12)
    expected = cash - position * 100.0 / last["mid_px"] - fills["fee"].sum()
    assert last["equity"] == pytest.approx(expected, abs=1e-12)


def test_a_linear_contract_is_what_the_data_says_and_has_a_size(run: Run, pair: list[str]) -> None:
    told, linear = (run(*binance(*pair), *SHORT, f"contract={name}") for name in ("from_data", "linear"))
    assert told.result_hash == linear.result_hash
    fills = frame(
        run(*binance(pair[0]), *SHORT, "contract=linear", "contract.contract_size.BTCUSDT=10").fills
    )
    value = fills["px"] * fills["qty"] * 10.0
    np.testing.assert_allclose(fills["fee"], value * np.where(fills["maker"], 2e-4, 5e-4), rtol=1e-12)


def test_named_fees_are_what_they_say(run: Run, pair: list[str]) -> None:
    free = frame(run(*binance(*pair), *SHORT, "fees=zero").fills)
    assert set(free["fee"]) == {0.0}
    vip0 = frame(run(*binance(*pair), *SHORT, "fees=binance_usdm_vip0").fills)
    frac = np.where(vip0["maker"], 2e-4, 5e-4)
    np.testing.assert_allclose(vip0["fee"], vip0["px"] * vip0["qty"] * frac, rtol=1e-12)


@pytest.mark.parametrize(
    ("profile", "entry_ns", "response_ns", "feed_ns"),
    [
        ("zero", 0, 0, 0),
        ("colo", 250_000, 250_000, 0),
        ("same_region", 2_000_000, 2_000_000, 0),
        ("retail", 40_000_000, 40_000_000, 40_000_000),
    ],
)
def test_named_latencies_are_what_orders_take(
    run: Run, pair: list[str], profile: str, entry_ns: int, response_ns: int, feed_ns: int
) -> None:
    result = run(*binance(*pair), *SHORT, f"latency={profile}")
    orders = frame(result.orders)
    sent = orders[orders["event"] == "submitted"].set_index("order_id")["local_ts"].astype("int64")
    rested = orders[orders["event"] == "accepted"].drop_duplicates("order_id").set_index("order_id")
    rested = rested[["local_ts", "exch_ts"]].astype("int64")
    assert len(rested) > 100
    assert set(rested["exch_ts"] - sent.loc[rested.index]) == {entry_ns}
    assert set(rested["local_ts"] - rested["exch_ts"]) == {response_ns}
    told = result.record.latency["BTCUSDT"]
    assert (told["entry_p50_ns"], told["entry_p99_ns"], told["response_p99_ns"]) == (
        entry_ns,
        entry_ns,
        response_ns,
    )
    first_ts = run(*binance(*pair), SHORT[1], "latency=zero").record.start_ts
    assert run(*binance(*pair), SHORT[1], f"latency={profile}").record.start_ts == first_ts + feed_ns


def test_a_feed_offset_is_added_to_each_local_time_and_may_not_undo_the_latency(
    run: Run, pair: list[str], folder: Path
) -> None:
    store = EventStore(folder / "store")
    (plain,) = store.load_all(build(Binance(files=pair[:1])).feeds())
    later = store.load(ShiftedFeed(plain, 7_000_000))
    before, after = plain.open(), later.open()
    np.testing.assert_array_equal(after["local_ts"], before["local_ts"] + 7_000_000)
    np.testing.assert_array_equal(after["exch_ts"], before["exch_ts"])
    with pytest.raises(DataError, match="negative feed latency"):
        run(*binance(*pair), "latency.feed_offset_ns=-1s")


def test_hftbacktests_file_of_the_same_events_gives_the_same_run(
    run: Run, pair: list[str], folder: Path
) -> None:
    names = []
    for feed in EventStore(folder / "store").load_all(build(Binance(files=pair)).feeds()):
        names.append(str(folder / f"{feed.symbol.lower()}_20240808.npz"))
        np.savez(names[-1], data=np.array(feed.open()))
    sizes = "data.tick_size={BTCUSDT: 0.1, ETHUSDT: 0.01}", "data.lot_size={BTCUSDT: 0.001, ETHUSDT: 0.001}"
    theirs = run("data=npz", f"data.files=[{','.join(names)}]", *sizes, *SHORT)
    assert theirs.result_hash == run(*binance(*pair), *SHORT).result_hash


MIDNIGHT_TS = 1_723_161_600 * NS_PER_S  # 2024-08-09
ACTIONS = ["REFUSE", "CANCEL_ALL", "FLATTEN_AND_HALT", "HALT_FOR_DAY"]


@pytest.mark.parametrize("action", ACTIONS)
def test_what_follows_a_breach_is_what_the_action_says(run: Run, pair: list[str], action: str) -> None:
    rule = ["risk=[max_drawdown]", "risk.max_drawdown.limit_frac=2e-4", f"risk.max_drawdown.action={action}"]
    result = run(*binance(*pair), *rule)
    events, orders = frame(result.risk_events), frame(result.orders)
    breach = events[events["event"] == "breach"].iloc[0]
    assert (breach["action"], breach["rule"]) == (action.lower(), "max_drawdown")
    assert breach["value"] >= breach["limit"] > 0
    at = breach["local_ts"]
    cancels = orders[(orders["event"] == "cancel_requested") & (orders["local_ts"] == at)]
    ended = {"filled", "cancelled", "expired", "rejected"}
    before = orders[orders["local_ts"] < at]
    gone = set(orders[(orders["local_ts"] <= at) & orders["event"].isin(ended)]["order_id"])
    asked = set(before[before["event"] == "cancel_requested"]["order_id"])
    works = set(before[before["event"] == "submitted"]["order_id"]) - gone - asked
    if action != "REFUSE":
        assert works <= set(cancels["order_id"])
    after = orders[(orders["event"] == "submitted") & (orders["local_ts"] > at)]
    if action == "FLATTEN_AND_HALT":
        assert set(after["tag"]) <= {"risk"}
        flat = events[events["event"] == "flat"].iloc[0]["local_ts"]
        assert at <= flat < at + 5 * NS_PER_S
        equity = frame(result.equity)
        assert (equity[equity["local_ts"] > flat]["position_qty"] == 0).all()
        return
    # What only reduces a position passes, nothing else.
    fills = frame(result.fills)
    resumed = events[events["event"] == "resume"]["local_ts"]
    until = resumed.iloc[0] if len(resumed) else orders["local_ts"].max() + 1
    for row in after[after["local_ts"] < until].itertuples():
        own = fills[(fills["symbol"] == row.symbol) & (fills["local_ts"] <= row.local_ts)]
        held = own["position_qty"].iloc[-1] if len(own) else 0.0
        assert held * (1 if row.side == "buy" else -1) < 0
        assert row.qty <= abs(held) + 1e-9
    if action == "HALT_FOR_DAY":
        assert breach["until_ts"] == MIDNIGHT_TS
        assert (resumed >= MIDNIGHT_TS).all()


def test_of_the_crossed_fxcm_file_only_what_is_repaired_is_traded(run: Run, shared_dir: Path) -> None:
    path = shared_dir / "data/fx/lean_fxcm_eurusd_20140502_quote.zip"
    data = ["data=quotes", f"data.files=[{path}]", "strategy.half_spread_bps=0.5"]
    with pytest.raises(DataError, match="crossed book"):
        run(*data)
    result = run(*data, "repair=true")
    assert result.record.data_grade["fidelity"] == "C"
    with zipfile.ZipFile(path) as archive:
        rows = np.loadtxt(archive.open(archive.namelist()[0]), delimiter=",")
    midnight_ns = 1_398_988_800 * NS_PER_S + 5 * 3_600 * NS_PER_S  # its clock is UTC-05:00
    ts = midnight_ns + rows[:, 0].astype("int64") * 1_000_000
    fills = frame(result.fills)["exch_ts"].to_numpy()
    at = np.searchsorted(ts, fills, side="right") - 1
    assert not (rows[at, 1] > rows[at, 2]).any()
    assert (rows[:, 1] > rows[:, 2]).sum() == 12_061
