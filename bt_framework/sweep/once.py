"""Jobs of equal identity, such as those that differ in a note, run once: one runs, the others wait and reuse it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bt_framework.interrupt import Stop
from bt_framework.results.run import Identity

_POLL_S = 0.05


class OnceEach:
    """Holds identities against other threads and processes of the sweep.

    Parameters
    ----------
    path : Path or None
        File on which processes hold a byte for each identity; None if they share no folder.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None
        self._held: set[Identity] = set()
        self._changed = threading.Condition()

    @contextmanager
    def held(self, identity: Identity, stop: Stop) -> Iterator[None]:
        """Wait until nobody else runs `identity`, or `stop` says to end."""
        with self._changed:
            while identity in self._held and not stop.received:
                self._changed.wait(_POLL_S)
            mine = identity not in self._held
            self._held.add(identity)
        try:
            with self._alone_in_processes(identity, stop):
                yield
        finally:
            if mine:
                with self._changed:
                    self._held.discard(identity)
                    self._changed.notify_all()

    @contextmanager
    def _alone_in_processes(self, identity: Identity, stop: Stop) -> Iterator[None]:
        import fcntl

        # The system lets go of what a process held that was killed.
        digest = hashlib.sha256("".join(map(str, dataclasses.astuple(identity))).encode()).digest()
        byte = int.from_bytes(digest[:7])
        file = self._opened()
        while file is not None and not stop.received:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
                break
            except BlockingIOError:
                time.sleep(_POLL_S)
            except OSError:  # a file system without locks
                file = None
        try:
            yield
        finally:
            if file is not None:
                with suppress(OSError):
                    fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)

    def _opened(self) -> int | None:
        with self._changed:
            if self._file is None and self._path is not None:
                with suppress(OSError):
                    self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            return self._file
