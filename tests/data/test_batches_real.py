"""Pairs and days of real files, as their collectors have named them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bt_framework.errors import ConfigError
from bt_plugins.data.binance import Binance
from bt_plugins.data.binance import build as build_binance
from bt_plugins.data.quotes import Quotes
from bt_plugins.data.quotes import build as build_quotes


def test_a_pair_of_one_day_is_the_files_that_hold_it(shared_dir: Path) -> None:
    pattern = f"{shared_dir}/data/binance/{{symbol_lower}}_{{date}}.gz"
    feeds = build_binance(Binance(files=[pattern], pair="ETHUSDT-BTCUSDT", date="20240808")).feeds()
    assert [feed.symbol for feed in feeds] == ["ETHUSDT", "BTCUSDT"]
    assert [feed.files[0].name for feed in feeds] == ["ethusdt_20240808.gz", "btcusdt_20240808.gz"]


def test_the_days_of_a_pair_are_its_files_in_time_order(shared_dir: Path) -> None:
    pattern = f"{shared_dir}/data/fx/lean_oanda_{{symbol_lower}}_{{yyyy}}{{mm}}{{dd}}_quote.zip"
    config = Quotes(files=[pattern], pair="EURUSD-NZDUSD", date="2014-05-05..2014-05-06")
    feeds = build_quotes(config).feeds()
    assert [(feed.symbol, len(feed.files)) for feed in feeds] == [("EURUSD", 2), ("NZDUSD", 2)]
    assert [path.name for path in feeds[0].files] == [
        "lean_oanda_eurusd_20140505_quote.zip",
        "lean_oanda_eurusd_20140506_quote.zip",
    ]
    with pytest.raises(ConfigError, match=r"eurusd_20140502_quote\.zip does not exist"):
        Quotes(files=[pattern], pair="EURUSD-NZDUSD", date="2014-05-01..2014-05-06")
