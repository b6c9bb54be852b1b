"""What the process that does the work tells its supervisor."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from bt_framework.results.process import this_process
from bt_framework.sweep.supervisor import MARK

_PR_SET_PDEATHSIG = 1


class Link:
    """The pipe to the supervisor; made in the main thread.

    Parameters
    ----------
    mark : str
        Value of the environment variable `MARK`: process id of the supervisor, pipe, and the sweep to go on with.
    """

    def __init__(self, mark: str) -> None:
        supervisor, pipe, sweep = mark.split(" ", 2)
        self._pipe = int(pipe)
        os.set_inheritable(self._pipe, False)
        os.set_blocking(self._pipe, False)  # Python insists, since it writes there that a signal has come
        signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)
        self.goes_on = Path(json.loads(sweep)["folder"]) if sweep else None
        self._lock = threading.RLock()  # a signal's handler may tell as well
        _end_with(int(supervisor))

    @classmethod
    def from_environment(cls) -> Link | None:
        """Take the link from the environment, if there is one, so that no other process does."""
        mark = os.environ.pop(MARK, None)
        return None if mark is None else cls(mark)

    def tell(self, line: str) -> None:
        """Tell a line; see `bt_framework.sweep.watch`."""
        content = line.encode() + b"\n"
        with self._lock, suppress(BrokenPipeError):  # the supervisor may be gone
            while content:
                try:
                    content = content[os.write(self._pipe, content) :]
                except BlockingIOError:
                    select.select([], [self._pipe], [])

    def sweep(self, folder: Path) -> None:
        """Tell which sweep this process works on."""
        said = {"folder": str(folder), "process": dataclasses.asdict(this_process())}
        self.tell(f"sweep {json.dumps(said)}")

    def finished(self) -> None:
        """Tell that what follows is the end."""
        self.tell("finished")


def _end_with(supervisor: int) -> None:
    """Be sent SIGTERM when the supervisor ends, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        os.kill(os.getpid(), signal.SIGTERM)
