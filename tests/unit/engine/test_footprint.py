"""What a run is said to allocate is what it allocates, at most."""

from __future__ import annotations

import numpy as np

from bt_framework.engine._state import TIER, Sizes, allocate, contracts_of
from bt_framework.engine.book import BookChoice
from bt_framework.engine.footprint import buffer_bytes
from bt_framework.results.run import LOGS, Instrument

TWO = (Instrument("A", 0.5, 1.0), Instrument("B", 0.01, 1.0))
VECTORS = (BookChoice(100.0, 200.0, "", (100.0, 200.0)), BookChoice(10.0, 20.0, "", (10.0, 20.0)))


def test_logs_are_counted_as_they_are_allocated() -> None:
    arrays = allocate(contracts_of([{}]), np.zeros((1, 1), TIER), Sizes())
    logs = sum(getattr(arrays, name).nbytes for name in LOGS)
    hashed = [book.as_hash_map() for book in VECTORS]
    assert buffer_bytes(TWO, hashed, follows=False) == logs


def test_each_tick_of_a_vector_counts_and_of_a_book_that_is_followed() -> None:
    ticks = 201 + 1_001
    without = buffer_bytes(TWO, [book.as_hash_map() for book in VECTORS], follows=False)
    assert buffer_bytes(TWO, VECTORS, follows=False) - without == 32 * ticks
    assert buffer_bytes(TWO, VECTORS, follows=True) - without == 48 * ticks
