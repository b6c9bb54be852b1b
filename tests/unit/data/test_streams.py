"""The thread that reads ahead hands on what it takes, what is raised, and the order to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bt_framework.data.streams import prefetched


def threads_of_prefetch() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bt-prefetch"]


@pytest.mark.parametrize("depth", [1, 2, 100])
def test_items_come_in_their_order(depth: int) -> None:
    assert list(prefetched(iter(range(50)), depth)) == list(range(50))
    assert list(prefetched(iter(()), depth)) == []
    assert threads_of_prefetch() == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    items = prefetched(broken())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(items)
    assert threads_of_prefetch() == []


@pytest.mark.parametrize("taken", [1, 3])
def test_a_consumer_that_stops_early_ends_the_thread_and_closes_the_source(taken: int) -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = prefetched(endless())
    for _ in range(taken):
        next(items)
    assert len(threads_of_prefetch()) == 1
    items.close()
    assert threads_of_prefetch() == []
    assert closed.wait(10)
