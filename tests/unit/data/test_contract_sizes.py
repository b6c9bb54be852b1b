"""The contract size of a feed: it follows its source, through the store and through what is derived from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bt_framework.data.jitter import JitteredFeed
from bt_framework.data.repair import RepairedFeed
from bt_framework.data.shift import ShiftedFeed
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.engine.jitter import Distribution, Jitter
from bt_framework.results.run import Instrument
from bt_framework.testing.feeds import ArrayFeed, clean_events
from bt_framework.units import NS_PER_MS as MS

JITTER = Jitter(Distribution.LOGNORMAL, 2 * MS, 0.7, MS)


class Listed(ArrayFeed):
    """Events of a contract that its source lists."""

    contract_size = 50.0

    def known_instrument(self, report: FeedReport) -> Instrument:
        return Instrument(self.symbol, 0.1, 0.001, self.contract_size)


@pytest.mark.parametrize("sizes", [{}, {"tick_size": 0.1}, {"tick_size": 0.1, "lot_size": 0.001}])
def test_another_contract_size_is_taken_over_whatever_is_configured(
    tmp_path: Path, sizes: dict[str, float]
) -> None:
    store, events = EventStore(tmp_path), clean_events(400)
    for contract_size in (1.0, 50.0, 1.0):
        feed = Listed(events, contract_size=contract_size, **sizes)
        assert store.load(feed).spec == Instrument("TEST", 0.1, 0.001, contract_size)


def test_feeds_that_are_shifted_jittered_or_repaired_have_the_contract_size_of_their_source(
    tmp_path: Path,
) -> None:
    store, events = EventStore(tmp_path), clean_events(400)
    for contract_size in (50.0, 5.0):
        source = Listed(events, contract_size=contract_size)
        stored = store.load(source)
        derived = (ShiftedFeed(stored, MS), JitteredFeed(stored, 0, JITTER, 1), RepairedFeed(source))
        assert [store.load(feed).spec.contract_size for feed in derived] == [contract_size] * 3
