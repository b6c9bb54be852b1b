"""A thread that keeps the jobs of a worker process within their limits when they do not do it themselves."""

from __future__ import annotations

import os
import signal
import threading
import time

from bt_framework.limits import resident_bytes
from bt_framework.results.process import ProcessIdentity
from bt_framework.sweep.journal import Ending, Journal, Outcome
from bt_framework.sweep.watch import POLL_S, Breach, Watch


class Watchdog:
    """Ends the process when one of its jobs breaks a limit, and writes down why.

    Parameters
    ----------
    journal : Journal, optional
        Of this process; without one the launcher only sees that the process has gone.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._watch = Watch()
        self._thread: threading.Thread | None = None

    def tell(self, line: str) -> None:
        """Hear of a job; the first one with a limit starts the thread."""
        self._watch.hear(line)
        if self._thread is None and self._watch.limited:
            self._thread = threading.Thread(target=self._guard, name="bt-watchdog", daemon=True)
            self._thread.start()

    def _guard(self) -> None:
        while True:
            time.sleep(POLL_S)
            breach = self._watch.breach(resident_bytes())
            if breach is not None:
                if self._journal is not None:
                    write_breach(self._journal, self._journal.process, breach)
                os.kill(os.getpid(), signal.SIGKILL)


def write_breach(journal: Journal, process: ProcessIdentity, breach: Breach) -> None:
    """Write down why a process is ended: the job at fault has failed; without one, each of its jobs may be."""
    if breach.job is not None:
        journal.ended(Outcome(breach.job, Ending.FAILED, error=breach.error))
    journal.died(process, breach.error, innocent=breach.job is not None)
