"""Events that are kept in memory for one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bt_framework.data.repair import RepairedFeed
from bt_framework.data.shift import ShiftedFeed
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.errors import DataError
from bt_framework.testing.feeds import ArrayFeed, clean_events


def held(tmp_path: Path, events: np.ndarray, **options: object) -> StoredFeed:
    return EventStore(tmp_path / "held").load(ArrayFeed(events, keep=False, **options))


@pytest.mark.parametrize("steps", [1, 400, 60_000])
def test_held_events_are_those_of_the_store_and_there_is_no_file(tmp_path, steps):
    events = clean_events(steps)
    kept = EventStore(tmp_path / "kept").load(ArrayFeed(events))
    in_memory = held(tmp_path, events, chunk_rows=70_001)
    assert in_memory.open().tobytes() == kept.open().tobytes()
    assert not in_memory.open().flags.writeable
    assert not (tmp_path / "held").exists()
    said = (
        "content_hash",
        "events",
        "first_local_ts",
        "last_local_ts",
        "spec",
        "findings",
        "book_level",
        "timing",
    )
    assert [getattr(in_memory, name) for name in said] == [getattr(kept, name) for name in said]


def test_feeds_made_of_held_ones_are_held_too(tmp_path):
    stored = held(tmp_path, clean_events(100))
    store = EventStore(tmp_path / "held")
    later = store.load(ShiftedFeed(stored, 5))
    assert (later.open()["local_ts"] - stored.open()["local_ts"] == 5).all()
    repaired = store.load(RepairedFeed(ArrayFeed(clean_events(100), keep=False)))
    assert repaired.open().tobytes() == stored.open().tobytes()
    assert not (tmp_path / "held").exists()


@pytest.mark.parametrize("keep", [True, False])
def test_events_that_are_not_those_announced_are_refused(tmp_path, keep):
    events = clean_events(100)
    store = EventStore(tmp_path / "store")
    right = store.load(ArrayFeed(events)).content_hash
    assert store.load(ArrayFeed(events, "A", content_hash=right, keep=keep)).content_hash == right
    changed = events.copy()
    changed["qty"][7] += 0.001
    with pytest.raises(DataError, match=rf"TEST: the events are not .* must be {right[:12]}\.\.\., was "):
        store.load(ArrayFeed(changed, content_hash=right, keep=keep))
    assert len(store.manifests()) == 1 + keep


def test_a_partial_feed_is_told_of(tmp_path):
    notes = {"partial": "only its trades"}
    stored = held(tmp_path, clean_events(100), report={"notes": notes})
    (found,) = [f for f in stored.findings if f.check == "partial feed"]
    assert (found.severity, found.detail) == ("warn", "only its trades")
