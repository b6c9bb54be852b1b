"""The doctor and the repair say the same without the JIT, and with bounds checks: a few defects of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bt_framework.data.doctor import Doctor
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.repair import RepairedFeed
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_S

BOTH = EventFlag.EXCH | EventFlag.LOCAL


def damaged_levels() -> np.ndarray:
    events = clean_events(200)
    events["px"][100:160] = 990.0
    events["px"][160] = 990.05
    events["qty"][200] = -1.0
    events["px"][np.flatnonzero((events["ev"] & np.uint64(0xFF)) == EventKind.TRADE)[-2]] = 1_100.0
    events["exch_ts"][300] -= NS_PER_S
    events["local_ts"][400:] += 20 * NS_PER_S
    events["ev"][500:503] &= ~np.uint64(BOTH)
    return events


def damaged_orders() -> np.ndarray:
    rng = np.random.default_rng(3)
    rows = []
    for i in range(300):
        kind = (EventKind.ADD_ORDER, EventKind.CANCEL_ORDER, EventKind.MODIFY_ORDER, EventKind.FILL)[
            int(rng.integers(4)) if i > 20 else 0
        ]
        side = EventFlag.BUY if rng.random() < 0.5 else EventFlag.SELL
        px, ts = float(rng.integers(90, 110)), START_TS + i
        rows.append((int(BOTH | side | kind), ts, ts + 5, px, 1.0, int(rng.integers(40)) * 4_096, 0, 0.0))
    rows.append((int(BOTH | EventKind.DEPTH_CLEAR), START_TS + 300, START_TS + 305, 0.0, 0.0, 0, 0, 0.0))
    return np.array(rows, EVENT)


def said(folder: Path) -> str:
    """Everything that is found and changed."""
    lines = []
    for events, tick_size in ((damaged_levels(), 0.1), (damaged_orders(), 1.0)):
        doctor = Doctor(KnownSizes(None, None, 1.0, "inferred", "inferred"))
        for start in range(0, len(events), 97):
            doctor.examine(events[start : start + 97])
        doctor.finish()
        lines += [repr(finding) for finding in doctor.findings(FeedReport(), None)]
        lines += [repr(doctor.touch_px()), repr(doctor.timing("TEST"))]
        report = FeedReport()
        mended = RepairedFeed(ArrayFeed(events, tick_size=tick_size))
        chunks = ordered_chunks(mended, report, lambda done, total: None, folder)
        lines += [chunk.tobytes().hex() for chunk in chunks]
        lines.append(repr(report.notes["repairs"]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "mode", ["NUMBA_DISABLE_JIT", pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.long)]
)
def test_the_doctor_and_the_repair_say_the_same_in_every_mode(mode, tmp_path):
    script = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
    script += "from test_doctor_modes import said; print(said(Path(sys.argv[2])), end='')"
    out = subprocess.run(
        [sys.executable, "-c", script, os.path.dirname(__file__), str(tmp_path)],
        env=os.environ | {mode: "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    expected = said(tmp_path)
    for check in (
        "crossed book",
        "gaps",
        "negative sizes",
        "missing flags",
        "unknown order ids",
        "duplicate order ids",
    ):
        assert check in expected
    assert out == expected
