"""Mapped files of events: one mapping per file and process, for all threads that read it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

_Key = tuple[str, int, int, int]

_SMALL_BYTES = 32 << 20
_KEPT = 4

_mappings: WeakValueDictionary[_Key, np.ndarray[Any, Any]] = WeakValueDictionary()
"""A mapping lives as long as somebody reads it."""

_recent: OrderedDict[_Key, np.ndarray[Any, Any]] = OrderedDict()
"""The last small ones live on for the next run: to map a file again costs as much as a tenth of its simulation."""

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
        if found.nbytes <= _SMALL_BYTES:
            _recent[key] = found
            _recent.move_to_end(key)
            if len(_recent) > _KEPT:
                _recent.popitem(last=False)
        return found
