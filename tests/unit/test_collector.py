"""The garbage collector rests while numba compiles, and only then."""

from __future__ import annotations

import gc

import pytest
from numba import njit
from numba.core.errors import TypingError
from numba.extending import overload

import bt_framework.jit  # noqa: F401  # what switches it off

SEEN: list[bool] = []


def asked(value):
    """Known to compiled code only."""


@overload(asked)
def _compile_asked(value):
    SEEN.append(gc.isenabled())
    return lambda value: value + 1


@pytest.mark.parametrize(("enabled", "value"), [(True, 1), (False, 1.0)])
def test_the_collector_rests_while_something_compiles(enabled, value):
    SEEN.clear()
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        assert njit(lambda x: asked(x))(value) == 2
        assert SEEN
        assert not any(SEEN)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_the_collector_goes_on_after_what_cannot_be_compiled():
    with pytest.raises(TypingError):
        njit(lambda x: x.nothing)(1)
    assert gc.isenabled()
