"""kill -9 at any moment, of the supervisor, its child or both: resumed, a sweep leaves the same table to the byte.

``BT_KILLS=100`` kills as many times instead of three times.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from warm_sweeps import WarmPlace, WarmProcess, WarmServer

from bt_framework.sweep.folder import TABLE_FILE, SweepFolder
from bt_framework.sweep.journal import Ending, read_states

KILLS = int(os.environ.get("BT_KILLS", 3))
JOBS = [{"strategy.lots": str(n), "strategy.slow_s": "0.05"} for n in range(1, 9)]


def _kill_supervisor(process: WarmProcess) -> None:
    process.kill()


def _kill_child(process: WarmProcess) -> None:
    if process.child:
        os.kill(process.child, signal.SIGKILL)


def _kill_both(process: WarmProcess) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


WAYS: list[Callable[[WarmProcess], None]] = [_kill_child, _kill_supervisor, _kill_both]


@pytest.fixture(scope="module")
def whole(trouble_server: WarmServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """Table of the sweep that nobody kills, and its wall time, seconds."""
    place = WarmPlace(trouble_server, tmp_path_factory.mktemp("whole"))
    folder = place.sweep("whole", JOBS)
    began = time.monotonic()
    code, printed = place.run(folder)
    assert code == 0, printed
    return (folder.path / TABLE_FILE).read_bytes(), time.monotonic() - began


def is_free(folder: SweepFolder) -> bool:
    """Whether no process drives the sweep."""
    from bt_framework.errors import StorageError

    try:
        with folder.held():
            return True
    except StorageError:
        return False


def wait_until_free(folder: SweepFolder) -> None:
    """Wait for a child that was left alone: it ends its jobs at their slices."""
    deadline = time.monotonic() + 60
    while not is_free(folder):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_sweep_killed_at_any_moment_leaves_the_same_table_when_it_is_resumed(
    warm_place: WarmPlace, whole: tuple[bytes, float]
) -> None:
    wanted, whole_s = whole
    moments = random.Random(11)
    in_jobs = 0
    for number in range(KILLS):
        folder = warm_place.sweep(f"killed{number}", JOBS)
        # Not the runs of the one before.
        own = [f"runs_dir={warm_place.path}/runs{number}", f"store.path={warm_place.path}/runs{number}.db"]
        process = warm_place.start(folder, *own)
        time.sleep(moments.uniform(0.1, 1.0) * whole_s)
        WAYS[number % len(WAYS)](process)
        process.wait()
        wait_until_free(folder)
        states = read_states(folder.path)
        in_jobs += any(state.crashes or state.ending is None for state in states.values())
        code, printed = warm_place.run(folder, *own)
        assert code == 0, printed
        assert (folder.path / TABLE_FILE).read_bytes() == wanted
    assert in_jobs


def test_the_supervisor_starts_a_child_that_was_killed_again_and_the_sweep_completes(
    warm_place: WarmPlace, whole: tuple[bytes, float]
) -> None:
    folder = warm_place.sweep("restarted", JOBS)
    process = warm_place.start(folder)
    process.until(lambda: sum(s.ending is not None for s in read_states(folder.path).values()) >= 2)
    first = process.child
    os.kill(first, signal.SIGKILL)
    assert process.wait() == 0, process.printed
    assert process.child != first
    assert (folder.path / TABLE_FILE).read_bytes() == whole[0]
    assert {state.crash for state in read_states(folder.path).values()} <= {
        "",
        "SIGKILL: out of memory, or killed by somebody.",
    }


def test_a_child_ends_with_its_supervisor(warm_place: WarmPlace) -> None:
    folder = warm_place.sweep("orphan", [job | {"strategy.slow_s": "0.5"} for job in JOBS])
    process = warm_place.start(folder)
    process.until(lambda: any(state.running for state in read_states(folder.path).values()))
    child = process.child
    process.kill()
    process.wait()
    wait_until_free(folder)
    deadline = time.monotonic() + 60
    while not is_gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    states = read_states(folder.path)
    assert all(state.crashes == 0 for state in states.values())
    assert Ending.FAILED not in {state.ending for state in states.values()}
    assert len([state for state in states.values() if state.ending]) < len(JOBS)


def test_a_job_that_was_killed_alone_is_tried_again_when_the_sweep_is_resumed(warm_place: WarmPlace) -> None:
    over = warm_place.path / "over"
    folder = warm_place.sweep("alone", [{"strategy.what": "kill", "strategy.until": str(over)}])
    code, printed = warm_place.run(folder)
    assert code == 3, printed
    assert "its process ended before the job did." in printed
    over.touch()
    code, printed = warm_place.run(folder)
    assert code == 0, printed
    assert (read_states(folder.path)[0].attempts, read_states(folder.path)[0].crashes) == (2, 2)
