"""A composition of one group equals that part of the whole one, and is refused for the same reasons."""

from __future__ import annotations

import pytest

from bt_framework.config.compose import compose, compose_part
from bt_framework.errors import BtError
from bt_framework.registry import Kind

PART = ["runs_dir=/tmp/x", "store.path=/tmp/y.sqlite", "seed=3", "tags=[a,b]"]


def outcome(composed):
    try:
        composition = composed()
        return composition.settings, composition.one(Kind.STORE).config
    except BtError as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        PART,
        ["+strategy=ou_pairs", "latency=colo"],
        ["latency=none"],
        ["runs_dri=x"],
        ["store=sqlit"],
        ["store.pth=x"],
        ["store.busy_timeout_ns=-1"],
        ["~store"],
        ["hydra.run.dir=/tmp"],
        ["store.path=${latency.name}.sqlite"],
        ["note='a\nb'"],
    ],
)
def test_a_part_is_composed_as_the_whole_is(overrides):
    assert outcome(lambda: compose_part(Kind.STORE, overrides)) == outcome(lambda: compose(overrides))


def test_a_part_has_no_other_group():
    composition = compose_part(Kind.STORE, PART)
    assert [kind for kind, chosen in composition.choices.items() if chosen] == [Kind.STORE]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tags=['two words']"], "a tag must be a word of up to 64 characters without quotes, commas"),
        (["tags=[a,a]"], "tags must differ, was 'a' 2 times"),
        (["note='a\nb'"], "a note must be one line of up to 1,000 characters, was 'a\\nb'"),
    ],
)
def test_labels_of_a_run_are_checked_before_it_starts(overrides, message):
    assert message in outcome(lambda: compose_part(Kind.STORE, overrides))[1]
