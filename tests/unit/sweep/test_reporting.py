"""The thread that follows a sweep's journals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from sweep_folders import SWEEP_ID, planned

from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import JournalReader, Outcome
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.reporting import Reporter


class ClosedPipe:
    """A view whose reader has gone."""

    def __init__(self) -> None:
        self.updates = 0

    def begin(self, folder: SweepFolder, plan: SweepPlan, jobs: Sequence[Job], reader: JournalReader) -> None:
        pass

    def update(self, ended: Sequence[tuple[Job, Outcome]]) -> None:
        self.updates += 1
        raise BrokenPipeError

    def end(self) -> None:
        pass

    def confirm(self, question: str) -> bool:
        return False


def test_when_nobody_reads_any_more_jobs_go_on_and_who_drives_them_is_told_at_the_end(tmp_path: Path) -> None:
    plan, jobs = planned({"seed": ["1", "2"]})
    folder = SweepFolder(tmp_path / SWEEP_ID)
    folder.create(plan, jobs)
    view = ClosedPipe()
    reporter = Reporter(folder, plan, JournalReader(folder.path), view)

    def follow() -> None:
        deadline = time.monotonic() + 20
        with reporter.reporting(jobs):
            while view.updates < 2:  # an exception that ends the thread is an error of the test
                assert time.monotonic() < deadline
                time.sleep(0.02)

    with pytest.raises(BrokenPipeError):
        follow()
