"""Parquet files as blocks of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from bt_framework.bars.building import ROWS_PER_TABLE
from bt_framework.bars.rows import RowSource
from bt_framework.errors import DataError
from bt_plugins.bars.parquet import Parquet


class ParquetBars(RowSource):
    """Bars in Parquet files."""

    endings = (".parquet", ".pq")

    def __init__(self, config: Parquet) -> None:
        self.config: Parquet = config

    def names(self, path: Path) -> list[str]:
        """Names of the columns."""
        with _opened(path) as file:
            return list(file.schema_arrow.names)

    def blocks(self, path: Path, numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows, of one row group after the other."""
        with _opened(path) as file:
            for batch in file.iter_batches(ROWS_PER_TABLE, columns=[*numbers, *others]):
                block = pa.Table.from_batches([batch])
                for name in numbers:
                    place = block.schema.get_field_index(name)
                    block = block.set_column(place, name, _doubles(path, name, block[name]))
                for name in others:
                    place = block.schema.get_field_index(name)
                    block = block.set_column(place, name, _plain(path, name, block[name]))
                yield block


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file; what cannot be read is said in our words."""
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).rstrip('.')}.") from error


def _doubles(path: Path, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"{path}: the column {name} must be numbers, was {kind}.")
    return values.cast(pa.float64(), safe=False)


def _plain(path: Path, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times or symbols; texts as such, whatever form they have in the file."""
    types, kind = pa.types, values.type
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_integer(kind) or types.is_floating(kind):
        return values
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)):
        raise DataError(f"{path}: the column {name} must be times, numbers or texts, was {kind}.")
    return values.cast(pa.string())
