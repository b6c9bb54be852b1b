"""Real bars in the engine: what holding a share brings, and pairs of daily closes."""

from __future__ import annotations

import csv
import gzip
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bt_framework.bars.actions import adjustment_factors
from bt_framework.bars.building import raw_bars
from bt_framework.bars.schema import ACTION_SCHEMA, BAR_SCHEMA
from bt_framework.bars.store import BarStore

DAY_NS = 86_400_000_000_000


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripted strategy of the engine's tests, and what runs it."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "integration")
    import bars_probe

    yield bars_probe
    for name in ("bars_probe", "bars_probe_kernels"):
        sys.modules.pop(name, None)


@pytest.fixture
def aapl(shared_dir: Path) -> dict[str, Any]:
    """Columns of AAPL's bars, 1980 to 2018, in order of time."""
    path = shared_dir / "data" / "corporate_actions" / "quandl_WIKI-AAPL.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["Date"])
    columns: dict[str, Any] = {
        key: np.array([float(r[key]) for r in rows]) for key in rows[0] if key != "Date"
    }
    columns["date"] = [datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC) for row in rows]
    return columns


def store_aapl(store_dir: Path, aapl: dict[str, Any]) -> None:
    """Put raw closes with the factors of dividends and splits into the bar store."""
    times = np.array([int(date.timestamp()) * 1_000_000 for date in aapl["date"]])
    bars = raw_bars("AAPL", times, {"close": aapl["Close"], "volume": aapl["Volume"]})
    actions = []
    for date, dividend, split in zip(aapl["date"], aapl["Ex-Dividend"], aapl["Split Ratio"], strict=True):
        actions += [("AAPL", date.date(), "dividend", dividend)] if dividend else []
        actions += [("AAPL", date.date(), "split", split)] if split != 1.0 else []
    columns = [pa.array(list(c), field.type) for c, field in zip(zip(*actions), ACTION_SCHEMA)]  # noqa: B905
    factors = adjustment_factors(bars, pa.table(columns, schema=ACTION_SCHEMA))
    place = BAR_SCHEMA.names.index("adj_factor")
    bars = bars.set_column(place, BAR_SCHEMA.field("adj_factor"), pa.array(factors))
    BarStore(store_dir / "bars").append("test", bars, interval_ns=DAY_NS)


@pytest.mark.parametrize("start", [pytest.param("1980-12-12", marks=pytest.mark.long), "2014-01-02"])
def test_holding_a_share_brings_the_total_return_of_its_adjusted_closes(
    tmp_path: Path, aapl: dict[str, Any], probe: Any, start: str
) -> None:
    store_aapl(tmp_path, aapl)
    first = [date.date().isoformat() for date in aapl["date"]].index(start)
    first_close_ts = int(aapl["date"][first].timestamp()) * 1_000_000_000 + DAY_NS
    bar = (first_close_ts - probe.FIRST_CLOSE_TS) // DAY_NS
    strategy = probe.Scripted([(bar, 0, 1, 1_000.0)], book=True)
    result = probe.run_bars(tmp_path, strategy, f"data.start={start}", "data.slippage_bps=0")
    (fill,) = result.fills.to_pylist()
    assert fill["px"] == pytest.approx(aapl["Close"][first], rel=1e-6, abs=2e-4)
    total = aapl["Adj. Close"][-1] / aapl["Adj. Close"][first]
    gained = result.metrics["pnl"] / (1_000.0 * fill["px"])
    assert gained == pytest.approx(total - 1.0, rel=1e-5)
    # Each day's return too: the split of 2014-06-09 is no loss, its dividend of August no fall.
    seen = probe.columns(result, "AAPL", "local_ts", "mid_px")
    closes_ts = [int(date.timestamp()) * 1_000_000_000 + DAY_NS for date in aapl["date"][first:]]
    at_close = np.searchsorted(seen["local_ts"], closes_ts)
    assert np.array_equal(seen["local_ts"][at_close], closes_ts)
    returns = np.diff(np.log(seen["mid_px"][at_close]))
    np.testing.assert_allclose(returns, np.diff(np.log(aapl["Adj. Close"][first:])), atol=2e-5)
    assert result.data_grade["fidelity"] == "D"


def test_raw_prices_lose_a_split(tmp_path: Path, aapl: dict[str, Any], probe: Any) -> None:
    store_aapl(tmp_path, aapl)
    first = [date.date().isoformat() for date in aapl["date"]].index("2014-06-06")
    bar = (int(aapl["date"][first].timestamp()) * 1_000_000_000 + DAY_NS - probe.FIRST_CLOSE_TS) // DAY_NS
    span = ["data.start=2014-06-06", "data.end=2014-06-10", "data.slippage_bps=0"]
    order = [(bar, 0, 1, 1_000.0)]
    raw = probe.run_bars(tmp_path, probe.Scripted(order), *span, "data.adjust=none")
    whole = probe.run_bars(tmp_path, probe.Scripted(order), *span)
    notional = 1_000.0 * aapl["Close"][first]
    assert raw.metrics["pnl"] / notional == pytest.approx(93.70 / 645.57 - 1.0, abs=1e-6)
    assert whole.metrics["pnl"] / notional == pytest.approx(0.016, abs=1e-5)
