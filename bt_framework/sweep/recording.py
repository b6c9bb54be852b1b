"""Tells stores of a sweep: that it has started, and what became of its jobs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.compose import spoken
from bt_framework.errors import BtError, StorageError
from bt_framework.registry import Kind
from bt_framework.results.run import Status
from bt_framework.stores.base import RunStore
from bt_framework.stores.sweeps import SweepKeeper, SweepRow
from bt_framework.sweep.examples import example
from bt_framework.sweep.folder import TABLE_FILE, SweepFolder
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.table import RUNS_FILE, status_of, with_runs

if TYPE_CHECKING:
    from bt_framework.config.compose import Composition
    from bt_framework.config.variants import VariantComposer


@contextmanager
def recorded(folder: SweepFolder, composer: VariantComposer) -> Iterator[None]:
    """Tell the store, and the writers that keep sweeps, of the sweep in `folder` around the block that runs it.

    They are those of its first job. What they are told at the end is what the table in the folder says.

    Raises
    ------
    StorageError
        If one cannot be written: before the block, or after it if that ended well. Of a sweep that was stopped it is
        a warning.
    """
    keepers, row = _told(folder, composer)
    try:
        with ExitStack() as stack:
            for keeper in keepers:
                if isinstance(keeper, RunStore):
                    stack.enter_context(keeper.kept_open())
            yield
    except BaseException:
        try:
            _finish(folder, keepers, row)
        except FileNotFoundError:
            pass  # there is no table yet
        except (BtError, OSError) as error:
            print(f"bt: warning: {error}", file=sys.stderr, flush=True)
        raise
    _finish(folder, keepers, row)


def create_recorded(
    folder: SweepFolder, plan: SweepPlan, jobs: Sequence[Job], composer: VariantComposer
) -> None:
    """Make the folder of a sweep and tell its keepers; nothing is left if one of them cannot be told.

    Raises
    ------
    StorageError
        If the folder, or what a keeper keeps, cannot be written.
    """
    folder.create(plan, jobs)
    try:
        _told(folder, composer)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        with suppress(OSError):  # it holds other sweeps
            folder.path.parent.rmdir()
        raise


def _told(folder: SweepFolder, composer: VariantComposer) -> tuple[list[SweepKeeper], SweepRow]:
    """Tell the keepers that the sweep has started; return them and what they were told."""
    plan, jobs = folder.plan(), folder.jobs()
    _, composition = example(composer, plan, jobs)
    keepers = _keepers(composition)
    row = SweepRow(
        sweep_id=plan.sweep_id,
        started_at_ns=plan.created_at_ns,
        finished_at_ns=0,
        status=Status.RUNNING,
        overrides=tuple(spoken(plan.command, composition.host)),
        jobs=len(jobs),
        note=composition.settings.note,
    )
    for keeper in keepers:
        keeper.put_sweep(row)
    return keepers, row


def _keepers(composition: Composition) -> list[SweepKeeper]:
    writers = [choice.build() for choice in composition.many(Kind.WRITER)]
    store_dir = Path(composition.settings.store_dir)
    further = [w.sweep_keeper(store_dir) for w in writers if hasattr(w, "sweep_keeper")]
    return [composition.one(Kind.STORE).build(), *further]


def _finish(folder: SweepFolder, keepers: Sequence[SweepKeeper], row: SweepRow) -> None:
    """Tell the keepers what the table says.

    Raises
    ------
    StorageError
        If one cannot be told; the others have been.
    """
    import pyarrow.parquet as pq

    table, runs = (pq.ParquetFile(folder.path / name).read() for name in (TABLE_FILE, RUNS_FILE))
    status = status_of(table)
    if status is Status.RUNNING:  # workers elsewhere go on, and nobody drives them
        status = Status.STOPPED
    done = replace(row, finished_at_ns=time.time_ns(), status=status, jobs=table.num_rows)
    problems = []
    for keeper in keepers:
        try:
            keeper.put_sweep(done)
            keeper.put_sweep_jobs(row.sweep_id, with_runs(table, runs))
        except BtError as error:
            problems.append(str(error))
    if problems:
        raise StorageError(
            f"{' '.join(problems)} The sweep's table is in {folder.path}; bring it in with: bt sweep resume "
            f"{row.sweep_id}"
        )
