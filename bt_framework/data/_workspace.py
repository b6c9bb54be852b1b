"""Safe writing into a shared folder: private temporary folders, locks, and errors that name the folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bt_framework.errors import DataError, StorageError

_LOCK_NAME = ".in_use"
_LEAST_AGE_S = 60.0
"""A younger folder may not have been locked yet by the process that made it."""


@contextmanager
def storage_errors(folder: Path, what: str, inputs: tuple[Path, ...] = ()) -> Iterator[None]:
    """Turn an OSError into a StorageError about `folder`, or a DataError if it is about one of `inputs`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)) in inputs:
            raise DataError(
                f"data file {os.fsdecode(error.filename)} cannot be read: {error.strerror}."
            ) from error
        reason = error.strerror or str(error)
        raise StorageError(
            f"{what} in {folder} failed: {reason}. Free space, make it writable, or choose another folder."
        ) from error


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """Make a folder under ``root/tmp``, on the store's own file system; it is removed on the way out.

    What a killed process left there is removed by the next one: a folder is in use while its lock is held.
    """
    parent = root / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        with open(folder / _LOCK_NAME, "wb") as lock:
            _try_lock(lock)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir():
        try:
            if time.time() - folder.stat().st_mtime > _LEAST_AGE_S and not _is_locked(folder / _LOCK_NAME):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # removed by somebody else, or not ours to look at


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "rb") as lock:
            return not _try_lock(lock)
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock the file `path` against other threads and processes; `on_wait` is called before a wait.

    The system releases it when the process dies. Who comes while others still wait may get in beside them: the
    lock saves work, and nothing depends on it. Where a file system has no locks, nothing is locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        if not _try_lock(file):
            on_wait()
            _lock(file)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the file `path`, which stays, against other threads and processes: one at a time, without exception.

    The system releases it when the process dies. Where a file system has no locks, nothing is locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        if not _try_lock(file):
            _lock(file)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    """Lock `file` if nobody else has it; True also where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _lock(file: IO[bytes]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` at once: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
