"""The run's own tables, row by row. The index of runs needs none of them, nor numpy, by which they are declared."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Double, PrimaryKeyConstraint, Table

from bt_framework.results.rows import ROW_TABLES
from bt_framework.results.schemas import COLUMNS, RECORDS
from bt_framework.results.schemas import Column as TableColumn
from bt_framework.stores.relational._metadata import METADATA, WORD, name
from bt_framework.stores.relational.run_tables import of_run


def _cell_of_table(table: str, column: TableColumn) -> Column[Any]:
    """Numbers may be null, which is NaN; words where they may be missing."""
    if column.boolean:
        return Column(column.name, Boolean(), nullable=column.optional)
    if column.words is not None:
        return Column(column.name, WORD, nullable=column.optional)
    if RECORDS[table][column.field].kind == "f":
        return Column(column.name, Double())
    return Column(column.name, BigInteger(), nullable=column.optional)


def _rows(table: str, of: str) -> Table:
    return Table(
        table,
        METADATA,
        name("run_id"),
        Column("sequence", BigInteger(), nullable=False),
        *(_cell_of_table(of, column) for column in COLUMNS[of]),
        PrimaryKeyConstraint("run_id", "sequence"),
        of_run(table),
        CheckConstraint("sequence >= 0", name="sequence"),
        sqlite_with_rowid=False,
    )


ROWS = {of: _rows(table, of) for table, of in ROW_TABLES.items()}
"""By the run's table, that of its rows."""
