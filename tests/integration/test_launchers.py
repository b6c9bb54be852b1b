"""Launchers: whoever runs the jobs, the results are the same, nothing is lost, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweep_place import Place, finished, make_place, wait_until

from bt_framework.errors import PluginError
from bt_framework.results.folder import RunFolder

PROCESSES = ["processes", "joblib", "submitit_local", "ray"]
_LONG = pytest.mark.long
_SHORT_STOPS = [("joblib", signal.SIGINT), ("processes", signal.SIGTERM)]
KILLED = ["joblib", *(pytest.param(name, marks=_LONG) for name in PROCESSES if name != "joblib")]
STOPS = [
    pytest.param(
        name, number, marks=() if (name, number) in _SHORT_STOPS else _LONG, id=f"{name}-{number.name}"
    )
    for name in PROCESSES
    for number in (signal.SIGINT, signal.SIGTERM)
]
SHORT = ["processes", *(pytest.param(name, marks=_LONG) for name in PROCESSES[1:])]
_DEADLINE_S = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def place(tmp_path: Path, store: Path, write_package: Callable[..., Path]) -> Place:
    place = make_place(tmp_path, store, write_package)
    # What a test starts is known by it, whichever group or session it goes to.
    place.environment["BT_TEST_MARK"] = uuid.uuid4().hex
    return place


def left_behind(place: Place) -> list[str]:
    """Command lines of the processes that the place has started and that still run, but for an agent of Ray's.

    That one looks for its parent now and then.
    """
    mark = f"BT_TEST_MARK={place.environment['BT_TEST_MARK']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [command for command in found if "DashboardAgent" not in command]


def wait_for_nobody(place: Place) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while left_behind(place):
        assert time.monotonic() < deadline, left_behind(place)
        time.sleep(0.05)  # they need the processor to end


JOBS = ["strategy.lots=1,2", "plain=false,true"]


def runs_of(place: Place) -> pa.Table:
    return pq.read_table(place.folders[-1].path / "runs.parquet")


def processes_of(place: Place) -> int:
    """Processes that ran jobs of the newest sweep."""
    return len({worker.rpartition(":")[0] for worker in runs_of(place)["worker"].to_pylist()})


@pytest.fixture(scope="module")
def tables() -> list[bytes]:
    """The table that the threads launcher makes of `JOBS`, once it was asked for."""
    return []


@pytest.mark.parametrize("launcher", SHORT)
def test_the_table_is_the_same_to_the_byte_and_nothing_is_compiled_again(
    launcher: str, place: Place, tables: list[bytes]
) -> None:
    if not tables:
        code, _, err = place.sweep("sweep.workers=2", *JOBS)
        assert code == 0, err
        assert "strategies in plain Python hold up other threads: their jobs run in 2 processes" in err
        assert processes_of(place) == 3  # the one with threads, and two
        tables.append((place.folders[-1].path / "table.parquet").read_bytes())
    code, _, err = place.sweep(f"hydra/launcher={launcher}", "sweep.workers=2", "rerun=true", *JOBS)
    assert code == 0, err
    assert (place.folders[-1].path / "table.parquet").read_bytes() == tables[0]
    assert not any(runs_of(place)["reused"].to_pylist())
    assert processes_of(place) >= 2
    records = [RunFolder(Path(folder)).record() for folder in runs_of(place)["run_dir"].to_pylist()]
    assert [(record.jit, record.status) for record in records] == 4 * [("hit", "completed")]
    assert sorted(path.name for path in place.work.iterdir()) == ["options", "runs", "sweeps"]
    wait_for_nobody(place)


@pytest.mark.parametrize("launcher", KILLED)
def test_a_worker_that_is_killed_costs_its_job_only(launcher: str, place: Place) -> None:
    code, _, err = place.sweep(
        f"hydra/launcher={launcher}", "sweep.workers=2", "strategy.lots=1,2", "strategy.what=none,kill"
    )
    assert code == 3
    assert "2 of 4 jobs have failed" in err
    assert list(place.errors()) == [1, 3]
    assert all("its process ended" in error for error in place.errors().values())
    assert "raylet" not in err
    wait_for_nobody(place)


@pytest.mark.long
@pytest.mark.parametrize("launcher", PROCESSES)
def test_a_worker_that_somebody_kills_and_a_resume_leave_the_table_of_a_sweep_without_that(
    launcher: str, place: Place
) -> None:
    jobs = ["strategy.lots=range(1,7)", "strategy.slow_s=0.5", "sweep.workers=2"]
    process = place.start_sweep(f"hydra/launcher={launcher}", *jobs)

    def workers() -> list[int]:
        return [attempt.process.pid for state in place.states.values() for attempt in state.running.values()]

    wait_until(workers, process)
    os.kill(workers()[0], signal.SIGKILL)
    code, _, err = finished(process)
    assert sum(state.crashes for state in place.states.values()) > 0
    if code:  # a job that was the only one of its process counts as what ended it
        assert code == 3, err
        code, _, err = place.run("sweep", "resume", place.folders[-1].path.name)
    assert code == 0, err
    killed = place.folders[-1].path / "table.parquet"
    assert place.sweep(*jobs, "rerun=true")[0] == 0
    assert (place.folders[-1].path / "table.parquet").read_bytes() == killed.read_bytes()
    wait_for_nobody(place)


@pytest.mark.parametrize(("launcher", "number"), STOPS)
def test_a_stop_ends_the_workers_and_what_is_left_is_run_later(
    launcher: str, number: signal.Signals, place: Place
) -> None:
    """Ctrl-C goes to the whole group of a terminal, SIGTERM to one process."""
    process = place.start_sweep(
        f"hydra/launcher={launcher}", "sweep.workers=2", "strategy.lots=range(1,31)", "strategy.slow_s=1"
    )
    wait_until(lambda: any(state.running for state in place.states.values()), process)
    send = os.killpg if number is signal.SIGINT else os.kill
    send(process.pid, number)
    code, _, err = finished(process)
    assert code == 128 + number, err
    assert "Go on with: bt sweep resume" in err
    wait_for_nobody(place)
    assert not (place.folders[-1].path / "stop").exists()
    assert not place.errors()
    assert sum(state.ending is not None for state in place.states.values()) < 20


@pytest.mark.parametrize("launcher", SHORT)
def test_workers_end_when_the_process_that_launched_them_is_killed(launcher: str, place: Place) -> None:
    process = place.start_sweep(
        f"hydra/launcher={launcher}", "sweep.workers=2", "strategy.lots=range(1,31)", "strategy.slow_s=1"
    )
    wait_until(lambda: any(state.running for state in place.states.values()), process)
    process.kill()
    finished(process)
    wait_for_nobody(place)


@pytest.mark.parametrize("launcher", ["joblib", "ray", "submitit_local", "submitit_slurm"])
def test_a_launcher_that_is_not_installed_is_named_with_the_line_that_installs_it(
    launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra_plugins.bt_sweeps import joblib, ray, submitit

    classes = {
        "joblib": joblib.JoblibLauncher,
        "ray": ray.RayLauncher,
        "submitit_local": submitit.LocalLauncher,
        "submitit_slurm": submitit.SlurmLauncher,
    }
    made = classes[launcher]()
    monkeypatch.setitem(sys.modules, made.module, None)
    with pytest.raises(PluginError, match=r"pip install 'bt-framework\[(joblib|ray|slurm)\]'") as caught:
        made.setup(hydra_context=None, task_function=None, config=None)
    assert f"hydra/launcher={launcher} needs the package" in str(caught.value)


def test_slurm_that_is_not_there_is_one_message_before_the_first_job(place: Place) -> None:
    place.environment["PATH"] = str(place.work)
    code, _, err = place.sweep("hydra/launcher=submitit", "strategy.lots=1,2")
    assert code == 2
    assert err.startswith("bt: error: hydra/launcher=submitit_slurm needs sbatch and srun")
    assert not place.folders


def test_options_of_launchers_that_run_commands_are_refused(place: Place) -> None:
    for launcher, key in (("submitit_slurm", "setup"), ("ray", "init")):
        code, _, err = place.sweep(
            f"hydra/launcher={launcher}", f"+hydra.launcher.{key}=[x]", "strategy.lots=1,2"
        )
        assert (code, place.folders) == (2, []), err
        assert "Traceback" not in err
        assert key in err


@pytest.mark.parametrize(
    "where",
    [
        ["hydra/launcher=processes"],
        ["plain=false,true"],
        pytest.param(["plain=true"], marks=_LONG),
        pytest.param(
            ["hydra/launcher=processes", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2"], marks=_LONG
        ),
    ],
    ids=lambda where: where[-1],
)
def test_chdb_is_refused_before_the_first_job_where_processes_would_share_its_folder(
    place: Place, tmp_path: Path, where: list[str]
) -> None:
    writer = ["writer=[parquet,clickhouse]", f"writer.clickhouse.url=chdb://{tmp_path}/chdb"]
    code, _, err = place.sweep(*writer, *where, "strategy.lots=1,2")
    assert (code, place.folders) == (2, []), err
    assert "writer must not be chDB in a sweep that runs in processes" in err
    assert "hydra/launcher=threads" in err
