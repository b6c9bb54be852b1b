"""Order latencies as they were: a log of one's own orders with request, exchange and response times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.latency import CHUNK_ROWS, LATENCY_ROW, LatencySpan, LatencyTable
from bt_framework.engine.models import LatencyModel
from bt_framework.errors import ConfigError, DataError
from bt_plugins.latency._shared import Disturbances, model_of

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES = ("req_ts", "exch_ts", "resp_ts")


@dataclass
class FromFiles(ComponentConfig):
    """Keys of recorded latencies."""

    files: list[str] = param([], "files in order of time: .npz, .npy, .csv (also .csv.gz) or .parquet")
    columns: list[str] = param(
        ["req_ts", "exch_ts", "resp_ts"], "columns of request, exchange and response time, ns UTC"
    )


@dataclass
class Historical(Disturbances, FromFiles):
    """Latencies of recorded orders, interpolated between them; where the exchange time is 0, orders are rejected."""

    name: str = param("historical", "registry name")

    def __post_init__(self) -> None:
        """Check the keys."""
        super().__post_init__()
        if len(self.columns) != 3:
            raise ConfigError(
                f"columns must name those of request, exchange and response time, was {list(self.columns)}."
            )


@dataclass(frozen=True)
class HistoricalTable(LatencyTable):
    """The rows of files."""

    files: tuple[Path, ...]
    columns: tuple[str, str, str]

    def identity(self, span: LatencySpan) -> Mapping[str, Any]:
        """The files' contents."""
        hashes = []
        for path in self.files:
            try:
                with path.open("rb") as file:
                    hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
            except OSError as error:
                raise DataError(
                    f"latency file {path} cannot be read: {error.strerror or error}. Give another in latency.files."
                ) from error
        return {"model": "historical", "files": hashes, "columns": self.columns}

    def chunks(self, span: LatencySpan) -> Iterator[np.ndarray]:
        """Yield the rows; where they do not reach the run's ends, a notice says so.

        Raises
        ------
        DataError
            If a file cannot be used, or none of the log is in the time of the run.
        """
        first_ts, last_ts = 0, 0
        for path in self.files:
            for columns in _columns_of(path, self.columns):
                rows = np.zeros(len(columns[0]), LATENCY_ROW)
                for name, values in zip(_NAMES, columns, strict=True):
                    rows[name] = values
                if len(rows):
                    first_ts, last_ts = first_ts or int(rows["req_ts"][0]), int(rows["req_ts"][-1])
                yield rows
        names = ", ".join(str(path) for path in self.files)
        if last_ts == 0:
            raise DataError(
                f"{names} must have at least one order, has none. Give another log in latency.files."
            )
        if last_ts < span.start_ts or first_ts > span.end_ts:
            raise DataError(
                f"{names} must have orders in the time of the run, {_iso(span.start_ts)} to {_iso(span.end_ts)}, has "
                f"{_iso(first_ts)} to {_iso(last_ts)}. Give a log of that time; its times are ns since 1970."
            )
        if first_ts > span.start_ts:
            span.notice(
                f"latency: the first order of the log is at {_iso(first_ts)}; its latency is used from the start of "
                f"the run, {_iso(span.start_ts)}"
            )
        if last_ts < span.end_ts:
            span.notice(
                f"latency: the last order of the log is at {_iso(last_ts)}; its latency is used to the end of the "
                f"run, {_iso(span.end_ts)}"
            )


def build(config: Historical) -> LatencyModel:
    """Return the latency model.

    Raises
    ------
    ConfigError
        If there is no file, or one of a kind that cannot be read.
    """
    if not config.files:
        raise ConfigError("latency.files must name a file, was empty.")
    files = tuple(Path(name).expanduser() for name in config.files)
    for path in files:
        if _kind(path) not in _READERS:
            raise ConfigError(
                f"latency.files must be .npz, .npy, .csv, .csv.gz or .parquet, was {path.name}."
            )
    request, exchange, response = config.columns
    return model_of(config, table=HistoricalTable(files, (request, exchange, response)))


def _kind(path: Path) -> str:
    name = path.name.removesuffix(".gz") if path.name.endswith(".csv.gz") else path.name
    return Path(name).suffix


def _columns_of(path: Path, names: tuple[str, str, str]) -> Iterator[list[np.ndarray]]:
    """Yield int64 arrays of the three columns, a bounded number of rows at a time."""
    from zipfile import BadZipFile

    import pyarrow as pa

    try:
        yield from _READERS[_kind(path)](path, names)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, pa.ArrowException) as error:
        raise DataError(
            f"latency file {path} cannot be read: {error}. It must have the integer columns {', '.join(names)} in ns "
            "(latency.columns)."
        ) from error


def _of_arrays(path: Path, names: tuple[str, str, str]) -> Iterator[list[np.ndarray]]:
    """Yield from a structured array with the names as fields, or one of shape (n_rows, 3)."""
    if path.suffix == ".npy":
        array = np.lib.format.open_memmap(path, mode="r")
    else:
        with path.open("rb") as file:
            content = np.load(file)
            if isinstance(content, np.ndarray) or not content.files:
                raise ValueError("it is no .npz file with an array")
            array = content[content.files[0]]
    if array.ndim != (1 if array.dtype.names else 2):
        raise ValueError(f"its array has the shape {array.shape}")
    for start in range(0, len(array), CHUNK_ROWS):
        chunk = array[start : start + CHUNK_ROWS]
        columns = [chunk[name] for name in names] if chunk.dtype.names else list(chunk.T[:3])
        if len(columns) < 3 or any(column.dtype.kind not in "iu" for column in columns):
            raise ValueError("its columns are not integers, or not three")
        yield [column.astype(np.int64) for column in columns]


def _of_csv(path: Path, names: tuple[str, str, str]) -> Iterator[list[np.ndarray]]:
    import pyarrow as pa
    from pyarrow import csv

    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64()), include_columns=names)
    with csv.open_csv(path, convert_options=convert) as reader:
        for batch in reader:
            yield [_whole(batch.column(name), name) for name in names]


def _of_parquet(path: Path, names: tuple[str, str, str]) -> Iterator[list[np.ndarray]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(CHUNK_ROWS, columns=list(names)):
            yield [_whole(batch.column(name), name) for name in names]


def _whole(column: pa.Array, name: str) -> np.ndarray:
    """Values of a column of integers or timestamps, int64."""
    import pyarrow as pa

    if column.null_count:
        raise ValueError(f"{name} is empty in some rows; a rejected order has the exchange time 0")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz))
    elif not pa.types.is_integer(column.type):
        raise ValueError(f"{name} is of {column.type}")
    return np.asarray(column.cast(pa.int64()))


def _iso(ts: int) -> str:
    return f"{np.datetime64(ts, 'ns')}Z"


_READERS = {".npy": _of_arrays, ".npz": _of_arrays, ".csv": _of_csv, ".parquet": _of_parquet}
