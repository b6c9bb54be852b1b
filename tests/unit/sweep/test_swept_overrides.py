"""What a command line varies, read into a space."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.cli._sweep_space import Varied, split
from bt_framework.errors import ConfigError
from bt_framework.sweep.space import Choices, Interval, Steps

OPTIONS = ["colo", "constant", "retail"]


def varied(*overrides: str) -> Varied:
    return split(overrides, lambda group: OPTIONS if group == "latency" else [])


def values(override: str) -> list[str]:
    (dimension,) = varied(override).space().dimensions.values()
    assert isinstance(dimension, Choices)
    return list(dimension.values)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("latency=colo,retail", ["colo", "retail"]),
        ("latency=choice(colo,retail)", ["colo", "retail"]),
        ("latency=glob(*)", OPTIONS),
        ("latency=glob(co*,exclude=const*)", ["colo"]),
        ("risk=[a,b],[]", ["[a,b]", "[]"]),
        ("strategy.text='a b','c,d'", ["'a b'", "'c,d'"]),
        ("strategy.n=range(1,4)", ["1", "2", "3"]),
        ("strategy.n=range(3)", ["0", "1", "2"]),
        ("strategy.n=range(5,1,-2)", ["5", "3"]),
        ("strategy.n=float(range(1,3))", ["1.0", "2.0"]),
        ("strategy.z=range(1.8,2.1,0.1)", ["1.8", "1.9", "2.0"]),
        ("strategy.z=range(0,0.2,0.1)", ["0.0", "0.1"]),
        ("strategy.n=sort(3,1,2)", ["1", "2", "3"]),
        ("strategy.n=sort(3,1,2,reverse=true)", ["3", "2", "1"]),
        ("strategy.n=tag(choice(1,2))", ["1", "2"]),
    ],
)
def test_values_are_listed_as_overrides_write_them(override: str, expected: list[str]) -> None:
    assert values(override) == expected


@given(
    start=st.integers(-50, 50),
    length=st.integers(1, 40),
    step=st.sampled_from([1, 2, 0.25, 0.5, 3]),
    falling=st.booleans(),
)
def test_a_range_is_that_of_hydra_where_its_numbers_are_exact(
    start: int, length: int, step: float, falling: bool
) -> None:
    sign = -1 if falling else 1
    text = f"strategy.x=range({start},{start + sign * length},{sign * step})"
    hydra = list(OverridesParser.create().parse_override(text).sweep_string_iterator())
    assert values(text) == hydra
    assert varied(text).counts() == {"strategy.x": len(hydra)}


@given(
    start=st.decimals(-9, 9, places=2),
    step=st.decimals("0.01", 2, places=2),
    count=st.integers(1, 60),
)
def test_a_range_of_decimals_has_the_numbers_that_one_would_write(
    start: Decimal, step: Decimal, count: int
) -> None:
    found = values(f"strategy.x=range({start},{start + step * count},{step})")
    assert [Decimal(text) for text in found] == [start + step * index for index in range(count)]


def test_numbers_at_equal_distances_remain_known_as_such() -> None:
    (dimension,) = varied("strategy.n=range(6,0,-2)").space().dimensions.values()
    assert dimension == Steps(("6", "4", "2"), 6.0, -2.0, True)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("strategy.z=interval(1,3)", Interval(1, 3)),
        ("strategy.z=tag(log,interval(1e-4,1e-1))", Interval(1e-4, 1e-1, log=True)),
        ("strategy.z=int(interval(1,5))", Interval(1, 5, whole=True)),
        ("strategy.z=int(tag(log,interval(1,1000)))", Interval(1, 1000, log=True, whole=True)),
    ],
)
def test_intervals_are_read(override: str, expected: Interval) -> None:
    assert varied(override).space().dimensions == {"strategy.z": expected}


def test_shuffled_values_come_in_the_same_order_each_time() -> None:
    text = "strategy.n=shuffle(range(100))"
    assert values(text) == values(text) != [str(n) for n in range(100)]
    assert sorted(values(text), key=int) == [str(n) for n in range(100)]
    assert varied(text).ends() != ([], [])


def test_what_all_jobs_share_is_parted_from_what_varies() -> None:
    parted = varied("+strategy=ou_pairs,basis", "seed=3", "latency=colo,retail", "hydra/launcher=joblib")
    assert parted.fixed == ["seed=3"]
    assert list(parted.overrides) == ["+strategy", "latency"]
    first, last = parted.ends()
    assert first == ["seed=3", "+strategy=ou_pairs", "latency=colo"]
    assert last == ["seed=3", "+strategy=basis", "latency=retail"]


def test_a_range_is_counted_without_making_it() -> None:
    assert varied("strategy.n=range(1,1000000000000)").counts() == {"strategy.n": 999_999_999_999}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["strategy.n=range(3,1)"],
            "strategy.n must have at least one value, was the empty range range(3,1)",
        ),
        (["strategy.n=range(1,3,0)"], "strategy.n must have a step other than 0, was range(1,3,0)."),
        (["strategy.n=range(1,3,0.0)"], "strategy.n must have a step other than 0"),
        (["strategy.n=range(1,inf)"], "strategy.n must vary between finite numbers, was range(1,inf)."),
        (["strategy.n=range(nan,3)"], "strategy.n must vary between finite numbers, was range(nan,3)."),
        (["strategy.n=range(0,10000000)"], "strategy.n must have at most 1,000,000 values, has 10,000,000."),
        (["strategy.z=interval(3,1)"], "strategy.z must have an interval that rises, was interval(3,1)."),
        (["strategy.z=interval(1,1)"], "strategy.z must have an interval that rises, was interval(1,1)."),
        (["strategy.z=interval(1,inf)"], "strategy.z must vary between finite numbers, was interval(1,inf)."),
        (
            ["strategy.z=tag(log,interval(0,1))"],
            "strategy.z must be above 0 on a log scale, was interval(0,1).",
        ),
        (
            ["strategy.n=tag(fast,choice(1,2))"],
            "strategy.n=tag(fast,choice(1,2)): the tag 'fast' means nothing here. The tags are log.",
        ),
        (
            ["strategy.n=tag(log,range(1,5))"],
            "strategy.n=tag(log,range(1,5)): the tag log is for an interval. Write tag(log,interval(A,B)).",
        ),
        (
            ["latency=glob(x*)"],
            "latency=glob(x*): none of the options of latency matches. They are colo, constant, retail.",
        ),
        (
            ["strategy.n=glob(*)"],
            "strategy.n=glob(*): none of the options of strategy.n matches. They are (none: it is no group).",
        ),
        (["seed=1,2", "seed=3,4"], "seed=3,4: seed varies already (seed=1,2). Give it once."),
        (["seed=1,2", "seed=3"], "seed=1,2: seed is set by another override too. Give it once."),
        (["seed=choice()"], "cannot read the override 'seed=choice()'"),
        (["seed=range(1,"], "cannot read the override 'seed=range(1,'"),
        (
            ["hydra.sweeper.seed=1,2"],
            "hydra.sweeper.seed=1,2: keys of Hydra cannot be swept over.",
        ),
        (["strategy._target_=a,b"], "keys that start with an underscore are refused"),
    ],
)
def test_what_cannot_vary_is_said_with_the_override(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        varied(*overrides).space()
    assert message in str(caught.value)


@given(fraction=st.floats(0, 1, exclude_max=True))
def test_every_part_of_a_dimension_is_a_value_of_it(fraction: float) -> None:
    assert 1 <= float(Interval(1, 3).at(fraction)) < 3
    assert 1e-4 <= float(Interval(1e-4, 1e-1, log=True).at(fraction)) < 1e-1
    assert Interval(1, 5, whole=True).at(fraction) in {"1", "2", "3", "4", "5"}
    assert 1 <= int(Interval(1, 1000, log=True, whole=True).at(fraction)) <= 1000
    assert Choices(("a", "b", "c")).at(fraction) in {"a", "b", "c"}


def test_parts_of_a_log_scale_are_equal_ratios() -> None:
    scale = Interval(1e-4, 1e-1, log=True)
    assert [float(scale.at(part)) for part in (0, 1 / 3, 2 / 3)] == pytest.approx([1e-4, 1e-3, 1e-2])
    assert math.isclose(float(Interval(1, 3).at(0.5)), 2.0)
