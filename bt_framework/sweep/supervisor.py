"""The process that was called as ``bt -m``: it starts the one that does the work, and starts it again when it dies.

Threads share a process, so a job that ends it takes the others with it. The supervisor notes in the journal how the
process ended, and starts another, which finds in the sweep's folder what is left to do. It imports nothing heavy.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from bt_framework.sweep.watch import POLL_S, Watch

if TYPE_CHECKING:
    from types import FrameType

    from bt_framework.sweep.watch import Breach

MARK = "BT_SWEEP_SUPERVISOR"
"""Environment variable of the process that does the work: what `bt_framework.sweep.link.Link` needs."""

_PATIENCE_S = 3.0
"""How long a process may go on that was asked twice to stop."""

_ECHO_S = 0.3
"""How long the child may take to say that a signal has come to it as well, as a terminal sends it to both."""


def supervise() -> int:
    """Run this command line in a child, again and again until it ends in order; return its exit code."""
    supervisor = Supervisor([sys.executable, *sys.orig_argv[1:]])
    previous = {n: signal.signal(n, supervisor.on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        return supervisor.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Supervisor:
    """Starts and watches one child after the other.

    Parameters
    ----------
    command : list of str
        Of the child.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child = _Child([], "")
        self._stop = 0
        self._asked = 0
        self._echo_at = self._kill_at = float("inf")

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on, unless the child says that it has come there as well."""
        self._stop = number
        self._asked += 1
        self._echo_at = time.monotonic() + _ECHO_S
        if self._asked > 1:
            self._kill_at = time.monotonic() + _PATIENCE_S

    def run(self) -> int:
        """Return the exit code of the last child."""
        sweep = ""
        while True:
            self._child = _Child(self._command, sweep)
            self._child.start()
            breach = self._wait()
            child = self._child
            sweep = child.sweep or sweep
            if child.finished or not sweep:
                return self._exit_code(child)
            _note(child, breach, innocent=self._stop != 0)
            if self._stop:
                print(f"bt: stopped at once. Go on with: bt sweep resume {_id(sweep)}", file=sys.stderr)
                return 128 + self._stop
            if not child.watch.any_started:
                what = f"the process of sweep {_id(sweep)} ended before a job started"
                print(f"bt: error: {what}: {_how(child.status)}", file=sys.stderr)
                return 3

    def _wait(self) -> Breach | None:
        """Wait for the end of the child; return the limit for which it was ended."""
        child = self._child
        breach = None
        while not child.ended():
            now = time.monotonic()
            if child.echoed:
                self._echo_at, child.echoed = float("inf"), False
            if now > self._echo_at:
                child.send(self._stop)
                self._echo_at = float("inf")
            if now > self._kill_at:
                child.send(signal.SIGKILL)
            if breach is None and child.watch.limited:
                from bt_framework.limits import resident_bytes

                breach = child.watch.breach(resident_bytes(child.pid))
                if breach is not None:
                    child.send(signal.SIGKILL)
        return breach

    def _exit_code(self, child: _Child) -> int:
        code = os.waitstatus_to_exitcode(child.status)
        if code < 0 and not self._stop:
            print(f"bt: error: the process ended: {_how(child.status)}", file=sys.stderr)
        return code if code >= 0 else 128 - code


class _Child:
    """One process that does the work, and the pipe on which it tells of it.

    Attributes
    ----------
    sweep : str
        What it said of the sweep, as JSON; empty before there is a plan.
    finished : bool
        Whether it said that it is going to end.
    echoed : bool
        Whether a signal has come to it.
    """

    def __init__(self, command: list[str], sweep: str) -> None:
        self.watch = Watch()
        self.sweep = ""
        self.finished = self.echoed = False
        self.pid = 0
        self.status = 0
        self._command = command
        self._goes_on = sweep
        self._pipe = -1
        self._rest = b""

    def start(self) -> None:
        """Start it."""
        self._pipe, theirs = os.pipe()
        os.set_inheritable(theirs, True)
        environment = os.environ | {MARK: f"{os.getpid()} {theirs} {self._goes_on}"}
        self.pid = _spawn(self._command, environment)
        os.close(theirs)

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.pid:
            os.kill(self.pid, number)

    def ended(self) -> bool:
        """Wait a moment for what it tells; return whether it has ended, and everything was read."""
        if self._pipe >= 0 and select.select([self._pipe], [], [], POLL_S)[0]:
            content = os.read(self._pipe, 1 << 16)
            self._hear(content)
            if content:
                return False
            os.close(self._pipe)
            self._pipe = -1
        elif self._pipe < 0:
            time.sleep(POLL_S / 10)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return False
        self.pid, self.status = 0, status
        if self._pipe >= 0:
            self._drain()
        return True

    def _drain(self) -> None:
        """Read what is left; somebody else may hold the pipe open."""
        while select.select([self._pipe], [], [], 0)[0] and (content := os.read(self._pipe, 1 << 16)):
            self._hear(content)
        os.close(self._pipe)
        self._pipe = -1

    def _hear(self, content: bytes) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.echoed |= bytes([number]) in content
            content = content.replace(bytes([number]), b"")
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in filter(None, lines):
            word, _, value = line.decode().partition(" ")
            if word == "sweep":
                self.sweep = value
            elif word == "finished":
                self.finished = True
            else:
                self.watch.hear(line.decode())


def _spawn(command: list[str], environment: dict[str, str]) -> int:
    return os.posix_spawn(command[0], command, environment)


def _id(sweep: str) -> str:
    import json

    return os.path.basename(str(json.loads(sweep)["folder"]))


def _note(child: _Child, breach: Breach | None, *, innocent: bool) -> None:
    """Write into the journal how the child ended."""
    import json
    from pathlib import Path

    from bt_framework.results.process import ProcessIdentity
    from bt_framework.sweep.journal import Journal
    from bt_framework.sweep.watchdog import write_breach

    said = json.loads(child.sweep)
    journal = Journal(Path(said["folder"]))
    process = ProcessIdentity(**said["process"])
    if breach is not None:
        write_breach(journal, process, breach)
    else:
        journal.died(process, _how(child.status), innocent=innocent)
    journal.close()


def _how(status: int) -> str:
    """Say how a process ended, from what the system says of it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"it ended by itself with exit code {code}, as os._exit() does."
    name = signal.Signals(-code).name
    causes = {
        "SIGKILL": "out of memory, or killed by somebody",
        "SIGSEGV": "a fault in compiled code",
        "SIGBUS": "a fault in compiled code, or a mapped file that was cut",
        "SIGILL": "a fault in compiled code",
        "SIGFPE": "a fault in compiled code",
        "SIGABRT": "a library gave up",
    }
    return f"{name}: {causes[name]}." if name in causes else f"{name}."
