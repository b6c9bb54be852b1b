"""Mapped files of events: one mapping per file and process, for all threads that read it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

_Key = tuple[str, int, int, int]

_mappings: WeakValueDictionary[_Key, np.ndarray[Any, Any]] = WeakValueDictionary()
"""A mapping lives as long as somebody reads it."""

_lock = threading.Lock()


def mapped(path: Path) -> np.ndarray[Any, Any]:
    """Map the .npy file `path`, read-only; what another thread has mapped already is shared.

    Its content must be final: files of the store are named after theirs, and a rebuilt one is another file.
    """
    with _lock:
        stat = os.stat(path)
        key = (str(path), stat.st_dev, stat.st_ino, stat.st_size)
        found = _mappings.get(key)
        if found is None:
            found = _mappings[key] = np.load(path, mmap_mode="r")
        return found
