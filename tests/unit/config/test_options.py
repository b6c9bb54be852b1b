"""The options that users rely on are there, under these names."""

from __future__ import annotations

import pytest

from bt_framework.plugin_manager import discover
from bt_framework.registry import Kind

OPTIONS = {
    Kind.DATA: {"binance", "lobster", "npz", "synthetic_pair"},
    Kind.BARS: {"binance_klines", "csv", "parquet", "rest", "synthetic", "websocket"},
    Kind.STRATEGY: {"ou_pairs", "market_maker"},
    Kind.LATENCY: {
        "constant",
        "colo",
        "same_region",
        "retail",
        "zero",
        "jitter",
        "feed_derived",
        "historical",
    },
    Kind.QUEUE: {
        "risk_averse",
        "log_prob",
        "log_prob2",
        "power_prob",
        "power_prob2",
        "power_prob3",
        "l3_fifo",
    },
    Kind.EXCHANGE: {"no_partial_fill", "partial_fill"},
    Kind.FEES: {
        "binance_usdm_tiers",
        "binance_usdm_vip0",
        "by_qty",
        "by_value",
        "flat_per_trade",
        "tiered",
        "zero",
    },
    Kind.SLIPPAGE: {"none", "fixed_bps", "sqrt_impact"},
    Kind.CONTRACT: {"from_data", "linear", "inverse"},
    Kind.DEPTH: {"auto", "price_vector", "hash_map"},
    Kind.RISK: {"max_position", "max_order_notional"},
    Kind.SIZING: {"fixed_qty", "fixed_notional"},
    Kind.WRITER: {"parquet"},
    Kind.STORE: {"postgres", "sqlite"},
    Kind.CONSOLE: {"rich", "plain", "json"},
}


@pytest.mark.parametrize("kind", list(Kind))
def test_the_options_of_a_group_keep_their_names(kind: Kind) -> None:
    assert OPTIONS[kind] <= set(discover().registry.names(kind))
