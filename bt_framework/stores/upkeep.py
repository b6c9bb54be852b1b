"""Runs are labelled and removed: in their folders and in the store that knows them.

A store's ``run_dir`` may have been written by somebody else. A folder is touched only if its run.json has the run's
id, and removed only if it lies in the folder of run folders that the user has chosen.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bt_framework.errors import StorageError
from bt_framework.results.folder import CONFIG_FILE, PARTS_FOLDER, RECORD_FILE, RunFolder, amend, folder_bytes
from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES, Status
from bt_framework.stores.base import RunQuery, RunStore
from bt_framework.units import NS_PER_S

LEAST_AGE_NS = 60 * NS_PER_S
"""A younger folder without run.json may be that of a run that starts just now."""

_REMOVED = ".removed"
_DRAFT = ".draft"


@dataclass(frozen=True)
class Removal:
    """What goes.

    Attributes
    ----------
    why : str
        For people.
    run_id : str
        Run to forget; empty for a folder that is of no run.
    folder : Path, optional
        Folder to remove, with everything in it.
    size_bytes : int
        Of its files.
    """

    why: str
    run_id: str
    folder: Path | None
    size_bytes: int


def own_folder(record: RunRecord) -> RunFolder | None:
    """Return the run's folder, if it is on this machine and its run.json is that of the run."""
    folder = RunFolder(record.run_dir)
    try:
        found = folder.stored()
    except StorageError:
        return None
    return folder if found.run_id == record.run_id and not folder.path.is_symlink() else None


def label(
    store: RunStore, record: RunRecord, *, tags: Sequence[str] | None = None, note: str | None = None
) -> None:
    """Replace the tags or the note of a run, in its folder, if it is there, and in the store.

    Raises
    ------
    StorageError
        If one of them cannot be written.
    """
    changes = {} if tags is None else {"tags": tuple(tags)}
    folder = own_folder(record)
    if folder is not None:
        amend(folder.path, **changes, **({} if note is None else {"note": note}))
    store.edit(record.run_id, tags=tags, note=note)


def removal(record: RunRecord, runs_dir: Path, *, force: bool = False) -> Removal:
    """Return what goes if `record` is removed.

    Raises
    ------
    StorageError
        If the run is under way, unless `force` is given, or its folder lies outside of `runs_dir`.
    """
    if record.status == Status.RUNNING and not force:
        process = record.process
        raise StorageError(
            f"run {record.run_id} is under way (process {process.pid} on {process.host}). Stop it, or give --force."
        )
    folder = own_folder(record)
    if folder is None:
        return Removal(str(record.status), record.run_id, None, 0)
    if not _lies_in(folder.path, runs_dir):
        raise StorageError(
            f"run {record.run_id} lies in {folder.path.parent}, outside of {runs_dir}. "
            f"Say so to remove it: runs_dir={folder.path.parent}"
        )
    return Removal(str(record.status), record.run_id, folder.path, folder_bytes(folder.path))


def garbage(store: RunStore, runs_dir: Path, older_than_ns: int) -> list[Removal]:
    """Return what `bt runs gc` removes.

    Runs in `runs_dir` that failed or are lost, runs whose folder there is gone and of which the store has no rows, and
    folders that a killed process left without a run.json; all of them older than `older_than_ns`.

    Raises
    ------
    StorageError
        If the store or `runs_dir` cannot be read.
    """
    if not runs_dir.is_dir():
        return []
    before_ns = time.time_ns() - older_than_ns
    found: dict[str, Removal] = {}
    runs, rest = _folders(runs_dir)
    for record in (*runs, *store.select(RunQuery())):
        ended_ns = record.finished_at_ns or record.started_at_ns
        if record.run_id in found or ended_ns > before_ns:
            continue
        if record.status in (Status.FAILED, Status.LOST) and _lies_in(record.run_dir, runs_dir):
            found[record.run_id] = removal(record, runs_dir)
        elif _is_orphan(record, store, runs_dir):
            found[record.run_id] = Removal("folder is gone", record.run_id, None, 0)
    return [*found.values(), *(r for r in map(_left_over, rest) if r and _is_old(r.folder, before_ns))]


def remove(store: RunStore, doomed: Removal) -> None:
    """Remove a run or a folder; interrupted at any point, `bt runs gc` finds the rest.

    Raises
    ------
    StorageError
        If the store or the folder cannot be written.
    """
    gone = doomed.folder
    try:
        if gone is not None and not gone.name.endswith(_REMOVED):
            gone = gone.rename(gone.with_name(f".{gone.name}{_REMOVED}"))
        if doomed.run_id:
            store.remove(doomed.run_id)
        if gone is not None:
            shutil.rmtree(gone)
    except OSError as error:
        raise StorageError(f"{doomed.folder} cannot be removed: {error.strerror}.") from error


def _lies_in(path: Path, runs_dir: Path) -> bool:
    """Whether `path` is directly in `runs_dir`, wherever links lead."""
    return not path.is_symlink() and path.resolve().parent == runs_dir.resolve()


def _folders(runs_dir: Path) -> tuple[list[RunRecord], list[Path]]:
    """Return the runs in `runs_dir`, and the folders that are none."""
    runs, rest = [], []
    try:
        with os.scandir(runs_dir) as entries:
            paths = sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError as error:
        raise StorageError(f"{runs_dir} cannot be read: {error.strerror}.") from error
    for path in paths:
        try:
            if path.name.endswith(_REMOVED):
                raise StorageError("half removed")
            runs.append(RunFolder(path).record())
        except StorageError:
            rest.append(path)
    return runs, rest


def _is_orphan(record: RunRecord, store: RunStore, runs_dir: Path) -> bool:
    """Whether nothing is left of a run of this machine but its row."""
    here = record.process.host == platform.node() and record.status != Status.RUNNING
    gone = _lies_in(record.run_dir, runs_dir) and not record.run_dir.exists()
    return here and gone and not store.tables(record.run_id)


def _left_over(folder: Path) -> Removal | None:
    """Return a folder that holds nothing but what runs leave, and no run.json; None if it is somebody else's."""
    if folder.name.startswith(".") and folder.name.endswith(_REMOVED):
        return Removal("half removed", "", folder, folder_bytes(folder))
    own = {CONFIG_FILE, PARTS_FOLDER, *(f"{table}.parquet" for table in TABLES)}
    names = {path.name for path in folder.iterdir()}
    if RECORD_FILE in names or not names or any(n not in own and not n.endswith(_DRAFT) for n in names):
        return None
    return Removal("never started", "", folder, folder_bytes(folder))


def _is_old(folder: Path | None, before_ns: int) -> bool:
    youngest_ns = time.time_ns() - LEAST_AGE_NS
    return folder is not None and folder.stat().st_mtime_ns <= min(before_ns, youngest_ns)
