"""Overrides of commands that are no runs."""

from __future__ import annotations

import dataclasses

import pytest

from bt_framework.config.plain import from_overrides
from bt_framework.errors import ConfigError
from bt_framework.research.settings import Family, Method, ScreenConfig, Spreads


def test_keys_are_typed_as_the_dataclass_says():
    given = ["source=etf", "window=250", "symbols=[A,B]", "log=false", "methods=[johansen]", "spreads=ols"]
    config = from_overrides(
        ScreenConfig, [*given, "family=window", "fdr=0.1", "start=2020-01-01", "store_dir=/x"]
    )
    assert (config.source, config.window, config.symbols, config.log) == ("etf", 250, ["A", "B"], False)
    assert config.methods == [Method.johansen]
    assert (config.spreads, config.family, config.fdr) == (Spreads.ols, Family.window, 0.1)
    assert config.start_ts == 1_577_836_800_000_000_000
    assert config.store_dir == "/x"


def test_what_is_composed_is_closed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        from_overrides(ScreenConfig, []).window = 3


@pytest.mark.parametrize("pair", ["A/B", "'BTC/USDT/ETH/USDT'", "BRK.B/MSFT"])
def test_pairs_are_written_with_a_slash(pair):
    config = from_overrides(ScreenConfig, [f"pairs=[{pair}]"])
    assert config.pairs == [pair.strip("'")]


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("sorce=etf", "sorce=etf: the key must be one of adjust, end, family,"),
        ("sorce=etf", "was 'sorce'. Did you mean 'source'?"),
        ("window=x", "window must be a whole number, was 'x' (override window=x)."),
        ("window=-1", "window must be >= 0, was -1 (override window=-1)."),
        ("window=50", "window must be 0 or >= min_observations, 100 bars, was 50 (override window=50)."),
        ("step=-1", "step must be >= 0, was -1 (override step=-1)."),
        ("lags=-1", "lags must be >= 0, was -1 (override lags=-1)."),
        ("lags=30", "min_observations must be >= 130 bars with lags=30, was 100"),
        ("min_observations=10", "min_observations must be >= 40 bars with lags=1, was 10 (override"),
        (
            "hedge_window=10",
            "hedge_window must be >= 40 bars with lags=1, was 10 (override hedge_window=10).",
        ),
        ("fdr=0", "fdr must be between 0 and 1, was 0.0 (override fdr=0)."),
        ("fdr=nan", "fdr must be between 0 and 1, was nan (override fdr=nan)."),
        ("methods=[]", "methods must name each test once, at least one, was [] (override methods=[])."),
        (
            "methods=[johansen,johansen]",
            "methods must name each test once, at least one, was [johansen, johansen]",
        ),
        ("methods=[eg]", "expected one of [engle_granger, johansen]"),
        ("adjust=forward", "adjust must be one of point_in_time, backward, none, was 'forward' (override"),
        ("lags=1,2", "lags gives several values (override lags=1,2). A list is written lags=[A,B], a text"),
        ("~source", "~source: leave the key out for its default."),
        ("start=yesterday", "start must be an ISO-8601 time, was 'yesterday' (override start=yesterday)."),
        ("symbols=A", "symbols must be a list such as [a,b], was 'A' (override symbols=A)."),
        ("source.x=1", "source"),
        ("_target_=os.system", "keys that start with an underscore are refused"),
        ("source=[", "cannot read the override 'source=['"),
        ("source", "cannot read the override 'source'"),
    ],
)
def test_a_wrong_key_or_value_is_said(override, text):
    with pytest.raises(ConfigError) as caught:
        from_overrides(ScreenConfig, [override])
    assert text in str(caught.value)


def test_the_end_must_be_after_the_start():
    with pytest.raises(ConfigError, match=r"end must be later than start \(2020-01-02\), was 2020-01-01"):
        from_overrides(ScreenConfig, ["start=2020-01-02", "end=2020-01-01"])
