"""Reading and ordering take the same memory however long the input is."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("own_cache")

MEASURE = """
import sys
from pathlib import Path
from bt_plugins.data.binance import Binance, build
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport

(feed,) = build(Binance(files=[sys.argv[1]])).feeds()
spool_dir = Path(sys.argv[1]).parent
events = sum(len(chunk) for chunk in ordered_chunks(feed, FeedReport(), lambda *_: None, spool_dir))
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(events, peak.split()[1])
"""

LEVELS = ",".join(f'["{60_000 + i}.50","0.{i:03d}"]' for i in range(20))
LINES = 8_000


def write_stream(path: Path, lines: int) -> Path:
    with gzip.open(path, "wt", compresslevel=1) as file:
        for i in range(lines):
            exch_ms = 1_723_161_256_000 + 3 * i - 7 * (i % 5)
            file.write(
                f'{(1_723_161_256_500 + 3 * i) * 1_000_000} {{"e":"depthUpdate","E":{exch_ms},"T":{exch_ms},'
                f'"s":"BTCUSDT","U":{10 * i + 1},"u":{10 * i + 10},"pu":{10 * i},"b":[{LEVELS}],"a":[]}}\n'
            )
    return path


def events_and_peak_kb(path: Path) -> tuple[int, int]:
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    ).stdout
    events, peak_kb = output.split()
    return int(events), int(peak_kb)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_ten_times_the_input_has_the_same_peak_of_memory(tmp_path: Path) -> None:
    events_and_peak_kb(write_stream(tmp_path / "warm-up", 10))  # so that no process measured compiles
    events, peak_kb = events_and_peak_kb(write_stream(tmp_path / "1x", LINES))
    more_events, more_peak_kb = events_and_peak_kb(write_stream(tmp_path / "10x", 10 * LINES))
    assert events >= 20 * LINES
    assert more_events >= 10 * 20 * LINES
    assert more_peak_kb < 1.1 * peak_kb
