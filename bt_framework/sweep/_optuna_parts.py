"""What Optuna calls: a study in one file that survives processes killed while they write, and points of a grid."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from typing import Any

from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


class KernelLock(JournalFileOpenLock):
    """A lock that the system releases when its process ends; Optuna's own ones stay behind for half a minute.

    Storages of one process exclude each other too, since each opens the file anew.

    Parameters
    ----------
    path : str
        The file that is locked.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self._file = -1

    def acquire(self) -> bool:
        """Wait for the lock, and cut off a line that was never finished."""
        file = os.open(self._path, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            tail = os.pread(file, size, 0) if size and os.pread(file, 1, size - 1) != b"\n" else b""
            if tail:
                os.ftruncate(file, tail.rfind(b"\n") + 1)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Release the lock."""
        os.close(self._file)


def journal_storage(path: str) -> JournalStorage:
    """Return the storage in the file at `path`, which is made if it is not there."""
    return JournalStorage(JournalFileBackend(path, KernelLock(path)))


class GridPoint(RandomSampler):
    """Takes the values of one point of a grid.

    Parameters
    ----------
    point : mapping
        Each parameter's value, as Optuna knows it.
    """

    def __init__(self, point: Mapping[str, Any]) -> None:
        super().__init__()
        self._point = point

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Return the value of the point."""
        return self._point[param_name]
