"""What ends a run that uses more than it may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bt_framework
from bt_framework.errors import LimitError, RunStopped
from bt_framework.interrupt import StopSignals
from bt_framework.limits import LimitedStop, resident_bytes
from bt_framework.results.folder import RunFolder


def test_time_counts_from_the_first_slice() -> None:
    begun = []
    stop = LimitedStop(StopSignals(), 1e-9, 0, lambda: begun.append(True))
    assert not stop.received
    stop.defer()
    stop.defer()
    assert begun == [True]
    assert stop.received
    error = stop.error()
    assert isinstance(error, LimitError)
    assert str(error) == "the run took longer than limits.max_seconds=1e-09. Raise it, or give it less to do."


def test_memory_is_that_of_the_process() -> None:
    assert resident_bytes() > 1 << 20
    assert resident_bytes(os.getpid()) > 1 << 20
    assert not LimitedStop(StopSignals(), 0.0, 1 << 40).received
    stop = LimitedStop(StopSignals(), 0.0, 1 << 20)
    assert stop.received
    first, second = str(stop.error()).splitlines()
    assert first.startswith("the run used more memory than limits.max_rss=1,048,576 bytes.")
    assert second.endswith(" bytes resident.")


def test_a_signal_comes_before_limits() -> None:
    signals = StopSignals()
    stop = LimitedStop(signals, 0.0, 0)
    assert not stop.received
    signals._deferred = True
    signals._on_signal(2, None)
    assert stop.received
    assert isinstance(stop.error(), RunStopped)


@pytest.mark.parametrize("limit", ["limits.max_seconds=1e-6", "limits.max_rss=1MB"])
def test_a_single_run_keeps_its_limits_between_its_slices(tmp_path: Path, limit: str) -> None:
    overrides = [
        "+strategy=imbalance",
        "data.duration_ns=10s",
        "console=plain",
        f"runs_dir={tmp_path}",
        limit,
    ]
    with pytest.raises(LimitError, match=limit.partition("=")[0]):
        bt_framework.run(overrides)
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert RunFolder(folder).record().status == "failed"
    assert "limits" not in RunFolder(folder).config()
