"""The supervisor of a sweep: what it starts again, what it gives up, and how light it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bt_framework.results.process import this_process
from bt_framework.sweep.journal import Ending, Journal, read_states
from bt_framework.sweep.supervisor import Supervisor
from bt_framework.sweep.watch import Watch, clocked, ended, started

CHILD = """
import json, os, pathlib, signal, sys
from bt_framework.sweep.link import Link

link, folder = Link.from_environment(), pathlib.Path(sys.argv[1])
number = len(list(folder.glob("child-*")))
(folder / f"child-{number}").touch()
"""


def supervised(folder: Path, body: str) -> tuple[int, int]:
    """Run a supervisor with a child that does `body`: (exit code, how many children there were)."""
    code = Supervisor([sys.executable, "-c", CHILD + body, str(folder)]).run()
    return code, len(list(folder.glob("child-*")))


def test_the_exit_code_is_that_of_a_child_that_ends_in_order(tmp_path: Path) -> None:
    assert supervised(tmp_path, "link.sweep(folder); link.finished(); sys.exit(3)") == (3, 1)


def test_a_child_that_ends_before_there_is_a_sweep_is_not_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert supervised(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)") == (137, 1)
    assert "the process ended: SIGKILL: out of memory, or killed by somebody." in capsys.readouterr().err
    assert supervised(tmp_path, "sys.exit(2)") == (2, 2)


def test_a_child_that_ends_before_it_has_started_a_job_is_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert supervised(tmp_path, "link.sweep(folder); os._exit(0)") == (3, 1)
    assert f"the process of sweep {tmp_path.name} ended before a job started" in capsys.readouterr().err


def test_a_child_that_dies_in_a_job_is_started_again_and_told_to_go_on_with_the_sweep(tmp_path: Path) -> None:
    body = """
link.sweep(folder)
if number == 0:
    link.tell("start 7 0 0.0 0")
    os.kill(os.getpid(), signal.SIGSEGV)
link.finished()
sys.exit(0 if link.goes_on == folder else 9)
"""
    assert supervised(tmp_path, body) == (0, 2)
    (journal,) = (tmp_path / "journal").iterdir()
    assert "SIGSEGV: a fault in compiled code." in journal.read_text()


def test_a_job_that_holds_everything_up_is_ended_and_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bt_framework.sweep.watch._GRACE_S", 0.0)
    body = """
link.sweep(folder)
if number == 0:
    link.tell("start 7 0 0.1 0")
    link.tell("clock 7")
    signal.pause()
link.finished()
"""
    assert supervised(tmp_path, body) == (0, 2)
    outcome = read_states(tmp_path)[7].outcome
    assert outcome is not None
    assert (outcome.ending, outcome.error.split(" ")[:4]) == (Ending.FAILED, ["the", "run", "took", "longer"])


def test_the_jobs_of_a_process_that_is_too_large_are_suspects(tmp_path: Path) -> None:
    body = """
import dataclasses
from bt_framework.sweep.journal import Journal

link.sweep(folder)
if number == 0:
    Journal(folder).started(7)
    link.tell("start 7 0 0.0 1000")
    signal.pause()
link.finished()
"""
    assert supervised(tmp_path, body) == (0, 2)
    state = read_states(tmp_path)[7]
    assert (state.ending, state.crashes) == (None, 1)
    assert state.crash.startswith("the run used more memory than limits.max_rss=1,000 bytes.")


def test_a_worker_keeps_its_jobs_within_their_limits_itself(tmp_path: Path) -> None:
    code = """
import pathlib, sys, time
from bt_framework.sweep import watch
from bt_framework.sweep.journal import Journal
from bt_framework.sweep.watchdog import Watchdog

watch._GRACE_S = 0.0
journal = Journal(pathlib.Path(sys.argv[1]))
journal.started(5)
watchdog = Watchdog(journal)
watchdog.tell(watch.started(5, alone=False, max_seconds=0.1, max_rss_bytes=0))
watchdog.tell(watch.clocked(5))
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -9
    state = read_states(tmp_path)[5]
    assert (state.ending, state.crashes) == (Ending.FAILED, 0)


def test_a_watch_blames_a_job_that_is_alone_and_no_one_of_several() -> None:
    watch = Watch()
    watch.hear(started(1, alone=False, max_seconds=0.0, max_rss_bytes=500))
    assert watch.limited
    assert watch.breach(500) is None
    found = watch.breach(501)
    assert found is not None
    assert found.job is None
    watch.hear(ended(1))
    assert watch.breach(501) is None
    assert not watch.limited
    watch.hear(started(2, alone=True, max_seconds=0.0, max_rss_bytes=500))
    watch.hear(clocked(2))
    found = watch.breach(501)
    assert found is not None
    assert found.job == 2
    assert found.error.splitlines()[1] == "Its process had 501 bytes resident."


def test_the_supervisor_loads_nothing_heavy() -> None:
    code = """
import sys
before = set(sys.modules)
sys.argv = sys.orig_argv = ["bt", "-m", "x"]
from bt_framework.cli import main
from bt_framework.sweep import supervisor
class Done(supervisor.Supervisor):
    def run(self):
        return 0
supervisor.Supervisor = Done
assert main.main() == 0
heavy = {"numpy", "hydra", "dataclasses", "subprocess", "click", "pathlib", "orjson", "logging", "threading"}
assert not heavy & (set(sys.modules) - before), heavy & (set(sys.modules) - before)
status = open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: 1 kB"
assert int(status.split("VmHWM:")[1].split()[0]) < 30 * 1024
"""
    subprocess.run([sys.executable, "-S", "-E", "-c", _with_path(code)], check=True, timeout=60)


def _with_path(code: str) -> str:
    """Find the package without `site`, which loads some of it for editable installs."""
    import bt_framework

    return f"import sys; sys.path.insert(0, {str(Path(bt_framework.__file__).parents[1])!r})\n{code}"


def test_a_journal_names_the_process_that_writes_it(tmp_path: Path) -> None:
    assert Journal(tmp_path).process == this_process()
