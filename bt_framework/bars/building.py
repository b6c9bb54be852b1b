"""Making tables of bars from arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars.schema import BAR_SCHEMA

ROWS_PER_TABLE = 65_536
VALUES = ("open", "high", "low", "close", "volume")


def raw_bars(symbol: Any, time_us: Any, values: Mapping[str, Any]) -> pa.Table:
    """Table of bars as traded: ``adj_factor`` 1, ``outlier_flag`` 0.

    Parameters
    ----------
    symbol : str, or string array of shape (n_bars,)
        One for all, or one each.
    time_us : int64 array of shape (n_bars,)
        When each bar opens, us UTC.
    values : mapping
        ``close`` and any of ``open``, ``high``, ``low`` and ``volume``: float64 arrays of shape (n_bars,), null or
        NaN where missing. A price that is not given is the close; volumes that are not given are missing.
    """
    n = len(time_us)
    close = _doubles(values["close"])
    columns = {
        "symbol": pa.repeat(symbol, n) if isinstance(symbol, str) else symbol.cast(pa.string()),
        "datetime": pa.array(time_us, pa.timestamp("us", tz="UTC")),
        "open": _doubles(values["open"]) if "open" in values else close,
        "high": _doubles(values["high"]) if "high" in values else close,
        "low": _doubles(values["low"]) if "low" in values else close,
        "close": close,
        "volume": _doubles(values["volume"]) if "volume" in values else pa.nulls(n, pa.float64()),
        "adj_factor": pa.array(np.ones(n)),
        "outlier_flag": pa.array(np.zeros(n, np.uint8)),
    }
    return pa.table([columns[name] for name in BAR_SCHEMA.names], schema=BAR_SCHEMA)


def slices(table: pa.Table) -> Iterator[pa.Table]:
    """Yield `table` in pieces of at most `ROWS_PER_TABLE` rows."""
    for start in range(0, table.num_rows, ROWS_PER_TABLE):
        yield table.slice(start, ROWS_PER_TABLE)


def _doubles(values: Any) -> pa.Array:
    """`values` as float64, NaN null."""
    if isinstance(values, np.ndarray):
        return pa.array(values, pa.float64(), mask=np.isnan(values))
    return pc.if_else(pc.is_nan(values), None, values)
