"""Reading and ordering give the same without the JIT, and with bounds checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_binance_reader import agg_trade, book_ticker, depth, line, trade

pytestmark = pytest.mark.usefixtures("own_cache")

READ = """
import sys
from hashlib import sha256
from pathlib import Path
from bt_plugins.data.binance import Binance, build
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport

path = Path(sys.argv[1])
for options in ({}, {"book_ticker": "bbo", "trade_stream": "aggTrade"}):
    (feed,) = build(Binance(files=[str(path)], max_malformed_lines=1_000_000, **options)).feeds()
    report = FeedReport()
    chunks = ordered_chunks(feed, report, lambda *_: None, path.parent, chunk_rows=100)
    print(sha256(b"".join(chunk.tobytes() for chunk in chunks)).hexdigest(), report)
"""


def write_mixture(path: Path) -> Path:
    """Every kind of line, each cut at many places, with both clocks stepping back."""
    lines = []
    for i, message in enumerate([depth(), depth(pu=None, T=None), trade(), agg_trade(), book_ticker()] * 12):
        message["E"] += 10 * i - 35 * (i % 3)
        message["T"] = message["E"] - 1
        text = line(message, 1_723_161_256_300_000_000 + 7_000_000 * (i - 3 * (i % 2)))
        lines += [text, text[: 23 + 3 * i] + "\n"]
    path.write_text("".join(lines))
    return path


@pytest.mark.long
def test_the_events_are_the_same_without_the_jit_and_with_bounds_checks(tmp_path: Path) -> None:
    path = write_mixture(tmp_path / "stream")
    outputs = [
        subprocess.run(
            [sys.executable, "-c", READ, str(path)],
            env=os.environ | mode,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for mode in ({}, {"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_BOUNDSCHECK": "1"})
    ]
    assert outputs[0].count("malformed") == 4
    assert "'exch_disorder_ns': 0" not in outputs[0]
    assert outputs[0] == outputs[1] == outputs[2]
