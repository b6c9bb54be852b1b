"""Johansen baskets: units by hand, legs by weights, training on earlier bars only, and what is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from desk_runs import run_on_desk

from bt_framework.bars.building import raw_bars
from bt_framework.bars.schema import BAR_SCHEMA, BarFlag
from bt_framework.bars.store import BarStore
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import SignalKind as S
from bt_framework.stats.johansen import johansen
from bt_framework.stats.mean_reversion import half_life
from bt_plugins.strategies.johansen_basket import JohansenBasket, JohansenBasketStrategy, Trading
from bt_plugins.strategies.johansen_basket import _kernels as k

DAY = timedelta(days=1)
DAY_NS = 86_400_000_000_000
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
SYMBOLS = ["AAA", "BBB", "CCC"]


def strategy(**keys: Any) -> JohansenBasketStrategy:
    return JohansenBasketStrategy(JohansenBasket(**{"flat_at_end": False, **keys}))


def basket(count: int = 300, seed: int = 1) -> np.ndarray[Any, Any]:
    """Closes of three instruments of which 1, -2, 0.5 reverts, shape (count, 3)."""
    rng = np.random.default_rng(seed)
    b, c = (p + np.cumsum(rng.normal(size=count)) for p in (90.0, 180.0))
    spread = np.zeros(count)
    for i in range(1, count):
        spread[i] = 0.85 * spread[i - 1] + rng.normal()
    return np.column_stack([2.0 * b - 0.5 * c + 50.0 + spread, b, c])


def store_closes(folder: Path, closes: np.ndarray[Any, Any], **columns: Any) -> None:
    """Put daily bars from `FIRST` on into the bar store, source ``test``."""
    opens = np.array([int((FIRST + at * DAY).timestamp()) * 1_000_000 for at in range(len(closes))])
    tables = [raw_bars(s, opens, {"close": closes[:, i]}) for i, s in enumerate(SYMBOLS[: closes.shape[1]])]
    table = pa.concat_tables(tables)
    for name, column in columns.items():
        table = table.set_column(BAR_SCHEMA.names.index(name), BAR_SCHEMA.field(name), pa.array(column))
    BarStore(folder / "bars").replace("test", table, interval_ns=DAY_NS)


def start_ts(days: float) -> int:
    return int((FIRST + days * DAY).timestamp()) * 1_000_000_000


def test_a_linear_position_is_minus_z_in_whole_lots_of_every_leg() -> None:
    spread = np.array([0.0, 2.0, 1.0, 5.0, 1.0])  # z: none, none, 0, 1.12, -0.58
    closes = np.column_stack([100.0 + spread, np.full(5, 20.0), np.full(5, 10.0)])
    done = run_on_desk(strategy(weights=[1.0, -2.0, 0.5], window=3), closes)
    for at in (2, 3, 4):
        window = spread[at - 2 : at + 1]
        units = -(spread[at] - window.mean()) / window.std(ddof=1)
        wanted = [round(100.0 * units * w) for w in (1.0, -2.0, 0.5)]
        assert done.positions[at].tolist() == wanted
    assert done.signals == [(3, S.ENTER, -1), (4, S.ENTER, 1)]


@pytest.mark.parametrize(
    ("z", "units", "answer"),
    [(1.5, 0.0, -1.5), (-9.0, 0.0, 3.0), (9.0, 0.0, -3.0), (-1.1, 1.0, 1.0), (-1.3, 1.0, 1.3)],
)
def test_linear_units_have_a_limit_and_small_changes_are_left(z: float, units: float, answer: float) -> None:
    p = strategy(weights=[1.0, -1.0], window=3, min_change_units=0.2).params([None, None])  # type: ignore[list-item]
    assert getattr(k.linear_units, "py_func", k.linear_units)(z, units, p) == pytest.approx(answer)


def test_weights_of_log_prices_are_values() -> None:
    rng = np.random.default_rng(5)
    closes = np.exp(
        np.column_stack([math.log(200.0) + 0.01 * rng.normal(size=40), np.full(40, math.log(50.0))])
    )
    done = run_on_desk(
        strategy(weights=[1.0, -0.5], window=10, log_prices=True, trading=Trading.bands), closes
    )
    entry = next(at for at, kind, _ in done.signals if kind == S.ENTER)
    held = done.positions[entry]
    assert abs(held[0]) == 100.0
    assert held[1] == -np.sign(held[0]) * round(100.0 * 0.5 * closes[entry, 0] / 50.0)


def test_bands_hold_one_unit_and_close_every_leg() -> None:
    done = run_on_desk(strategy(weights=[1.0, -2.0, 0.5], window=20, trading=Trading.bands), basket())
    kinds = [kind for _, kind, _ in done.signals]
    assert kinds.count(S.ENTER) > 10
    held = {tuple(np.abs(row)) for row in done.positions.tolist()}
    assert held == {(0.0, 0.0, 0.0), (100.0, 200.0, 50.0)}


def test_a_basket_that_does_not_vary_is_not_traded_and_that_is_recorded() -> None:
    x = 50.0 + np.arange(60.0)
    done = run_on_desk(strategy(weights=[1.0, -1.1], window=10), np.column_stack([1.1 * x, x]))
    assert not done.positions.any()
    assert done.signals == [(9, S.REFUSED, 0)]


def test_a_leg_that_rounds_to_nothing_keeps_the_others_out() -> None:
    done = run_on_desk(
        strategy(weights=[1.0, -2.0, 0.5], window=20, trading=Trading.bands), basket(), lots=[1.0, 1.0, 500.0]
    )
    assert not done.positions.any()
    assert {kind for _, kind, _ in done.signals} == {S.REFUSED}


def test_weights_are_johansens_and_the_window_the_half_life(tmp_path: Path) -> None:
    closes = basket()
    store_closes(tmp_path, closes)
    trained = strategy(train_source="test", train_bars=200)
    taken = trained.load(tmp_path, SYMBOLS, start_ts(250))
    used = closes[50:250]
    vector = johansen(used).vectors[:, 0]
    p = trained.params([None] * 3)  # type: ignore[list-item]
    assert p.weights.tolist() == pytest.approx((vector / vector[0]).tolist())
    assert p.weights.tolist() == pytest.approx([1.0, -2.0, 0.5], abs=0.15)
    assert p.window == max(3, round(half_life(used @ vector)))
    assert trained.state([None] * 3).half_life_s == pytest.approx(taken["half_life_bars"] * 86_400)  # type: ignore[list-item]
    assert (taken["bars"], taken["last_bar"][:10]) == (200, "2020-09-06")


def test_a_bar_that_has_not_closed_is_not_trained_on(tmp_path: Path) -> None:
    closes = basket()
    store_closes(tmp_path, closes)
    before = strategy(train_source="test", train_bars=200).load(tmp_path, SYMBOLS, start_ts(250))
    changed = closes.copy()
    changed[250:] *= 3.0
    store_closes(tmp_path, changed)
    assert strategy(train_source="test", train_bars=200).load(tmp_path, SYMBOLS, start_ts(250)) == before
    # A moment before the close of bar 249, it is not known.
    earlier = strategy(train_source="test", train_bars=200).load(tmp_path, SYMBOLS, start_ts(250) - 1_000)
    assert earlier["last_bar"] < before["last_bar"]


@pytest.mark.parametrize(("begins", "share"), [(0, 0.8), (99, 0.8), (100, 1.0), (249, 1.0), (250, 1.0)])
def test_weights_are_of_prices_on_the_scale_of_the_data(tmp_path: Path, begins: int, share: float) -> None:
    # A dividend of a fifth on day 100: data that begin before are 1.25 times what they were traded at after it.
    closes, factor = basket(), np.ones((300, 3))
    factor[:100, 1] = 0.8
    traded = closes / factor
    store_closes(tmp_path, traded, adj_factor=factor.T.ravel())
    trained = strategy(train_source="test", train_bars=200)
    trained.data_starts_ts = [start_ts(0), start_ts(begins), start_ts(0)]
    taken = trained.load(tmp_path, SYMBOLS, start_ts(250))
    vector = johansen(closes[50:250]).vectors[:, 0]
    weights = vector / vector[0] * np.array([1.0, share, 1.0])
    assert list(taken["weights"].values()) == pytest.approx(weights.tolist(), rel=1e-6)


def test_bars_that_preprocessing_made_up_are_not_trained_on(tmp_path: Path) -> None:
    closes = basket()
    flags = np.zeros(closes.shape, BAR_SCHEMA.field("outlier_flag").type.to_pandas_dtype())
    flags[245:250, 1] = BarFlag.FILLED | BarFlag.INTERPOLATED
    flags[30, 2] = BarFlag.FILLED
    taken = []
    for after_px in (0.0, 40.0):  # a gap over the start is interpolated with what comes after it
        made_up = closes.copy()
        made_up[245:250, 1] += after_px
        store_closes(tmp_path, made_up, outlier_flag=flags.T.ravel())
        taken.append(strategy(train_source="test", train_bars=200).load(tmp_path, SYMBOLS, start_ts(250)))
    assert taken[0] == taken[1]
    assert (taken[0]["bars"], taken[0]["last_bar"][:10]) == (200, "2020-09-01")


def test_a_split_among_the_bars_changes_nothing(tmp_path: Path) -> None:
    closes = basket()
    store_closes(tmp_path, closes)
    before = strategy(train_source="test", train_bars=200).load(tmp_path, SYMBOLS, start_ts(250))
    traded, factor = closes.copy(), np.ones(closes.shape)
    traded[:150, 1] *= 4.0
    factor[:150, 1] = 0.25
    factor[:, :] *= 0.5  # an action after the end of the bars
    store_closes(tmp_path, traded, adj_factor=factor.T.ravel())
    after = strategy(train_source="test", train_bars=200).load(tmp_path, SYMBOLS, start_ts(250))
    assert after["weights"] == pytest.approx(before["weights"])


@pytest.mark.parametrize(
    ("keys", "closes", "error", "text"),
    [
        ({}, None, ConfigError, "weights must be given, or train_source must name"),
        (
            {"train_source": "test", "train_bars": 400},
            basket(),
            DataError,
            "must have 400 common bars .* had 250",
        ),
        ({"train_source": "test"}, basket()[:, :2], DataError, "did you mean|CCC"),
        (
            {"train_source": "test", "train_bars": 100},
            np.column_stack([2.0 * basket()[:, 1], basket()[:, 1], basket()[:, 2]]),
            DataError,
            "no weights can be estimated on the last 100 common bars",
        ),
        (
            {"train_source": "test", "train_bars": 100},
            np.full((300, 3), 50.0),
            DataError,
            "no weights can be estimated on the last 100 common bars",
        ),
    ],
)
def test_bars_that_give_no_weights_are_refused(
    tmp_path: Path, keys: dict[str, Any], closes: Any, error: type[Exception], text: str
) -> None:
    if closes is not None:
        store_closes(tmp_path, closes)
    with pytest.raises(error, match=text):
        strategy(**keys).load(tmp_path, SYMBOLS, start_ts(250))


def test_one_instrument_is_no_basket(tmp_path: Path) -> None:
    store_closes(tmp_path, basket())
    with pytest.raises(ConfigError, match="a basket needs two instruments, the data has AAA only"):
        strategy(train_source="test", train_bars=100).load(tmp_path, SYMBOLS[:1], start_ts(250))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"weights": [1.0]}, "weights must be two or more finite numbers other than 0"),
        ({"weights": [1.0, math.nan], "window": 5}, "weights must be two or more finite numbers"),
        ({"weights": [1.0, -1.0]}, "window must be given with weights, was 0"),
        ({"window": 2}, "window must be 0 or >= 3 samples, was 2"),
        ({"min_change_units": 9.0}, "min_change_units must be from 0 to max_units, was 9.0"),
        ({"exit_z": 2.0}, "thresholds must be 0 <= exit_z <= entry_z"),
    ],
)
def test_keys_out_of_range_are_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        JohansenBasket(**keys)
