"""What `bt runs show` prints of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.cli._tables import plain
from bt_framework.results.run import TABLES

if TYPE_CHECKING:
    from bt_framework.results.record import RunRecord
    from bt_framework.stores.base import RunStore


def facts_as_dict(record: RunRecord) -> dict[str, Any]:
    """Everything known of a run, for programs."""
    import orjson

    tables = {name: [str(file) for file in files] for name, files in _files(record)}
    return {**orjson.loads(record.to_json()), "run_dir": str(record.run_dir), "tables": tables}


def facts(record: RunRecord, store: RunStore) -> list[tuple[str, str]]:
    """(what, value) of everything worth a line."""
    from bt_framework.results.summary import format_ts, speed_line, summary_rows

    ended = record.finished_at_ns != 0
    grade = record.data_grade
    lines = [
        ("run", record.run_id),
        ("status", str(record.status)),
        ("error", record.error),
        ("tags", " ".join(record.tags)),
        ("note", record.note),
        ("strategy", record.strategy),
        ("symbols", " ".join(record.symbols)),
        ("risk rules", " ".join(record.rules)),
        ("simulated", f"{format_ts(record.start_ts)} to {format_ts(record.end_ts)} UTC"),
        ("data", str(grade.get("line") or grade.get("grade") or "")),
        ("started", f"{format_ts(record.started_at_ns)} UTC"),
        ("finished", format_ts(record.finished_at_ns) if ended else "-"),
        ("process", f"{record.process.pid} on {record.process.host}"),
        *summary_rows(record),
        *((f"count of {name}", f"{count:,}") for name, count in record.counts.items()),
        ("speed", speed_line(record) if ended else ""),
        *((name.replace("_s", " s"), f"{seconds:.3f}") for name, seconds in record.timings.items()),
        *_identity(record),
        ("folder", str(record.run_dir)),
        *_tables(record, store),
    ]
    return [(label, plain(value)) for label, value in lines if value]


def _identity(record: RunRecord) -> list[tuple[str, str]]:
    identity = record.identity
    feeds = [f"{s} {feed}" for s, feed in zip(record.symbols, record.feeds, strict=False) if feed]
    return [
        ("config hash", identity.config_hash),
        ("data hash", identity.data_hash),
        ("code hash", identity.code_hash),
        ("seed", str(identity.seed)),
        ("result hash", record.result_hash),
        ("commit", record.git_commit),
        *(("feed", feed) for feed in feeds),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
    ]


def _tables(record: RunRecord, store: RunStore) -> list[tuple[str, str]]:
    """Where each table is: files of the folder, and rows of the store."""
    in_store = store.tables(record.run_id)
    lines = []
    for name, files in _files(record):
        places = [file.name for file in files] + (["rows of the store"] if name in in_store else [])
        lines.append((name, " ".join(places) or "nothing written"))
    return lines


def _files(record: RunRecord) -> list[tuple[str, list[Path]]]:
    from bt_framework.results.folder import RunFolder

    folder = RunFolder(record.run_dir)
    return [(name, folder.files(name)) for name in TABLES]
