"""The folder of a sweep.

::

    plan.json        what is planned, see `bt_framework.sweep.plan.SweepPlan`
    jobs.jsonl       the jobs, one per line; all of them before the first one starts, if the plan is complete
    journal/         what became of them: one file per process, see `bt_framework.sweep.journal`
    errors/JOB.txt   overrides, message and traceback of a job that has failed
    stop             is there while its workers are to end
    table.parquet    one row per job, see `bt_framework.sweep.table`
    runs.parquet     which runs they are, who ran them and when
    profile.parquet  where time and memory went, with profile=true, see `bt_framework.sweep.profile`
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bt_framework.errors import StorageError
from bt_framework.results.folder import replacing
from bt_framework.sweep.plan import PLAN_VERSION, Job, SweepPlan

PLAN_FILE = "plan.json"
JOBS_FILE = "jobs.jsonl"
TABLE_FILE = "table.parquet"
STOP_FILE = "stop"
ERRORS_FOLDER = "errors"


class SweepFolder:
    """Reads and writes what a sweep leaves.

    Parameters
    ----------
    path : Path
        The sweep's folder, called as its id.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()

    def create(self, plan: SweepPlan, jobs: Sequence[Job]) -> None:
        """Write the plan; the folder is that of a sweep once plan.json is there.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise StorageError(
                f"sweep folder {self.path} cannot be made: {error.strerror}. Choose another sweep.dir."
            ) from error
        with replacing(self.path / JOBS_FILE, "sweep.dir") as file:
            file.writelines(_line(job) for job in jobs)
        self.put_plan(plan)

    def put_plan(self, plan: SweepPlan) -> None:
        """Write the plan, instead of one that is there.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        import orjson

        with replacing(self.path / PLAN_FILE, "sweep.dir") as file:
            file.write(orjson.dumps(dataclasses.asdict(plan), option=orjson.OPT_INDENT_2))

    def plan(self) -> SweepPlan:
        """Read plan.json.

        Raises
        ------
        StorageError
            If there is none, it cannot be read, or it was written by another version.
        """
        import orjson

        path = self.path / PLAN_FILE
        try:
            values = orjson.loads(path.read_bytes())
            if values["version"] != PLAN_VERSION:
                raise StorageError(
                    f"{path} must be of version {PLAN_VERSION}, was {values['version']}. Go on with the release "
                    "that wrote it, or start the sweep anew."
                )
            return SweepPlan.of_plain(values)
        except FileNotFoundError:
            raise StorageError(f"{self.path} is no sweep folder: it has no {PLAN_FILE}.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} cannot be read: {error}. Restore it, or start the sweep anew."
            ) from error

    def jobs(self) -> list[Job]:
        """Read the jobs.

        Raises
        ------
        StorageError
            If they cannot be read.
        """
        import orjson

        path = self.path / JOBS_FILE
        try:
            # What follows the last line was cut off when its process was killed.
            lines = path.read_bytes().split(b"\n")[:-1]
            return [Job.of_plain(orjson.loads(line), number) for number, line in enumerate(lines)]
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"{path} cannot be read: {error}. Restore it, or start the sweep anew."
            ) from error

    def add_jobs(self, jobs: Iterable[Job]) -> None:
        """Append jobs to a plan that is not complete.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        path = self.path / JOBS_FILE
        try:
            with open(path, "r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
                file.seek(0, os.SEEK_END)
                file.writelines(_line(job) for job in jobs)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}. Free space there.") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the sweep against other processes that would drive it too.

        Raises
        ------
        StorageError
            If one does.
        """
        import fcntl

        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StorageError(
                f"sweep {self.path.name} is under way in another process. Wait for it, or stop it."
            ) from None
        try:
            yield
        finally:
            os.close(handle)


def sweep_folders(folder: Path) -> list[SweepFolder]:
    """Return the sweeps in `folder`, oldest first."""
    return [SweepFolder(path.parent) for path in sorted(folder.glob(f"*/{PLAN_FILE}"))]


def _line(job: Job) -> bytes:
    import orjson

    return orjson.dumps(dataclasses.asdict(job)) + b"\n"
