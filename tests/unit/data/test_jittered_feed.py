"""A feed with jitter: later, never earlier, in the same order, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bt_framework.data.jitter import JitteredFeed
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.engine.jitter import Distribution, Jitter
from bt_framework.records import EventFlag
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_MS as MS

JITTER = Jitter(Distribution.LOGNORMAL, 2 * MS, 0.7, MS)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredFeed:
    return EventStore(tmp_path_factory.mktemp("store")).load(ArrayFeed(clean_events(3_000)))


def test_every_event_is_later_and_local_order_stays(stored: StoredFeed, tmp_path: Path) -> None:
    before = stored.open()
    after = EventStore(tmp_path).load(JitteredFeed(stored, 0, JITTER, 1)).open()
    late_ns = after["local_ts"] - before["local_ts"]
    assert late_ns.min() >= 0
    assert np.median(late_ns) > 2 * MS
    local = (after["ev"] & np.uint64(EventFlag.LOCAL)) != 0
    assert np.all(np.diff(after["local_ts"][local]) >= 0)
    for name in ("ev", "exch_ts", "px", "qty", "order_id"):
        np.testing.assert_array_equal(after[name], before[name])


def test_the_same_seed_gives_the_same_content_and_another_seed_another(
    stored: StoredFeed, tmp_path: Path
) -> None:
    feeds = [JitteredFeed(stored, 0, JITTER, seed) for seed in (1, 1, 2)]
    found = [EventStore(tmp_path / str(k)).load(feed) for k, feed in enumerate(feeds)]
    assert found[0].content_hash == found[1].content_hash != found[2].content_hash
    assert found[0].key == found[1].key != found[2].key


def test_an_offset_is_added_before(stored: StoredFeed, tmp_path: Path) -> None:
    moved = EventStore(tmp_path).load(JitteredFeed(stored, 5 * MS, JITTER, 1)).open()
    feed = JitteredFeed(stored, 0, JITTER, 1)
    np.testing.assert_array_equal(moved["local_ts"], feed.delayed(stored.open()["local_ts"] + 5 * MS))


@given(
    steps=arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 3_000 * MS)),
    cut=st.integers(0, 60),
    step_ns=st.sampled_from([MS // 100, MS, 77 * MS]),
)
def test_delays_depend_on_the_time_alone_and_never_overtake(
    stored: StoredFeed, steps: np.ndarray, cut: int, step_ns: int
) -> None:
    feed = JitteredFeed(stored, 0, Jitter(Distribution.GAMMA, MS, 2.0, step_ns), 3)
    times = START_TS + np.cumsum(steps)
    whole = feed.delayed(times)
    assert np.all(whole >= times)
    assert np.all(np.diff(whole) >= 0)
    np.testing.assert_array_equal(
        np.concatenate([feed.delayed(times[:cut]), feed.delayed(times[cut:])]), whole
    )
    np.testing.assert_array_equal(feed.delayed(times[::-1].copy()), whole[::-1])
    for k in (0, len(times) - 1):  # between two places of the grid, by hand
        place = int(times[k]) // step_ns
        here, there = feed._jitter.arrivals(feed._key, place, place + 2).tolist()
        after_ns = int(times[k]) - place * step_ns
        assert whole[k] == here + -(-(there - here) * after_ns // step_ns)
