"""Borrowed values: read like others, without references counted; nothing is freed or kept by them."""

from __future__ import annotations

import sys
import weakref
from typing import NamedTuple

import numpy as np
from numba import float64, njit

from bt_framework.engine._ownership import borrowed, keep_alive
from bt_framework.jit import kernel_class


class Pair(NamedTuple):
    """Two arrays."""

    first: np.ndarray
    second: np.ndarray


@kernel_class([("values", float64[::1])])
class Holder:
    """An array in a kernel class."""

    def __init__(self, values):
        self.values = values


@njit(cache=False)
def sum_borrowed(pair, scale):
    owner = Holder(pair.first)
    holder, (first, second), factor = borrowed((owner, pair, scale))
    total = 0.0
    for i in range(first.size):
        total += factor * (holder.values[i] + second[i])
    second[0] = total
    keep_alive(owner)
    return total


def test_arrays_instances_and_numbers_are_read_and_written_through_a_borrowed_tuple() -> None:
    pair = Pair(np.arange(3.0), np.ones(3))
    assert sum_borrowed(pair, 2.0) == 12.0
    assert pair.second.tolist() == [12.0, 1.0, 1.0]


def test_a_borrowed_array_is_as_often_referred_to_as_before_and_is_freed_with_its_owner() -> None:
    pair = Pair(np.arange(1_000.0), np.ones(1_000))
    sum_borrowed(pair, 0.0)
    before = [sys.getrefcount(array) for array in pair]
    for _ in range(100):
        sum_borrowed(pair, 0.0)
    assert [sys.getrefcount(array) for array in pair] == before
    gone = weakref.ref(pair.first)
    del pair
    assert gone() is None


def test_an_owner_lives_until_it_is_let_go() -> None:
    # A freed instance of a kernel class would be handed out again: its array would be another one.
    @njit(cache=False)
    def sum_late(values):
        owner = Holder(values.copy())
        holder = borrowed(owner)
        total = 0.0
        for i in range(100):
            total += Holder(np.full(values.size, -1.0)).values[0] + holder.values[i % values.size]
        keep_alive(owner)
        return total

    assert sum_late(np.full(64, 3.0)) == 200.0
