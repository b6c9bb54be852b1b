"""Bar stores for tests, from lists of closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bt_framework.bars.building import raw_bars
from bt_framework.bars.schema import BAR_SCHEMA
from bt_framework.bars.store import BarStore

DAY_NS = 86_400_000_000_000
OPEN_US = 1_577_836_800_000_000
"""2020-01-01, us UTC: when the first bar opens."""


def bars_of(symbol: str, closes: Sequence[float], *, interval_ns: int = DAY_NS, **columns: Any) -> pa.Table:
    """One symbol's bars; ``columns`` are `volume`, `adj_factor`, `outlier_flag` and `at`, the bars' numbers."""
    at = np.asarray(columns.pop("at", range(len(closes))), np.int64)
    values = {"close": np.asarray(closes, float)}
    if "volume" in columns:
        values["volume"] = np.asarray(columns.pop("volume"), float)
    table = raw_bars(symbol, OPEN_US + at * (interval_ns // 1_000), values)
    for name, column in columns.items():
        place = BAR_SCHEMA.names.index(name)
        table = table.set_column(place, BAR_SCHEMA.field(name), pa.array(column, BAR_SCHEMA.field(name).type))
    return table


def store_bars(
    store_dir: Path,
    closes: Mapping[str, Sequence[float]],
    *,
    source: str = "test",
    interval_ns: int = DAY_NS,
    **columns: Any,
) -> BarStore:
    """Put bars of some symbols into the bar store of `store_dir`, in the place of those that it has."""
    tables = [
        bars_of(symbol, values, interval_ns=interval_ns, **columns) for symbol, values in closes.items()
    ]
    store = BarStore(store_dir / "bars")
    store.replace(source, pa.concat_tables(tables), interval_ns=interval_ns)
    return store
