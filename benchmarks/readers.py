"""Speed of readers, from a file to events, beside parsing the same file with Arrow.

Protects: LOBSTER's sample of ten levels becomes a million messages' events per second or more, unpacked, parsed and
compared row by row. Baseline: unpacking both files and parsing them with Arrow's CSV reader, which makes columns and
no events. Compilation is done before; the ways take turns.

    python benchmarks/readers.py [FILE.zip] [--repeats 9]

Prints one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from measure import median, shared_dir
from pyarrow import csv

from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_plugins.data.lobster import Lobster, build

SAMPLE = "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"
GOAL_MESSAGES_PER_S = 1_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    path = arguments.file or shared_dir() / "data" / "lobster" / SAMPLE
    print(json.dumps(compare(path, arguments.repeats), indent=2))


def compare(path: Path, repeats: int) -> dict[str, object]:
    """Time all ways in turns, after one turn that does not count."""
    ways: dict[str, Callable[[Path], int]] = {
        "lobster_l2": lambda p: read(p, "l2"),
        "lobster_l3": lambda p: read(p, "l3"),
        "ingest_l2": ingest,
        "arrow_columns": arrow_rows,
        "unzip": unzip,
    }
    wall_s: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s: dict[str, list[float]] = {name: [] for name in ways}
    counted: dict[str, int] = {}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            counted[name] = way(path)
            if turn:
                wall_s[name].append(time.perf_counter() - began)
                cpu_s[name].append(time.process_time() - began_cpu)
    messages = counted["lobster_l2"]
    assert messages == counted["lobster_l3"] == counted["arrow_columns"], counted
    best_s = {name: min(times) for name, times in wall_s.items()}
    return {
        "file": path.name,
        "file_bytes": path.stat().st_size,
        "text_bytes": counted["unzip"],
        "messages": messages,
        "events": counted["ingest_l2"],
        "repeats": repeats,
        "best_s": {name: round(s, 4) for name, s in best_s.items()},
        "median_s": {name: round(median(times), 4) for name, times in wall_s.items()},
        "cpu_s": {name: round(min(times), 4) for name, times in cpu_s.items()},
        "messages_per_s": {name: round(messages / s) for name, s in best_s.items() if name != "unzip"},
        "median_messages_per_s": {
            name: round(messages / median(wall_s[name])) for name in ways if name != "unzip"
        },
        "goal_messages_per_s": GOAL_MESSAGES_PER_S,
        "arrow_over_lobster_l2": round(best_s["arrow_columns"] / best_s["lobster_l2"], 2),
    }


def read(path: Path, book: str) -> int:
    """Make all events and keep none; return the number of messages."""
    (feed,) = build(Lobster(files=[str(path)], book=book)).feeds()
    report = FeedReport()
    for _ in feed.chunks(report, lambda done, total: None):
        pass
    return report.rows_read


def ingest(path: Path) -> int:
    """Store the events, as ``bt ingest`` does; return their number."""
    (feed,) = build(Lobster(files=[str(path)])).feeds()
    with tempfile.TemporaryDirectory() as folder:
        return EventStore(Path(folder)).load(feed).events


def arrow_rows(path: Path) -> int:
    """Unpack and parse both files into columns; return the number of rows."""
    options = csv.ReadOptions(autogenerate_column_names=True)
    rows = set()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".csv"):
                rows.add(csv.read_csv(io.BytesIO(archive.read(name)), options).num_rows)
    (n_rows,) = rows
    return n_rows


def unzip(path: Path) -> int:
    """Unpack everything; return the size of the text."""
    with zipfile.ZipFile(path) as archive:
        return sum(len(archive.read(name)) for name in archive.namelist())


if __name__ == "__main__":
    main()
