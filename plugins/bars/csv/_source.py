"""CSV files as blocks of columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from bt_framework.bars.rows import RowSource
from bt_framework.errors import DataError
from bt_plugins.bars.csv import Csv

_MISSING = ["", "nan", "NaN", "NAN", "-nan", "null", "NULL", "NA", "N/A", "#N/A", "None"]
_BLOCK_BYTES = 1 << 22


class CsvBars(RowSource):
    """Bars in CSV files."""

    endings = (".csv", ".txt", ".tsv")
    row_word = "line"

    def __init__(self, config: Csv) -> None:
        self.config: Csv = config
        self.first_row = 1 if config.names else 2

    def names(self, path: Path) -> list[str]:
        """Names of the columns."""
        if self.config.names:
            return list(self.config.names)
        with self._open(path, [], []) as reader:
            return [name.removeprefix("\ufeff") for name in reader.schema.names]

    def blocks(self, path: Path, numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows; others than `numbers` are text."""
        with self._open(path, numbers, others) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])

    @contextmanager
    def _open(self, path: Path, numbers: Sequence[str], others: Sequence[str]) -> Iterator[Any]:
        """Open a file; what cannot be read is said in our words."""
        types = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(others, pa.string())
        try:
            with pa.input_stream(path, compression="detect") as stream:
                yield arrow_csv.open_csv(
                    stream,
                    # Threads would lose the number of the line that is wrong.
                    read_options=arrow_csv.ReadOptions(
                        use_threads=False, block_size=_BLOCK_BYTES, column_names=self.config.names or None
                    ),
                    parse_options=arrow_csv.ParseOptions(delimiter=self.config.delimiter),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=types, include_columns=list(types), null_values=_MISSING
                    ),
                )
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeDecodeError) as error:
            raise DataError(self._in_our_words(path, str(error))) from error

    def _in_our_words(self, path: Path, text: str) -> str:
        """Say what is wrong with a file, from the parser's message."""
        value = re.search(
            r"column #(\d+): Row #(\d+): CSV conversion error to double: invalid value '(.*)'", text
        )
        if value:
            name = self.names(path)[int(value[1])]
            return f"{path}, line {value[2]}: {name} must be a number, was {value[3]!r}."
        fields = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text)
        if fields:
            return f"{path}, line {fields[1]} must have {fields[2]} fields, has {fields[3]}."
        if "Empty CSV file" in text:
            return f"{path} is empty. Fetch it again, or leave it out of bars.files."
        return f"{path} cannot be read as CSV: {text.rstrip('.')}."
