"""Where runs are is the same, and is refused for the same reasons, whether Hydra is asked or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.config import place
from bt_framework.config.compose import compose_part
from bt_framework.config.place import place_of
from bt_framework.errors import BtError, ConfigError
from bt_framework.registry import Kind

TEXT_KEYS = ("runs_dir", "store_dir", "note", "store.path")
OTHER_KEYS = ("seed", "start", "tags", "store.name", "store.busy_timeout_ns", "store.url", "runs_dri", "data")
ODD = (
    *("null", "True", "NaN", "Inf", "1e3", ".5e3", "0x1", "", "a,b", "[a,b]", "{a:1}", "'a b'", "a b", "a=b"),
    *(
        "~/x",
        "./x",
        "../x",
        "...",
        "/",
        "//a/",
        "a:b",
        "a+b",
        "\u00e4",
        "${runs_dir}",
        "${oc.env:HOME}",
        "\\a",
    ),
)
TEXTS = st.from_regex(r"[a-zA-Z./][\w./-]{0,8}", fullmatch=True) | st.sampled_from(ODD)
OVERRIDES = st.tuples(st.sampled_from((*TEXT_KEYS * 3, *OTHER_KEYS)), TEXTS).map("=".join)
STORES = st.sampled_from(["sqlite", "postgres", "sqlit", "SQLite", "../config", "null", "[sqlite]"])


def outcome(found: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    try:
        return found()
    except BtError as error:
        return type(error), str(error)


def place_as_read(overrides: list[str]) -> tuple[Any, ...]:
    found = place_of(overrides)
    return found.settings, found.component.name, found.config


def place_as_composed(overrides: list[str]) -> tuple[Any, ...]:
    composition = compose_part(Kind.STORE, overrides)
    component, config = composition.one(Kind.STORE)
    return composition.settings, component.name, config


def same_either_way(overrides: list[str]) -> bool:
    return outcome(lambda: place_as_read(overrides)) == outcome(lambda: place_as_composed(overrides))


@settings(max_examples=40, deadline=None)
@given(st.lists(OVERRIDES, max_size=3), st.none() | STORES)
def test_a_place_is_what_hydra_composes(overrides: list[str], store: str | None) -> None:
    assert same_either_way([*overrides, f"store={store}"] if store else overrides)


@pytest.mark.parametrize("value", ODD)
def test_a_value_that_is_no_plain_text_means_what_it_means_to_hydra(value: str) -> None:
    assert same_either_way([f"runs_dir={value}"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["~store"],
        ["store"],
        ["store=sqlite", "store=postgres"],
        ["store.path=a", "store.path=b"],
        ["+strategy=ou_pairs"],
        ["++store.path=a"],
        ["hydra.run.dir=/tmp"],
        ["experiment=x"],
    ],
)
def test_other_overrides_mean_what_they_mean_to_hydra(overrides: list[str]) -> None:
    assert same_either_way(overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["runs_dir=/data/runs", "store_dir=there", "note=x"],
        ["store=sqlite", "runs_dir=a", "store.path=../b.sqlite"],
        ["store=postgres"],
    ],
)
def test_plain_overrides_are_read_without_hydra(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = place_as_composed(overrides)
    monkeypatch.setattr("bt_framework.config.compose.compose_part", None)
    assert place_as_read(overrides) == composed


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("config", {"seed": 2, "defaults": [{"store": "sqlite"}]}),
        ("config", {"defaults": []}),
        ("store/sqlite", {"defaults": ["/schema/store/sqlite@_here_", "_self_"], "tables": ["fills"]}),
        ("store/sqlite", {}),
    ],
)
def test_options_that_say_more_than_the_dataclasses_are_left_to_hydra(
    path: str, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = place._option
    monkeypatch.setattr(place, "_option", lambda wanted: content if wanted == path else read(wanted))
    monkeypatch.setattr("bt_framework.config.compose.compose_part", refused)
    with pytest.raises(ConfigError, match="left to Hydra"):
        place_of([])


def refused(*_: object) -> None:
    raise ConfigError("left to Hydra")


def test_a_place_is_closed() -> None:
    found = place_of([])
    for config in (found.settings, found.config):
        with pytest.raises(AttributeError):
            config.name = "x"
