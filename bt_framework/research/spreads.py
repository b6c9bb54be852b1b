"""Spread series of pairs, each bar judged by the bars before it only, and the files they are kept in.

Layout, under the store's folder: ``alpha/source=<source>/pair_id=<symbol_a>_<symbol_b>/spread.parquet``,
the id encoded as in a URL.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa

from bt_framework.data._workspace import storage_errors
from bt_framework.errors import DataError, StorageError
from bt_framework.registry import unknown_name
from bt_framework.research._rolling import rolling_regression
from bt_framework.research.settings import Spreads
from bt_framework.stats.kalman_fit import fit_kalman

SPREAD_SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("datetime", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("spread", pa.float64(), nullable=False),
        pa.field("beta", pa.float64(), nullable=False),
        pa.field("z_score", pa.float64(), nullable=False),
    ]
)
"""A spread series.

``datetime`` is when the bar opens whose close is judged. ``spread`` is what the (log) price of symbol_a is above what
the bars before predict from that of symbol_b, ``beta`` the hedge ratio of that prediction, and ``z_score`` the spread
over the residual standard deviation of the regression (``ols``), or over that of the innovation, which also has what is
uncertain about the coefficients (``kalman``). All three are known when the bar has closed. There is a row per bar in
which both symbols have a price, from the first bar on that can be judged.
"""

_FILE = "spread.parquet"
_HOW = b"bt_spread"


def spread_values(y: np.ndarray, x: np.ndarray, method: Spreads, window: int) -> np.ndarray:
    """Judge each bar by the bars before it.

    ``ols`` predicts by the regression over the last `window` bars. ``kalman`` filters intercept and hedge ratio as
    random walks, whose variances are those of greatest likelihood over the first `window` bars and stay; its spread
    is the innovation. What comes later changes no value.

    Parameters
    ----------
    y, x : float64 array of shape (n,)
        (Log) prices of symbol_a and symbol_b, finite.
    method : Spreads
        ``ols`` or ``kalman``.
    window : int
        Bars.

    Returns
    -------
    float64 array of shape (n, 3)
        Spread, beta, z-score; NaN for bars that cannot be judged, as are the first `window`.

    Raises
    ------
    ValueError
        If the Kalman filter cannot be fitted to the first `window` bars.
    """
    values = np.full((len(y), 3), np.nan)
    if len(y) <= window:
        return values
    if method is Spreads.ols:
        rolled = np.empty((len(y), 4))
        rolling_regression(np.ascontiguousarray(y), np.ascontiguousarray(x), window, rolled)
        return rolled[:, [2, 0, 3]]
    fit = fit_kalman(x[:window], y[:window])
    before = fit.filter.hedge_ratio
    steps = fit.filter.filter(x[window:], y[window:])
    values[window:, 0] = steps.innovation
    values[window:, 1] = np.concatenate(([before], steps.hedge_ratio[:-1]))
    values[window:, 2] = steps.innovation / np.sqrt(steps.innovation_variance)
    return values


def spread_table(pair_id: str, times_ns: np.ndarray, values: np.ndarray) -> pa.Table:
    """Return a table of `SPREAD_SCHEMA` of the bars that could be judged.

    Parameters
    ----------
    times_ns : int64 array of shape (n,)
        When the bars open, ns UTC.
    values : float64 array of shape (n, 3)
        Of `spread_values`.
    """
    judged = np.isfinite(values).all(axis=1)
    times = pa.array(times_ns[judged] // 1_000, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = [pa.array(values[judged, i]) for i in range(3)]
    ids = pa.repeat(pa.scalar(pair_id), len(times))
    return pa.table([ids, times, *columns], schema=SPREAD_SCHEMA)


def write_spread(store_dir: Path, source: str, pair_id: str, table: pa.Table, how: Mapping[str, Any]) -> Path:
    """Put the series of `pair_id` in the place of an older one of `source`, all at once.

    `how` it was made goes with it.

    Raises
    ------
    DataError
        If the series that is there explains another symbol: it is that of another pair with the same id.
    StorageError
        If the folder cannot be written.
    """
    import pyarrow.parquet as pq

    path = _path(store_dir, source, pair_id)
    before, now = _explained(path), how.get("y_symbol")
    if before and now and before != now:
        raise DataError(
            f"the pair id {pair_id!r} must name one pair, was that of {before} in {path}, is now that of {now}. Rename "
            "a symbol, or use another store_dir."
        )
    with storage_errors(store_dir / "alpha", "writing a spread"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        os.close(handle)
        try:
            pq.write_table(table.replace_schema_metadata({_HOW: json.dumps(how, sort_keys=True)}), name)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return path


def read_spread(
    store_dir: Path, source: str, pair_id: str, start: datetime | None = None, end: datetime | None = None
) -> pa.Table:
    """Return the series of `pair_id` that is kept of `source`, of bars that open in [`start`, `end`).

    Raises
    ------
    DataError
        If there is none; the message lists the pairs that there are.
    StorageError
        If it cannot be read.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = _path(store_dir, source, pair_id)
    if not path.exists():
        there = [unquote(p.parent.name.partition("=")[2]) for p in path.parents[1].glob(f"pair_id=*/{_FILE}")]
        raise DataError(
            f"{unknown_name(f'a pair of {source} with a spread', pair_id, there)} bt screen spreads=ols makes them."
        )
    try:
        table = pq.ParquetFile(path).read().cast(SPREAD_SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"the spread {path} cannot be read: {error}. Screen again with spreads=ols."
        ) from error
    kept = pa.scalar(True)
    if start is not None:
        kept = pc.and_(kept, pc.greater_equal(table["datetime"], pa.scalar(start, table["datetime"].type)))
    if end is not None:
        kept = pc.and_(kept, pc.less(table["datetime"], pa.scalar(end, table["datetime"].type)))
    return table if isinstance(kept, pa.Scalar) else table.filter(kept)


def _explained(path: Path) -> str | None:
    """The symbol that the series at `path` explains; None where there is none that can be read."""
    import pyarrow.parquet as pq

    try:
        return str(json.loads(pq.read_schema(path).metadata[_HOW])["y_symbol"])
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def _path(store_dir: Path, source: str, pair_id: str) -> Path:
    return store_dir / "alpha" / f"source={source}" / f"pair_id={quote(pair_id, safe='')}" / _FILE
