"""The folder of real market data is ingested in one go: each file by its reader, the rest named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bt_framework.cli.main import main
from bt_framework.data.store import EventStore

pytestmark = pytest.mark.usefixtures("own_cache")

UNKNOWN = {
    "INDEX.md",
    "bars/flox_btcusdt_1m.csv",
    "bars/flox_ethusdt_1m.csv",
    "bars/inputData_ETF_cl.csv",
    "bars/inputData_ETF_stocks.csv",
    "bars/inputData_EWA_EWC.csv",
    "bars/inputData_EWA_EWC_IGE.csv",
    "corporate_actions/quandl_WIKI-AAPL.csv.gz",
    "corporate_actions/yahoo_leon7786_AAPL.csv",
    "corporate_actions/yahoo_leon7786_AAPL_dividends.csv",
    "equity/lean_second_ibm_20131007_trade.zip",
}
STORED = {
    "binance": ["BTCUSDT", "ETHUSDT"],
    "bitstamp": ["BTCUSD"],
    "bybit": ["XRPUSDT"],
    "databento": ["ESH4", "ESU4", "ESU4"],
    "lobster": ["AMZN", "GOOG", "GOOG", "GOOG"],
    "quotes": ["EURUSD_OANDA", "IBM", "IBM_SECOND", "NZDUSD_OANDA"],
    "tardis": ["BTC-PERPETUAL", "BTCUSDT", "XBTUSD"],
}


def test_everything_is_ingested_by_its_reader_and_the_rest_is_named(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ingest", str(shared_dir / "data"), f"store_dir={tmp_path}"]
    assert main(arguments) == 2
    out = capsys.readouterr().out
    manifests = EventStore(tmp_path).manifests()
    stored: dict[str, list[str]] = {}
    for manifest in manifests:
        stored.setdefault(manifest.reader, []).append(manifest.symbol)
    assert {reader: sorted(symbols) for reader, symbols in stored.items()} == STORED
    # The FXCM file is dirty, and refused; definitions go with the file that they define.
    failed, _, unknown = out.partition("failed (1):\n  quotes: ")[2].partition("not recognised (11):\n")
    assert "lean_fxcm_eurusd_20140502_quote.zip: EURUSD_FXCM: the events cannot be used" in failed
    assert {m.spec.contract_size for m in manifests if m.symbol == "ESU4"} == {50.0}
    root = f"  {shared_dir / 'data'}/"
    assert {line.removeprefix(root) for line in unknown.splitlines()} == UNKNOWN

    assert main(arguments) == 2
    again = capsys.readouterr().out
    assert again.count("  before  ") == len(manifests)
    assert "  now  " not in again
