"""A folder to run sweeps in, each in processes of its own, with a strategy that gets into trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bt_framework.sweep.folder import SweepFolder, sweep_folders
from bt_framework.sweep.journal import JobState, read_states

TROUBLE = ["+strategy=trouble", "data.duration_ns=2s", "console=plain"]
"""The smallest run there is."""

_DEADLINE_S = 90


@dataclass
class Place:
    """Folders of one test, and `bt` in them."""

    work: Path
    store: Path
    site: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `bt` as a terminal does, in a process group of its own."""
        paths = os.pathsep.join([str(self.site), str(Path(__file__).parent / "integration")])
        return subprocess.Popen(
            [sys.executable, "-m", "bt_framework", *arguments],
            cwd=self.work,
            env=os.environ | {"PYTHONPATH": paths, "BT_STORE_DIR": str(self.store)} | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run `bt` to its end: (exit code, stdout, stderr)."""
        return finished(self.start(*arguments))

    def sweep(self, *arguments: str) -> tuple[int, str, str]:
        """Run a sweep of the strategy in trouble."""
        return self.run("-m", *TROUBLE, "--config-dir", "options", *arguments)

    def start_sweep(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one."""
        return self.start("-m", *TROUBLE, "--config-dir", "options", *arguments)

    @property
    def folders(self) -> list[SweepFolder]:
        """Sweeps, oldest first."""
        return sweep_folders(self.work / "sweeps")

    @property
    def states(self) -> dict[int, JobState]:
        """What became of the jobs of the only sweep, or the newest."""
        return read_states(self.folders[-1].path) if self.folders else {}

    def errors(self) -> dict[int, str]:
        """Errors of the jobs of the newest sweep that have failed."""
        outcomes = {job: state.outcome for job, state in self.states.items()}
        return {job: o.error for job, o in sorted(outcomes.items()) if o is not None and o.error}


def make_place(tmp_path: Path, store: Path, write_package: Callable[..., Path]) -> Place:
    """Return an empty place."""
    site = write_package(
        "from trouble import register_strategies\n", name="bt-trouble", module="bt_trouble_main"
    )
    work = tmp_path / "work"
    options = work / "options/strategy"
    options.mkdir(parents=True)
    for name in ("trouble", "plain_trouble"):
        (options / f"{name}.yaml").write_text(f"defaults:\n  - /schema/strategy/{name}@_here_\n")
    return Place(work, store, site)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of `bt`: (exit code, stdout, stderr); nothing of its group is left then."""
    try:
        out, err = process.communicate(timeout=_DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Return as soon as `condition` is true; fail if the process ends before."""
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)  # the process needs the processor


def child_of(pid: int) -> int:
    """Return the process that the supervisor `pid` has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0
