"""Features on disk, content-addressed.

Layout, under the event store's folder::

    features/<ab>/<key>/feature.json    what it is, and the hashes of its arrays; its time is that of the last use
    features/<ab>/<key>/<name>.npy      an array, ready to be mapped
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data._workspace import locked, storage_errors, workspace, write_json
from bt_framework.errors import ConfigError, PluginError
from bt_framework.features.feature import Feature, Input

MAX_GB_VARIABLE = "BT_FEATURES_MAX_GB"
DEFAULT_MAX_GB = 5.0
_RECORD = "feature.json"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class _Held:
    """The record of a feature, open: as long as it is, nobody removes the feature."""

    def __init__(self, folder: Path) -> None:
        import fcntl

        file = os.open(folder / _RECORD, os.O_RDONLY)
        self.close = weakref.finalize(self, os.close, file)
        fcntl.flock(file, fcntl.LOCK_SH)
        self._file = file

    def record(self) -> dict[str, Any]:
        """Return its content; ValueError if it is none."""
        with open(self._file, "rb", closefd=False) as file:
            known: dict[str, Any] = json.loads(file.read())
        return known


@dataclass(frozen=True)
class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a feature, float64, mapped; the feature is not removed while this is alive.

    What is written into them stays in the memory of who does: kernels may be given them.

    Attributes
    ----------
    key : str
        Of the feature.
    """

    key: str
    arrays: Mapping[str, np.ndarray]
    _held: _Held

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array."""
        return self.arrays[name]

    def __iter__(self) -> Any:
        """Iterate over the names."""
        return iter(self.arrays)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.arrays)


@dataclass(frozen=True)
class Stored:
    """What is known of a feature that is kept.

    Attributes
    ----------
    size_bytes : int
        Of its arrays.
    seconds : float
        What computing it took.
    used_at_ns : int
        Last use, wall clock, ns UTC.
    """

    key: str
    name: str
    params: Mapping[str, Any]
    size_bytes: int
    seconds: float
    used_at_ns: int


class FeatureCache:
    """Features under one folder; many threads and processes may use it at once.

    Parameters
    ----------
    root : Path
        The event store's folder.
    max_bytes : int, optional
        Limit for all of them; those used longest ago are removed, except if they are in use. From
        ``$BT_FEATURES_MAX_GB``, otherwise 5 GB.
    """

    def __init__(self, root: Path, max_bytes: int | None = None) -> None:
        self.root = root
        self.max_bytes = _max_bytes() if max_bytes is None else max_bytes

    def load(self, feature: Feature, inputs: Mapping[str, Input], params: Mapping[str, Any]) -> Arrays:
        """Return the arrays of a feature; whoever comes first computes them, the others wait.

        Raises
        ------
        PluginError
            If what it computes are no float64 arrays with plain names.
        StorageError
            If the folder cannot be written.
        """
        key = feature.key(inputs, params)
        with storage_errors(self.root, f"storing the feature {feature.name}"):
            found = self._find(key)
            if found is None:
                with locked(self.root / "locks" / f"feature-{key}", lambda: None):
                    found = self._find(key) or self._made(key, feature, inputs, params)
        return found

    def stored(self) -> list[Stored]:
        """Return what is kept, that used longest ago first."""
        found = []
        for path in (self.root / "features").glob(f"*/*/{_RECORD}"):
            with suppress(OSError, ValueError, KeyError):
                known = json.loads(path.read_bytes())
                size = sum(array["bytes"] for array in known["arrays"].values())
                used = path.stat().st_mtime_ns
                facts = (known["name"], known["params"], size, known["seconds"], used)
                found.append(Stored(path.parent.name, *facts))
        return sorted(found, key=lambda stored: stored.used_at_ns)

    def remove(self, key: str) -> bool:
        """Remove a feature unless it is in use; return whether it is gone."""
        import fcntl

        record = self._folder(key) / _RECORD
        with suppress(FileNotFoundError), open(record, "rb") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not os.path.samestat(os.fstat(held.fileno()), record.stat()):
                return False  # removed and made again meanwhile, by somebody who uses it
            with workspace(self.root) as work:  # which takes it along when it goes
                os.replace(self._folder(key), work / key)
        return True

    def evict(self) -> None:
        """Remove features, those used longest ago first, until the rest fits `max_bytes`."""
        stored = self.stored()
        total = sum(one.size_bytes for one in stored)
        for one in stored:
            if total <= self.max_bytes:
                return
            if self.remove(one.key):
                total -= one.size_bytes

    def _find(self, key: str) -> Arrays | None:
        """Map a feature that is there and whole; remove one that is not."""
        folder = self._folder(key)
        try:
            held = _Held(folder)
        except FileNotFoundError:
            return None
        try:
            arrays = _arrays(folder, held)
            with suppress(PermissionError):  # another user's store: not ours to mark as used
                os.utime(folder / _RECORD)
        except (OSError, ValueError, KeyError, TypeError):
            held.close()
            self.remove(key)
            return None
        return Arrays(key, arrays, held)

    def _made(
        self, key: str, feature: Feature, inputs: Mapping[str, Input], params: Mapping[str, Any]
    ) -> Arrays:
        """Compute a feature and put it into its place at once: a process that is killed leaves nothing there."""
        began = time.perf_counter()
        computed = feature.compute({name: given.open() for name, given in inputs.items()}, params)
        arrays = {name: _checked(feature, name, values) for name, values in computed.items()}
        seconds = time.perf_counter() - began
        with workspace(self.root) as work:
            draft = work / key
            draft.mkdir()
            written = {name: _write(draft / f"{name}.npy", values) for name, values in arrays.items()}
            known = {"name": feature.name, "params": params, "seconds": seconds, "arrays": written}
            known["inputs"] = {name: given.content_hash for name, given in inputs.items()}
            write_json(draft / _RECORD, known)
            held = _Held(draft)
            made = Arrays(key, _arrays(draft, held), held)  # before others see it, and may replace it
            self._place(draft)
        self.evict()
        return made

    def _place(self, draft: Path) -> None:
        """Move a feature to where it belongs, and away what is there: damaged, or made by somebody else meanwhile."""
        folder = self._folder(draft.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                os.replace(draft, folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                return
            with suppress(FileNotFoundError):
                os.replace(folder, tempfile.mkdtemp(dir=draft.parent))

    def _folder(self, key: str) -> Path:
        return self.root / "features" / key[:2] / key


def _arrays(folder: Path, held: _Held) -> dict[str, np.ndarray]:
    """Map the arrays that a record speaks of; ValueError if one is not what was written."""
    known = held.record()
    return {name: _mapped(folder / f"{name}.npy", of["sha256"]) for name, of in known["arrays"].items()}


def _checked(feature: Feature, name: str, values: np.ndarray) -> np.ndarray:
    if not _NAME.fullmatch(name) or not isinstance(values, np.ndarray) or values.dtype != np.float64:
        what = getattr(values, "dtype", type(values).__name__)
        raise PluginError(
            f"feature {feature.name!r} must compute float64 arrays with names of small letters, digits and '_', was "
            f"{name!r} of {what}."
        )
    return np.ascontiguousarray(values)


def _write(path: Path, values: np.ndarray) -> dict[str, Any]:
    with open(path, "wb") as file:
        np.save(file, values, allow_pickle=False)
    stat = path.stat()
    return {"sha256": _digest(str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size), "bytes": stat.st_size}


def _mapped(path: Path, sha256: str) -> np.ndarray:
    """Map an array; ValueError if it is not what was written."""
    stat = path.stat()
    file = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if _digest(*file) != sha256:
        raise ValueError(f"{path} is damaged")
    offset, shape = _layout(*file)
    return np.memmap(str(path), np.float64, "c", offset, shape)


@lru_cache(maxsize=1024)
def _digest(path: str, inode: int, mtime_ns: int, size: int) -> str:
    """SHA-256 of a file; once per process while it is untouched."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1024)
def _layout(path: str, inode: int, mtime_ns: int, size: int) -> tuple[int, tuple[int, ...]]:
    """Where an array begins in its file, bytes, and its shape; likewise."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array.offset, array.shape


def _max_bytes() -> int:
    text = os.environ.get(MAX_GB_VARIABLE, "")
    try:
        limit = float(text) if text else DEFAULT_MAX_GB
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise ConfigError(f"${MAX_GB_VARIABLE} must be a number of gigabytes >= 0, was {text!r}.")
    return int(limit * 1e9)
