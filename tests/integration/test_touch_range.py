"""The touch range in the manifest is the one that the engine's own book shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from numba import njit

from bt_framework.data.source import Feed
from bt_framework.data.store import EventStore
from bt_plugins.data.binance import Binance
from bt_plugins.data.binance import build as build_binance
from bt_plugins.data.synthetic_pair import SyntheticPair
from bt_plugins.data.synthetic_pair import build as build_pair


@njit
def touch_range(engine):
    """Lowest best bid and highest best ask of all wake-ups at which both sides have a price."""
    low, high = np.inf, -np.inf
    engine.elapse(0)
    while engine.wait_next_feed(False, 10**15) == 2:
        depth = engine.depth(0)
        if 0 < depth.best_bid < np.inf and 0 < depth.best_ask < np.inf:
            low, high = min(low, depth.best_bid), max(high, depth.best_ask)
    return low, high


def assert_same_touch(feed: Feed, folder: Path) -> None:
    stored = EventStore(folder).load(feed)
    events = np.array(stored.open())
    asset = (
        BacktestAsset()
        .data([events])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(stored.spec.tick_size)
        .lot_size(stored.spec.lot_size)
    )
    engine = HashMapMarketDepthBacktest([asset])
    low, high = touch_range(engine)
    assert (stored.touch_low_px, stored.touch_high_px) == pytest.approx((low, high), rel=1e-12)
    engine.close()


def test_of_a_synthetic_leg(tmp_path):
    assert_same_touch(build_pair(SyntheticPair(duration_ns="60s")).feeds()[0], tmp_path)


def test_of_collected_streams(tmp_path, shared_dir):
    folder = shared_dir / "data" / "binance"
    names = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")
    for feed in build_binance(Binance(files=[str(folder / name) for name in names])).feeds():
        assert_same_touch(feed, tmp_path)
