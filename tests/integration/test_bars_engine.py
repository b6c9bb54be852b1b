"""Bars in the engine: which price an order gets, what it costs, and what a strategy can know when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bar_stores import DAY_NS, store_bars
from bars_probe import FIRST_CLOSE_TS, Scripted, columns, run_bars

from bt_framework.engine.strategy import PlainStrategy
from bt_framework.errors import ConfigError
from bt_framework.results.result import RunResult

HOUR_NS = 3_600_000_000_000
CLOSES = {"AAA": [100.0, 102.0, 101.0, 105.0, 103.0], "BBB": [50.0, 49.0, 51.0, 52.0, 50.0]}
ORDERS = [(0, 0, 1, 100.0), (0, 1, -1, 200.0), (1, 0, -1, 40.0), (2, 1, 1, 200.0), (3, 0, -1, 60.0)]
"""At the closes of bars 0 to 3; the table below is worked by hand from them, at 10 bps of slippage."""

FILLS = [
    # bar, symbol, price, notional
    (0, "AAA", 100.100, 10_010.00),  # 100 x 1.001
    (0, "BBB", 49.950, 9_990.00),  # 50 x 0.999
    (1, "AAA", 101.898, 4_075.92),  # 102 x 0.999
    (2, "BBB", 51.051, 10_210.20),  # 51 x 1.001
    (3, "AAA", 104.895, 6_293.70),  # 105 x 0.999
]
# At the opening, the five closes, and a day after the last. A sample at a close comes before what is sent there.
POSITION = {"AAA": [0, 0, 100, 60, 60, 0, 0], "BBB": [0, 0, -200, -200, 0, 0, 0]}
CASH = {
    "AAA": [0.0, 0.0, -10_010.00, -5_934.08, -5_934.08, 359.62, 359.62],
    "BBB": [0.0, 0.0, 9_990.00, 9_990.00, -220.20, -220.20, -220.20],
}
GROSS = {
    "AAA": [0.0, 0.0, 190.00, 125.92, 365.92, 359.62, 359.62],
    "BBB": [0.0, 0.0, 190.00, -210.00, -220.20, -220.20, -220.20],
}
COMMISSIONS = {
    "per share": (["fees=by_qty", "fees.taker_per_qty=0.005"], [0.50, 1.00, 0.20, 1.00, 0.30]),
    "per trade": (["fees=flat_per_trade", "fees.fee_per_fill=1.5"], [1.50] * 5),
    "bps": (["fees=by_value", "fees.taker_bps=2"], [2.002, 1.998, 0.815184, 2.04204, 1.25874]),
}


class Bidder(PlainStrategy):
    """Bids once."""

    def on_book(self, market: Any, account: Any, out: Any) -> None:
        if account.order_count() == 0 and account.position_qty(0) == 0:
            out.limit(0, 1, 98.5, 10.0, 0)


def fees_at(fees: Sequence[float], symbol: str) -> np.ndarray:
    """Fees paid until each sample of the table."""
    paid = np.zeros(7)
    for (bar, of, *_), fee in zip(FILLS, fees, strict=True):
        paid[bar + 2 :] += fee if of == symbol else 0.0
    return paid


def check_table(result: RunResult, fees: Sequence[float]) -> None:
    """Compare fills and equity with the table, to the cent and better."""
    fills = result.fills.to_pylist()
    for (_, symbol, px, notional), fill, fee in zip(FILLS, fills, fees, strict=True):
        assert fill["symbol"] == symbol
        assert fill["px"] == pytest.approx(px, abs=1e-6)
        assert fill["px"] * fill["qty"] == pytest.approx(notional, abs=0.005)
        assert fill["fee"] == pytest.approx(fee, abs=1e-6)
    for symbol in CLOSES:
        seen = columns(result, symbol, "local_ts", "position_qty", "cash", "fees", "equity")
        assert ((seen["local_ts"] - FIRST_CLOSE_TS) / DAY_NS).tolist() == [-1, 0, 1, 2, 3, 4, 5]
        assert seen["position_qty"].tolist() == POSITION[symbol]
        np.testing.assert_allclose(seen["cash"], CASH[symbol], atol=0.005)
        paid = fees_at(fees, symbol)
        np.testing.assert_allclose(seen["fees"], paid, atol=0.005)
        np.testing.assert_allclose(seen["equity"], np.array(GROSS[symbol]) - paid, atol=0.005)
    assert result.metrics["pnl"] == pytest.approx(359.62 - 220.20 - sum(fees), abs=0.005)


@pytest.mark.parametrize("commission", COMMISSIONS)
@pytest.mark.parametrize("wake", ["book", "timer"])
@pytest.mark.parametrize(
    "latency", [[], ["latency=constant", "latency.entry_ns=3h", "latency.response_ns=2h"]]
)
def test_a_market_order_at_a_close_pays_that_close_and_the_slippage(
    tmp_path: Path, commission: str, wake: str, latency: list[str]
) -> None:
    store_bars(tmp_path, CLOSES)
    overrides, fees = COMMISSIONS[commission]
    strategy = Scripted(ORDERS, book=wake == "book", timer_ns=0 if wake == "book" else DAY_NS)
    result = run_bars(tmp_path, strategy, "data.slippage_bps=10", *overrides, *latency)
    check_table(result, fees)
    lag_ns = 3 * HOUR_NS if latency else 0
    sent_at = [FIRST_CLOSE_TS + bar * DAY_NS for bar, *_ in FILLS]
    assert [row["exch_ts"] - at for row, at in zip(result.fills.to_pylist(), sent_at, strict=True)] == [
        lag_ns
    ] * 5


def test_plain_python_gives_the_same_table(tmp_path: Path) -> None:
    store_bars(tmp_path, CLOSES)
    result = run_bars(tmp_path, Scripted(ORDERS), "data.slippage_bps=10", "plain=true")
    check_table(result, [0.0] * 5)


def test_an_order_that_takes_longer_than_a_bar_pays_the_close_that_it_meets(tmp_path: Path) -> None:
    store_bars(tmp_path, CLOSES)
    late = ["latency=constant", "latency.entry_ns=25h", "latency.response_ns=0"]
    result = run_bars(tmp_path, Scripted(ORDERS[:1]), "data.slippage_bps=10", *late)
    (fill,) = result.fills.to_pylist()
    assert fill["px"] == pytest.approx(102.0 * 1.001, abs=1e-6)


def test_a_bar_that_is_published_late_is_known_late_and_traded_at_its_close(tmp_path: Path) -> None:
    store_bars(tmp_path, CLOSES)
    strategy = Scripted([], book=True)
    run_bars(tmp_path, strategy, "data.delay_ns=6h")
    assert strategy.woken() == [(bar + 0.25, 2) for bar in range(-1, 5)]
    assert strategy.notes.mid_px[1:6, 0].tolist() == pytest.approx(CLOSES["AAA"])


@pytest.mark.parametrize("book", [True, False])
@pytest.mark.parametrize("plain", ["plain=true", "plain=false"])
def test_a_strategy_sees_each_close_at_its_time_and_none_before(
    tmp_path: Path, book: bool, plain: str
) -> None:
    store_bars(tmp_path, CLOSES)
    strategy = Scripted([], book=book, timer_ns=6 * HOUR_NS)
    run_bars(tmp_path, strategy, plain)
    notes = strategy.notes
    for at in range(notes.count):
        closed = (int(notes.ts[at]) - FIRST_CLOSE_TS) // DAY_NS
        for asset, closes in enumerate(CLOSES.values()):
            known = min(closed, 4)
            wanted = closes[known] if known >= 0 else np.nan
            assert notes.mid_px[at, asset] == pytest.approx(wanted, abs=1e-6, nan_ok=True)
            assert notes.update_ts[at, asset] == FIRST_CLOSE_TS + known * DAY_NS
    # Each close is an update, and so is the opening of the first bar, with which the run begins.
    assert notes.count == 23 + 6 * book
    assert notes.ts[0] == FIRST_CLOSE_TS - (24 if book else 18) * HOUR_NS


def test_what_a_strategy_sees_does_not_change_with_later_bars(tmp_path: Path) -> None:
    seen = []
    for last in (3, 5):
        store_bars(tmp_path / str(last), {symbol: closes[:last] for symbol, closes in CLOSES.items()})
        strategy = Scripted([], book=True)
        run_bars(tmp_path / str(last), strategy)
        assert strategy.notes.count == last + 1
        seen.append(strategy.notes.mid_px[1:4].tolist())
    assert seen[0] == seen[1]


def test_one_wake_up_comes_of_closes_at_one_time_and_all_of_them_are_in(tmp_path: Path) -> None:
    store = store_bars(tmp_path, {"AAA": CLOSES["AAA"]})
    # BBB has no second and no fourth bar.
    store_of_b = store_bars(tmp_path / "b", {"BBB": [50.0, 51.0, 50.0]}, at=[0, 2, 4])
    store.append("test", store_of_b.read("test"), interval_ns=DAY_NS)
    strategy = Scripted([], book=True)
    run_bars(tmp_path, strategy)
    notes = strategy.notes
    assert strategy.woken() == [(bar, 2) for bar in range(-1, 5)]
    is_new = notes.update_ts[1:6] == notes.ts[1:6, None]
    assert is_new.tolist() == [[True, bar % 2 == 0] for bar in range(5)]
    assert notes.mid_px[1:6, 1].tolist() == pytest.approx([50.0, 50.0, 51.0, 51.0, 50.0])


@pytest.mark.parametrize(("entry", "filled"), [("0", True), ("23h", True), ("25h", False)])
def test_the_last_close_can_be_traded_by_orders_that_take_less_than_a_bar(
    tmp_path: Path, entry: str, filled: bool
) -> None:
    store_bars(tmp_path, CLOSES)
    latency = ["latency=constant", f"latency.entry_ns={entry}", "latency.response_ns=1h"]
    result = run_bars(tmp_path, Scripted([(4, 0, 1, 10.0)]), "data.slippage_bps=0", *latency)
    fills = result.fills.to_pylist()
    assert [round(fill["px"], 4) for fill in fills] == ([103.0] if filled else [])
    assert columns(result, "AAA", "position_qty")["position_qty"][-1] == (10.0 if filled else 0.0)


@pytest.mark.parametrize(
    ("interval_ns", "asked", "sampled"),
    [(DAY_NS, "1s", DAY_NS), (60_000_000_000, "1s", 60_000_000_000), (60_000_000_000, "1h", HOUR_NS)],
)
def test_equity_is_sampled_at_most_once_a_bar(
    tmp_path: Path, interval_ns: int, asked: str, sampled: int
) -> None:
    closes = [100.0 + at % 7 for at in range(200)]
    store_bars(tmp_path, {"AAA": closes}, interval_ns=interval_ns)
    result = run_bars(tmp_path, Scripted([], book=True), f"equity_interval_ns={asked}")
    assert result.equity_interval_ns == sampled
    times = columns(result, "AAA", "local_ts")["local_ts"]
    assert set(np.diff(times)[:-1]) == {sampled}
    assert times[0] == result.start_ts
    assert times[-1] == result.end_ts


def test_a_limit_order_is_filled_at_its_price_by_a_close_that_passes_it(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 101.0, 98.0, 99.0]}, volume=[1_000] * 4)
    result = run_bars(tmp_path, Bidder())
    (fill,) = result.fills.to_pylist()
    assert (round(fill["px"], 6), fill["maker"]) == (98.5, True)
    assert fill["exch_ts"] == FIRST_CLOSE_TS + 2 * DAY_NS


def test_equal_bars_are_equal_data_whatever_files_they_are_in(tmp_path: Path) -> None:
    store_bars(tmp_path / "one", CLOSES)
    store = store_bars(tmp_path / "other", {symbol: closes[:2] for symbol, closes in CLOSES.items()})
    rest = store_bars(tmp_path / "rest", {s: closes[2:] for s, closes in CLOSES.items()}, at=[2, 3, 4])
    store.append("test", rest.read("test"), interval_ns=DAY_NS)
    one, other = (run_bars(tmp_path / name, Scripted(ORDERS)) for name in ("one", "other"))
    assert one.data_hash == other.data_hash
    assert one.result_hash == other.result_hash
    store_bars(tmp_path / "other", {"AAA": CLOSES["AAA"], "BBB": [50.0, 49.0, 51.0, 52.0, 50.01]})
    assert run_bars(tmp_path / "other", Scripted(ORDERS)).data_hash != one.data_hash


def test_a_timer_made_for_books_is_refused_on_bars(tmp_path: Path) -> None:
    store_bars(tmp_path, CLOSES)
    with pytest.raises(
        ConfigError, match="the strategy wakes every 100ms, but a bar comes every 24h"
    ) as error:
        run_bars(tmp_path, Scripted([], timer_ns=100_000_000))
    assert "Let it sample at each bar (strategy.sample_ns=0, where it has this key)" in str(error.value)
