"""Every venue option on the real pair: what it says is what the tables of the run show."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bt_framework
from bt_framework.engine.models import ExchangeKind, QueueKind
from bt_framework.errors import ConfigError, DataError
from bt_framework.results.result import RunResult

QUEUES = [str(kind) for kind in QueueKind if kind != QueueKind.L3_FIFO]
NOTIONAL = 3_000_000
"""Value of an order: more than the first levels have."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("venue")


@pytest.fixture
def run(folder: Path, shared_dir: Path) -> Callable[..., RunResult]:
    """Return a function that trades the pair, mostly as a taker."""
    names = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")
    files = ",".join(str(shared_dir / "data" / "binance" / name) for name in names)
    busy = {"entry_z": 1.0, "exit_z": 0.2, "stop_z": 3.0, "window": 300, "warmup": 300}

    def go(*overrides: str) -> RunResult:
        strategy = ["+strategy=ou_pairs", *(f"strategy.{k}={v}" for k, v in busy.items())]
        if overrides[0].startswith("+strategy="):
            strategy = []
        return bt_framework.run(
            [
                *strategy,
                "data=binance",
                f"data.files=[{files}]",
                "sizing=fixed_notional",
                f"sizing.notional={NOTIONAL}",
                "latency=colo",
                "risk=[]",
                "fees=zero",
                "console=json",
                f"store_dir={folder / 'store'}",
                f"runs_dir={folder / 'runs'}",
                *overrides,
            ]
        )

    return go


def rows(result: RunResult) -> list[dict[str, Any]]:
    """Its fills."""
    found: list[dict[str, Any]] = result.fills.to_pylist()
    assert result.status == "completed"
    assert found
    return found


@pytest.mark.parametrize("exchange", [str(kind) for kind in ExchangeKind])
def test_queue_models_fill_makers_at_different_times(run: Callable[..., RunResult], exchange: str) -> None:
    maker = ["+strategy=market_maker", "sizing.notional=20000", f"exchange={exchange}"]
    fills = {queue: rows(run(*maker, f"queue={queue}")) for queue in QUEUES}
    for found in fills.values():
        assert all(fill["maker"] for fill in found)
    # Nobody waits longer than behind a queue in which nobody cancels.
    assert all(
        sum(f["qty"] for f in found) >= 0.9 * sum(f["qty"] for f in fills["risk_averse"])
        for found in fills.values()
    )
    times = {queue: tuple(fill["exch_ts"] for fill in found) for queue, found in fills.items()}
    assert len(set(times.values())) >= 4


def test_l3_fifo_is_refused_where_there_are_no_single_orders(run: Callable[..., RunResult]) -> None:
    with pytest.raises(DataError, match="queue=l3_fifo needs events of single orders"):
        run("queue=l3_fifo")


def test_takers_pay_level_by_level_on_the_exchange_that_fills_in_parts(run: Callable[..., RunResult]) -> None:
    whole, parts = rows(run("exchange=no_partial_fill")), rows(run("exchange=partial_fill"))
    assert max(len(group) for group in takers(whole).values()) == 1
    swept = [group for group in takers(parts).values() if len(group) > 1]
    assert max(map(len, swept)) > 20
    for group in swept:
        side = 1 if group[0]["side"] == "buy" else -1
        prices = [side * fill["px"] for fill in group]
        assert prices == sorted(prices)
        assert len(set(prices)) == len(prices)
        assert len({fill["exch_ts"] for fill in group}) == 1


def takers(fills: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Taker fills of each order."""
    groups = defaultdict(list)
    for fill in fills:
        if not fill["maker"]:
            groups[fill["order_id"]].append(fill)
    return groups


def fee_of(fill: dict[str, Any], maker_bps: float, taker_bps: float) -> float:
    """Fee by value."""
    return float(fill["px"] * fill["qty"] * (maker_bps if fill["maker"] else taker_bps) * 1e-4)


def test_fees_by_value_differ_by_symbol(run: Callable[..., RunResult]) -> None:
    own = "fees.by_symbol={ETHUSDT: {maker_bps: -1, taker_bps: 3.5}}"
    for fill in rows(run("fees=by_value", own)):
        bps = (-1.0, 3.5) if fill["symbol"] == "ETHUSDT" else (2.0, 5.0)
        assert fill["fee"] == pytest.approx(fee_of(fill, *bps), rel=1e-12)


def test_fees_by_quantity_and_per_trade(run: Callable[..., RunResult]) -> None:
    for fill in rows(run("fees=by_qty", "fees.maker_per_qty=-0.5", "fees.taker_per_qty=0.75")):
        assert fill["fee"] == pytest.approx(fill["qty"] * (-0.5 if fill["maker"] else 0.75), rel=1e-12)
    assert {fill["fee"] for fill in rows(run("fees=flat_per_trade", "fees.fee_per_fill=1.25"))} == {1.25}


@pytest.mark.parametrize(
    ("overrides", "tiers"),
    [
        (
            ["fees=tiered", "fees.tiers=[{min_volume: 20e6, maker_bps: 1, taker_bps: 2}]"],
            [(0.0, 2.0, 5.0), (20e6, 1.0, 2.0)],
        ),
        (
            ["fees=binance_usdm_tiers", "fees.earlier_volume=10e6"],
            [(0.0, 2.0, 5.0), (5e6, 1.6, 4.0), (40e6, 1.4, 3.5), (90e6, 1.2, 3.2), (590e6, 1.0, 3.0)],
        ),
    ],
    ids=["tiered", "binance_usdm_tiers"],
)
def test_fees_fall_with_the_volume_of_the_account(
    run: Callable[..., RunResult], overrides: list[str], tiers: list[tuple[float, float, float]]
) -> None:
    volume, used = 0.0, set()
    for fill in rows(run(*overrides)):
        place = max(i for i, tier in enumerate(tiers) if volume >= tier[0])
        used.add(place)
        assert fill["fee"] == pytest.approx(fee_of(fill, *tiers[place][1:]), rel=1e-9)
        volume += fill["px"] * fill["qty"]
    assert len(used) >= 2


def test_fees_of_a_symbol_that_is_not_traded_are_refused(run: Callable[..., RunResult]) -> None:
    with pytest.raises(
        ConfigError, match=r"fees.by_symbol's symbols must be one of BTCUSDT, ETHUSDT, was 'ETHUSD'"
    ):
        run("fees=by_value", "fees.by_symbol={ETHUSD: {maker_bps: 1}}")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["slippage=fixed_bps", "slippage.bps=2", "slippage.by_symbol={ETHUSDT: 3}"],
            lambda symbol, qty: 3.0 if symbol == "ETHUSDT" else 2.0,
        ),
        (
            [
                "slippage=sqrt_impact",
                "slippage.coefficient=0.8",
                "slippage.daily_volatility_frac={BTCUSDT: 0.03, ETHUSDT: 0.04}",
                "slippage.daily_volume_qty={BTCUSDT: 300000, ETHUSDT: 5000000}",
            ],
            lambda symbol, qty: (
                1e4
                * 0.8
                * (0.04 * math.sqrt(qty / 5e6) if symbol == "ETHUSDT" else 0.03 * math.sqrt(qty / 3e5))
            ),
        ),
    ],
    ids=["fixed_bps", "sqrt_impact"],
)
def test_slippage_makes_the_price_of_takers_worse(
    run: Callable[..., RunResult], overrides: list[str], expected: Callable[[str, float], float]
) -> None:
    plain, slipped = rows(run("slippage=none")), rows(run(*overrides))
    assert len(plain) == len(slipped)
    for before, after in zip(plain, slipped, strict=True):
        bps = 0.0 if after["maker"] else expected(after["symbol"], after["qty"])
        assert after["slippage_bps"] == pytest.approx(bps, rel=1e-12)
        side = 1 if after["side"] == "buy" else -1
        assert after["px"] == pytest.approx(before["px"] * (1 + side * bps * 1e-4), rel=1e-12)
    assert {fill["slippage_bps"] for fill in plain} == {0.0}


def test_slippage_by_impact_asks_for_the_markets_numbers(run: Callable[..., RunResult]) -> None:
    with pytest.raises(ConfigError, match=r"slippage.daily_volatility_frac.BTCUSDT must be given"):
        run("slippage=sqrt_impact")


def test_the_form_of_the_book_changes_nothing_and_its_reason_is_kept(run: Callable[..., RunResult]) -> None:
    auto, hashed = run("depth=auto"), run("depth=hash_map")
    assert rows(auto) == rows(hashed)
    assert [line.split(": ", 1)[1] for line in hashed.record.books] == ["hash map: chosen"] * 2
    assert all("price vector of" in line for line in auto.record.books)


def test_a_pairs_strategy_needs_one_level_only(run: Callable[..., RunResult]) -> None:
    assert rows(run("depth.levels=1")) == rows(run("depth=auto"))


@pytest.mark.parametrize(
    ("reader", "file"),
    [
        ("databento", "cme/esh4-glbx-mdp3-20231225.mbo.dbn.zst"),
        ("lobster", "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_5.zip"),
    ],
)
def test_l3_fifo_fills_makers_in_the_queue_of_single_orders(
    run: Callable[..., RunResult], shared_dir: Path, reader: str, file: str
) -> None:
    if reader == "databento":
        pytest.importorskip("databento_dbn")
    data = [f"data={reader}", f"data.files=[{shared_dir / 'data' / file}]", "data.book=l3"]
    maker = ["+strategy=market_maker", "strategy.half_spread_bps=0.2", "sizing.notional=500000"]
    fills = rows(run(*maker, *data, "queue=l3_fifo"))
    assert len(fills) > 100
    assert all(fill["maker"] for fill in fills)
    with pytest.raises(DataError, match=r"queue=log_prob does not read"):
        run(*maker, *data, "queue=log_prob")
    with pytest.raises(DataError, match=r"there is no exchange=partial_fill"):
        run(*maker, *data, "queue=l3_fifo", "exchange=partial_fill")
