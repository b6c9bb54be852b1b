"""The contract of a run store: the index of runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from bt_framework.errors import StorageError, UnknownRunError
from bt_framework.hookspecs import hookimpl
from bt_framework.results.folder import RECORD_FILE, RunFolder
from bt_framework.results.record import RunRecord
from bt_framework.results.run import RunContext, RunSummary, Status


class RunStore(ABC):
    """A run store plugin: what the ``store`` group builds.

    A store knows the runs; their tables stay in their folders. It is told of a run when it starts and when it
    ends. Many processes use one store at once, and a process may be killed at any moment.

    Methods raise `StorageError`, which names the store, if it cannot be read or written.
    """

    @abstractmethod
    def put(self, record: RunRecord) -> None:
        """Insert a run, or replace what is known of it."""

    @abstractmethod
    def find(self, prefix: str, limit: int) -> list[RunRecord]:
        """Runs whose id begins with `prefix`, at most `limit`; one whose id is `prefix` comes first."""

    @abstractmethod
    def list(
        self, limit: int | None = None, strategy: str | None = None, status: Status | None = None
    ) -> list[RunRecord]:
        """Return the newest runs first, at most `limit`, of one strategy or status if asked.

        Runs are as of now: see `latest`.
        """

    @abstractmethod
    def remove(self, run_id: str) -> None:
        """Forget a run, if there is one with this id; its folder stays."""

    def get(self, prefix: str) -> RunRecord:
        """Return the run with the id `prefix`, or the only one whose id begins with it.

        Raises
        ------
        UnknownRunError
            If there is none, or several.
        """
        found = self.find(prefix, limit=6) if prefix else []
        if not found:
            raise UnknownRunError(f"no run has the id {prefix!r}. List them with: bt runs")
        if len(found) > 1 and found[0].run_id != prefix:
            ids = ", ".join(record.run_id for record in found[:5]) + (", ..." if len(found) > 5 else "")
            raise UnknownRunError(f"the id {prefix!r} must name one run, but begins several: {ids}.")
        return found[0]

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Insert the run."""
        self.put(RunRecord.started(run))

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Keep how the run ended."""
        self.put(RunFolder(run.run_dir).record())

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Keep how the run ended."""
        self.put(RunFolder(run.run_dir).record())


def latest(record: RunRecord) -> RunRecord:
    """What is true now of a run that a store knows as `record`.

    A run still marked running whose process is gone is lost, unless its folder says how it ended: a process
    can be killed between its last two writes.
    """
    known = record.as_of_now()
    if known.status != Status.LOST:
        return known
    try:
        return RunFolder(record.run_dir).record()
    except StorageError:
        return known


def reindex(store: RunStore, runs_dir: Path) -> tuple[list[RunRecord], list[str]]:
    """Tell `store` of every run folder in `runs_dir`.

    Returns
    -------
    records : list of RunRecord
        What was put.
    problems : list of str
        One line per folder whose run.json cannot be read.

    Raises
    ------
    StorageError
        If `runs_dir` or the store cannot be used.
    """
    try:
        folders = sorted(path.parent for path in runs_dir.glob(f"*/{RECORD_FILE}"))
    except OSError as error:
        raise StorageError(f"{runs_dir} cannot be read: {error.strerror}.") from error
    records, problems = [], []
    for path in folders:
        try:
            record = RunFolder(path).record()
        except StorageError as error:
            problems.append(str(error))
            continue
        store.put(record)
        records.append(record)
    return records, problems
