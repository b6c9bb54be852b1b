"""Ingest of collected Binance files against hftbacktest's converter, and its memory as the input grows.

Protects: rows per second of the whole ingest (from .gz to a checked, archived, mapped file) at least three
times those of the converter (from .gz to an engine-ready file), and a peak of memory that does not follow the
input.

    python benchmarks/ingest.py FILE [FILE...] [--repeats 5]

Prints one JSON object. Times are the best of the repeats, which alternate; compilation is done before.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TILES = 10
_TIME = re.compile(rb'"([TE])":(\d+)')


def main() -> None:
    """Run the benchmark, or one of the processes that it starts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak-of-ingest", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    result = peak_of_ingest(args.files) if args.peak_of_ingest else compare(args.files, args.repeats)
    print(json.dumps(result, indent=2))


def ingest(files: list[Path], folder: Path) -> int:
    """Ingest `files` into a new store, as ``bt ingest`` does; return the number of events."""
    from bt_framework.data.store import EventStore
    from bt_plugins.data.binance import Binance, build

    feeds = build(Binance(files=[str(path) for path in files])).feeds()
    return sum(stored.events for stored in EventStore(folder).load_all(feeds))


def order_only(files: list[Path], folder: Path) -> int:
    """Read and order `files`, one after the other, and keep nothing."""
    from bt_framework.data.ordering import ordered_chunks
    from bt_framework.data.source import FeedReport
    from bt_plugins.data.binance import Binance, build

    feeds = build(Binance(files=[str(path) for path in files])).feeds()
    chunks = (ordered_chunks(feed, FeedReport(), lambda *_: None, folder) for feed in feeds)
    return sum(len(chunk) for feed_chunks in chunks for chunk in feed_chunks)


def convert(files: list[Path], folder: Path, *, compressed: bool) -> int:
    """Convert `files` with hftbacktest, into its own compressed format or into an uncompressed file."""
    from hftbacktest.data.utils import binancefutures

    n_events = 0
    for i, path in enumerate(files):
        with contextlib.redirect_stdout(io.StringIO()):
            output = str(folder / f"{i}.npz") if compressed else None
            events = binancefutures.convert(str(path), output, buffer_size=1_000_000)
        if not compressed:
            np.save(folder / f"{i}.npy", events)
        n_events += len(events)
    return n_events


def compare(files: list[Path], repeats: int) -> dict[str, object]:
    """Time all ways, in turns, and measure the peaks of memory."""
    ways: dict[str, Callable[[list[Path], Path], int]] = {
        "ingest": ingest,
        "read_and_order": order_only,
        "converter_savez_compressed": lambda f, folder: convert(f, folder, compressed=True),
        "converter_np_save": lambda f, folder: convert(f, folder, compressed=False),
    }
    best_s = dict.fromkeys(ways, float("inf"))
    cpu_s = dict(best_s)
    n_events: dict[str, int] = {}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start_s, start_cpu_s = time.perf_counter(), time.process_time()
                n_events[name] = way(files, Path(folder))
                wall_s, used_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
            if turn:
                best_s[name] = min(best_s[name], wall_s)
                cpu_s[name] = min(cpu_s[name], used_s)
    assert len(set(n_events.values())) == 1, n_events
    rows = n_events["ingest"]
    ratio = {name: round(best_s[name] / best_s["ingest"], 2) for name in ways if name.startswith("converter")}
    peak = peaks(files[0])
    return {
        "files": [path.name for path in files],
        "events": rows,
        "repeats": repeats,
        "best_s": {name: round(s, 4) for name, s in best_s.items()},
        "cpu_s": {name: round(s, 4) for name, s in cpu_s.items()},
        "rows_per_s": {name: round(rows / s) for name, s in best_s.items()},
        "ratio_to": ratio,
        "peak_bytes": peak,
        "peak_ratio_10x": round(peak["10x"] / peak["1x"], 3),
    }


def peaks(path: Path) -> dict[str, int]:
    """Peak resident memory of a process that ingests `path`, and of one that ingests it ten times in a row."""
    with tempfile.TemporaryDirectory() as folder:
        tiled = Path(folder) / f"tiled_{path.name}"
        tile(path, tiled)
        command = [sys.executable, __file__, "--peak-of-ingest"]
        sizes = {}
        for name, file in (("warm-up", path), ("1x", path), ("10x", tiled)):
            output = subprocess.run([*command, str(file)], check=True, capture_output=True, text=True).stdout
            sizes[name] = int(json.loads(output)["peak_bytes"])
    return {name: sizes[name] for name in ("1x", "10x")}


def peak_of_ingest(files: list[Path]) -> dict[str, int]:
    """Peak resident memory of this process after an ingest."""
    with tempfile.TemporaryDirectory() as folder:
        events = ingest(files, Path(folder))
    return {"events": events, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Peak resident memory of this process; not getrusage's on Linux, which starts at the parent's size."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def tile(path: Path, target: Path) -> None:
    """Write the lines of `path` `TILES` times, each time later by its span."""
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    first_ns, last_ns = int(lines[0][:19]), int(lines[-1][:19])
    span_ms = (last_ns - first_ns) // 1_000_000 + 1_000
    with gzip.open(target, "wb", compresslevel=1) as file:
        for i in range(TILES):
            shift_ms = i * span_ms

            def later(match: re.Match[bytes], shift_ms: int = shift_ms) -> bytes:
                return b'"%s":%d' % (match[1], int(match[2]) + shift_ms)

            for line in lines:
                file.write(b"%d" % (int(line[:19]) + shift_ms * 1_000_000) + _TIME.sub(later, line[19:]))


if __name__ == "__main__":
    main()
