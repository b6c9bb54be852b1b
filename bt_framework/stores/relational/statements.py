"""SQL for SQLite that was compiled beforehand: keeping a run needs no SQLAlchemy, which takes a while to import.

``python docs/update.py`` writes the files in ``sql/relational/sqlite`` again after a change of the tables.
"""

from __future__ import annotations

import textwrap
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.results.run import TABLES, Status

if TYPE_CHECKING:
    from sqlalchemy import Table

_END = ";\n"
_FOLDER = ("relational", "sqlite")


@lru_cache(maxsize=32)
def statement(name: str) -> str:
    """SQL of the file ``relational/sqlite/{name}.sql``."""
    return files("bt_sql").joinpath(*_FOLDER, f"{name}.sql").read_text(encoding="utf-8")


def statements(name: str) -> list[str]:
    """Return the statements of a file with several of them."""
    return [text for text in statement(name).split(_END) if text.strip()]


def write() -> list[Path]:
    """Write the files whose content has changed, and return them."""
    folder = Path(str(files("bt_sql").joinpath(*_FOLDER)))
    changed = []
    for name, text in compiled().items():
        file = folder / f"{name}.sql"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(file)
    return changed


def compiled() -> dict[str, str]:
    """Return the content of each file, as SQLAlchemy compiles it from the tables."""
    from sqlalchemy import bindparam

    from bt_framework.stores.relational import tables

    tags = tables.RUN_TAGS
    one_run = "one row per run"
    content = {
        "create": _header("the whole schema, in an empty file.", "one row per what its table says.", "none.")
        + "".join(_create(table) for table in (*tables.METADATA.sorted_tables, tables.VERSION))
        + _sql(tables.VERSION.insert().values(version_num=tables.HEAD), literal_binds=True)
        + _END,
        "know_sweep": _header(
            "insert a sweep of which nothing is known but its id.", "one row per sweep.", "one per column."
        )
        + "\n".join(textwrap.wrap(_sql(insert_if_absent(tables.SWEEPS, "sqlite")), 110))
        + "\n",
        "put_sweep": _header(
            "insert a sweep, or replace what is known of it.", "one row per sweep.", "one per column."
        )
        + _put(tables.SWEEPS, "named"),
        "put_sweep_job": _header(
            "insert a job of a sweep, or replace it.", "one row per sweep and job.", "one per column."
        )
        + _put(tables.SWEEP_JOBS, "named"),
        "find_identical": _header(
            "find the completed runs of an identity, the newest first.",
            "one row per run.",
            "config_hash, data_hash, code_hash, seed.",
        )
        + "\n".join(textwrap.wrap(_sql(_identical(tables.RUNS)), 110))
        + "\n",
        "put_run": _header("insert a run, or replace what is known of it.", one_run + ".", "one per column.")
        + _put(tables.RUNS, "named"),
        "put_metrics": _header("insert a run's metrics, or replace them.", one_run + ".", "one per column.")
        + _put(tables.METRICS, "named"),
        "put_tag": _header(
            "give a run a tag, if it has it not yet.", "one row per run and tag.", "run_id, tag."
        )
        + _put(tags, "named"),
        "remove_tags": _header("forget the tags of a run.", "one row per run and tag.", "run_id.")
        + _sql(tags.delete().where(tags.c.run_id == bindparam("run_id")))
        + "\n",
    }
    for name in TABLES:
        purpose = f"insert rows of a run's {name}, or replace those whose position is there."
        content[f"put_{name}"] = _header(
            purpose, "one row per run and position.", "one per column, in order."
        )
        content[f"put_{name}"] += _put(tables.ROWS[name], "qmark")
    return content


def _identical(runs: Table) -> Any:
    from sqlalchemy import bindparam, literal_column, select

    same = (runs.c[name] == bindparam(name) for name in ("config_hash", "data_hash", "code_hash", "seed"))
    found = select(runs.c.run_id, runs.c.run_dir, runs.c.record).where(*same)
    found = found.where(runs.c.status == literal_column(f"'{Status.COMPLETED}'"))
    return found.order_by(runs.c.started_at_ns.desc(), runs.c.run_id)


def insert_if_absent(table: Table, dialect: str) -> Any:
    """Return the statement that inserts a row unless there is one with its key."""
    return _insert(table, dialect).on_conflict_do_nothing()


def upsert(table: Table, dialect: str) -> Any:
    """Return the statement that inserts a row, or replaces the one with its key."""
    statement = _insert(table, dialect)
    key = {column.name for column in table.primary_key.columns}
    values = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in key}
    if not values:
        return statement.on_conflict_do_nothing()
    return statement.on_conflict_do_update(index_elements=sorted(key), set_=values)


def _insert(table: Table, dialect: str) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    return insert(table)


def _header(purpose: str, grain: str, parameters: str) -> str:
    return f"-- purpose: {purpose}\n-- grain: {grain}\n-- parameters: {parameters}\n"


def _create(table: Table) -> str:
    from sqlalchemy.schema import CreateIndex, CreateTable

    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    parts = (_sql(CreateTable(table)), *(_sql(CreateIndex(index)) for index in indexes))
    return "".join(part.strip().replace("\t", "    ") + _END for part in parts)


def _put(table: Table, paramstyle: str) -> str:
    return "\n".join(textwrap.wrap(_sql(upsert(table, "sqlite"), paramstyle=paramstyle), 110)) + "\n"


def _sql(statement: Any, paramstyle: str = "named", *, literal_binds: bool = False) -> str:
    from sqlalchemy.dialects.sqlite import dialect

    text = str(
        statement.compile(
            dialect=dialect(paramstyle=paramstyle), compile_kwargs={"literal_binds": literal_binds}
        )
    )
    return "\n".join(line.rstrip() for line in text.splitlines())
