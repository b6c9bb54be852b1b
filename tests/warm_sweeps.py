"""Sweeps in processes of their own that need no seconds to start: forked from one that has loaded and run everything.

A sweep is driven as ``bt -m`` does it once there is a plan: a supervisor, its child with the driver and the threads
launcher, signals, pipes, journal and exit codes are the real ones; only the command line and Hydra are left out.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bt_framework.config.conduct import Conduct
from bt_framework.errors import BtError, SweepError
from bt_framework.sweep import supervisor
from bt_framework.sweep.driver import Circumstances, Driver, Launcher, raise_failures
from bt_framework.sweep.folder import SweepFolder, sweep_folders
from bt_framework.sweep.journal import Ending, Outcome, read_states
from bt_framework.sweep.link import Link
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.work import SweepWork

RUN = ["+strategy=trouble", "data.duration_ns=2s", "console=plain"]
"""The smallest run there is."""

_DEADLINE_S = 90
_POLL_S = 0.01


class WarmProcess:
    """A process that the server has forked."""

    def __init__(self, server: WarmServer, pid: int, output: Path) -> None:
        self.pid = pid
        self._server = server
        self._output = output
        self._code: int | None = None

    def poll(self) -> int | None:
        """Exit code, negative if a signal ended it; None while it runs."""
        if self._code is None:
            self._code = self._server.ask({"poll": self.pid})
        return self._code

    def wait(self) -> int:
        """Wait for its end."""
        deadline = time.monotonic() + _DEADLINE_S
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, self.printed
            time.sleep(_POLL_S)
        return code

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition`; the process must not end before."""
        deadline = time.monotonic() + _DEADLINE_S
        while not condition():
            assert self.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(_POLL_S)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to this process alone."""
        os.kill(self.pid, number)

    @property
    def child(self) -> int:
        """The process that it has started last; 0 if there is none."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except FileNotFoundError:
            return 0
        return int(children[-1]) if children else 0

    @property
    def printed(self) -> str:
        """What it and its children have printed."""
        return self._output.read_text()


class WarmServer:
    """The process that has loaded everything.

    Parameters
    ----------
    folder : Path
        An empty folder for it.
    """

    def __init__(self, folder: Path) -> None:
        self.options = folder / "options"
        site = _write_package(folder / "site", self.options)
        given = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        paths = os.pathsep.join([str(site), str(Path(__file__).parent / "integration"), *given])
        self._server = subprocess.Popen(
            [sys.executable, __file__, *RUN, f"hydra.searchpath=[{self.options}]"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths, "BT_STORE_DIR": str(folder / "store")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        while self._server.stdout.readline() != "ready\n":
            assert self._server.poll() is None

    def __enter__(self) -> WarmServer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(_DEADLINE_S)
        self._server.stdout.close()

    def ask(self, question: dict[str, Any]) -> Any:
        """Ask the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


class WarmPlace:
    """A folder in which sweeps are run.

    Parameters
    ----------
    server : WarmServer
        What runs them.
    path : Path
        An empty folder.
    """

    def __init__(self, server: WarmServer, path: Path) -> None:
        self.path = path
        self._server = server
        self._outputs = 0

    def sweep(self, name: str, varied: Sequence[dict[str, str]], *fixed: str) -> SweepFolder:
        """Write the plan of a sweep."""
        keys = tuple(dict.fromkeys(key for values in varied for key in values))
        dirs = (str(self._server.options),)
        plan = SweepPlan(name, (*RUN, *fixed), keys, dirs, "grid", True, "pnl", False, 1)
        folder = SweepFolder(self.path / "sweeps" / name)
        folder.create(plan, [Job(number, values) for number, values in enumerate(varied)])
        return folder

    def start(
        self,
        folder: SweepFolder,
        *conduct: str,
        workers: int = 2,
        largest_file: int = 0,
        **keys: Any,
    ) -> WarmProcess:
        """Start to drive a sweep; `conduct` are overrides for its jobs, `keys` are those of `Conduct`."""
        what = {"folder": str(folder.path), "conduct": conduct, "workers": workers, "keys": keys}
        return self._start(what | {"largest_file": largest_file})

    def run(self, folder: SweepFolder, *conduct: str, **keys: Any) -> tuple[int, str]:
        """Drive a sweep to its end: (exit code, what was printed)."""
        process = self.start(folder, *conduct, **keys)
        return process.wait(), process.printed

    def start_bt(self, *arguments: str) -> WarmProcess:
        """Start ``bt ARGUMENTS``, command line and all."""
        return self._start({"bt": arguments})

    def bt(self, *arguments: str) -> tuple[int, str]:
        """Run ``bt ARGUMENTS`` to its end: (exit code, what was printed)."""
        process = self.start_bt(*arguments)
        return process.wait(), process.printed

    def bt_sweep(self, *arguments: str) -> tuple[int, str]:
        """Run ``bt -m`` with the strategy in trouble."""
        return self.bt("-m", *self.command, *arguments)

    @property
    def command(self) -> list[str]:
        """Arguments of a run of the strategy in trouble."""
        return [*RUN, "--config-dir", str(self._server.options)]

    def elsewhere(self, path: Path) -> WarmPlace:
        """Return another place."""
        return WarmPlace(self._server, path)

    @property
    def sweeps(self) -> list[SweepFolder]:
        """Sweeps, oldest first."""
        return sweep_folders(self.path / "sweeps")

    @property
    def runs(self) -> list[Path]:
        """Folders of runs."""
        return [path.parent for path in sorted(self.path.glob("runs/*/run.json"))]

    def _start(self, question: dict[str, Any]) -> WarmProcess:
        self._outputs += 1
        output = self.path / f"output-{self._outputs}.txt"
        pid = self._server.ask({"start": question | {"cwd": str(self.path)}, "output": str(output)})
        return WarmProcess(self._server, pid, output)


def errors_of(folder: SweepFolder) -> dict[int, str]:
    """Return the errors of the jobs that have failed."""
    outcomes = [state.outcome for _, state in sorted(read_states(folder.path).items())]
    return {o.job: o.error for o in outcomes if o is not None and o.ending is Ending.FAILED}


def _write_package(site: Path, options: Path) -> Path:
    """Write an installed package with the strategies of `trouble`, and their options."""
    info = site / "bt_trouble-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bt-trouble\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bt_framework]\nmain = trouble\n")
    (options / "strategy").mkdir(parents=True)
    for name in ("trouble", "plain_trouble"):
        (options / f"strategy/{name}.yaml").write_text(f"defaults:\n  - /schema/strategy/{name}@_here_\n")
    return site


def _serve(run: Sequence[str]) -> None:
    """Answer questions."""
    _load(run)
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "start" in question:
            print(_forked(lambda q=question: _begin(q["start"], Path(q["output"]))), flush=True)
            continue
        pid, status = os.waitpid(question["poll"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)


def _load(run: Sequence[str]) -> None:
    """Import what a sweep needs, compile the loop and write a run."""
    import pandas
    import pyarrow.compute

    import bt_framework
    import bt_framework.config.variants
    import bt_framework.sweep.recording
    from hydra_plugins.bt_sweeps import threads

    assert pandas
    assert pyarrow.compute
    assert threads
    bt_framework.run(run)


def _forked(call: Callable[[], int]) -> int:
    """Call in a new process, which ends with what it returns."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            code = call()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _begin(question: dict[str, Any], output: Path) -> int:
    """Be the supervisor of a sweep, or the command line."""
    from bt_framework.cli.main import main

    os.setsid()
    os.chdir(question["cwd"])
    if question.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (question["largest_file"],) * 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)

    def spawn(command: list[str], environment: dict[str, str]) -> int:
        os.environ.update(environment)
        return _forked(main if "bt" in question else lambda: _drive(question))

    supervisor._spawn = spawn
    if "bt" in question:
        sys.argv = ["bt", *question["bt"]]
        return main()
    return supervisor.supervise()


def _drive(question: dict[str, Any]) -> int:
    """Be the child: run what is left of the sweep."""
    link = Link.from_environment()
    assert link is not None
    folder = SweepFolder(question["folder"])
    try:
        with folder.held():
            link.sweep(folder.path)
            circumstances = Circumstances(tuple(question["conduct"]), link.goes_on is not None, link)
            launcher = Launcher(_Launch(question["workers"]), question["workers"], in_process=True)
            outcomes = Driver(folder, Conduct(**question["keys"]), launcher, circumstances).run(folder.jobs())
        raise_failures(outcomes, folder.plan(), len(folder.jobs()))
    except BtError as error:
        print(f"bt: error: {error}", file=sys.stderr)
        return error.exit_code if not isinstance(error, SweepError) else 3
    finally:
        link.finished()
    return 0


class _Launch:
    """The threads launcher, as Hydra's task calls it."""

    def __init__(self, workers: int) -> None:
        from hydra_plugins.bt_sweeps.threads import ThreadsLauncher

        self.packages: list[str] = []
        self.work: SweepWork | None = None
        self._launcher = ThreadsLauncher(workers)
        self._launcher.setup(hydra_context=None, task_function=self, config=None)

    def plain_chunks(self) -> set[int]:
        """None of the jobs are plain Python."""
        return set()

    def __call__(self, work: SweepWork) -> list[Outcome]:
        """Launch the chunks."""
        self.work = work
        found = []
        for answer in self._launcher.launch([[] for _ in work.chunks], initial_job_idx=0):
            if isinstance(answer._return_value, BaseException):
                raise answer._return_value
            found += answer._return_value
        return found


if __name__ == "__main__":
    _serve(sys.argv[1:])
