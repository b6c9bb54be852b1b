"""Whatever a job of a sweep does, it is written down with what it was, and the others go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest
from warm_sweeps import WarmPlace, WarmProcess, errors_of

from bt_framework.results.folder import RunFolder
from bt_framework.sweep.folder import TABLE_FILE, SweepFolder
from bt_framework.sweep.journal import Ending, read_states

ENDED = "its process ended before the job did."
TROUBLES = {
    "raise": "ValueError: in trouble\nas ever",
    "data": "the data of this value cannot be used.",
    "exit": "SystemExit: 0",
    "interrupt": "KeyboardInterrupt",
    "surrogate": "ValueError: no text: \\udc80",
    "kernel": "a kernel raised ValueError: in trouble (simulated time 2024-01-01T00:00:00.303131823Z).",
    "poke": f"{ENDED}\nSIGSEGV: a fault in compiled code.",
    "os_exit": f"{ENDED}\nit ended by itself with exit code 0, as os._exit() does.",
    "spin": "the run took longer than limits.max_seconds=1. Raise it, or give it less to do.",
    "hog": "the run used more memory than limits.max_rss=900,000,000 bytes. Raise it, or give it less to do.",
}


def what(*troubles: str) -> list[dict[str, str]]:
    """Jobs with these troubles."""
    return [{"strategy.what": trouble} for trouble in troubles]


def endings(folder: SweepFolder) -> list[Ending | None]:
    """How the jobs have ended, in order."""
    states = read_states(folder.path)
    return [states[job.number].ending if job.number in states else None for job in folder.jobs()]


@pytest.fixture(scope="module")
def troubled(trouble_server, tmp_path_factory) -> tuple[SweepFolder, int, str]:
    """A sweep with every sort of trouble: (folder, exit code, what was printed)."""
    place = WarmPlace(trouble_server, tmp_path_factory.mktemp("troubled"))
    jobs = [{"strategy.what": name, "strategy.lots": str(n)} for n, name in enumerate([*TROUBLES, "none"], 1)]
    folder = place.sweep(
        "all", [*jobs, {"strategy.what": "none"}], "limits.max_seconds=1", "limits.max_rss=900MB"
    )
    return folder, *place.run(folder)


def test_each_failure_is_recorded_and_the_other_jobs_complete(troubled) -> None:
    folder, code, _ = troubled
    assert code == 3
    assert endings(folder) == [Ending.FAILED] * len(TROUBLES) + [Ending.COMPLETED] * 2
    errors = errors_of(folder)
    for number, error in enumerate(TROUBLES.values()):
        assert errors[number].startswith(error)
    assert "bytes resident" in errors[len(TROUBLES) - 1].splitlines()[1]


def test_each_failure_is_told_when_it_happens_with_the_overrides_of_its_job(troubled) -> None:
    folder, _, printed = troubled
    for job in folder.jobs()[: len(TROUBLES)]:
        first = TROUBLES[job.varied["strategy.what"]].partition("\n")[0]
        told = [
            line for line in printed.splitlines() if f"strategy.what={job.varied['strategy.what']}" in line
        ]
        assert any(first in line for line in told), (job, told)
    assert f"{len(TROUBLES)} of {len(folder.jobs())} jobs have failed" in printed
    assert "Try again with: bt sweep resume all" in printed


def test_each_failure_leaves_a_file_with_its_command_and_its_traceback(troubled) -> None:
    folder, _, _ = troubled
    files = {int(path.stem): path.read_text() for path in (folder.path / "errors").iterdir()}
    assert sorted(files) == list(range(len(TROUBLES)))
    for number, (trouble, error) in enumerate(TROUBLES.items()):
        assert files[number].startswith("bt +strategy=trouble ")
        assert f"strategy.what={trouble}" in files[number].splitlines()[0]
        assert error in files[number]
    assert "in _fall" in files[0]
    outcome = read_states(folder.path)[0].outcome
    assert outcome is not None
    assert "in _fall" in outcome.traceback


def test_the_table_has_a_row_for_each_job_that_failed_with_the_first_line_of_why(troubled) -> None:
    folder, _, _ = troubled
    table = pq.read_table(folder.path / TABLE_FILE)
    first_lines = [error.partition("\n")[0] for error in TROUBLES.values()]
    assert table["error"].to_pylist() == [*first_lines, "", ""]
    assert table["status"].to_pylist() == ["failed"] * len(TROUBLES) + ["completed"] * 2


def test_a_run_that_failed_in_its_slices_says_so_in_its_folder(troubled) -> None:
    folder, _, _ = troubled
    outcome = read_states(folder.path)[list(TROUBLES).index("kernel")].outcome
    assert outcome is not None
    assert RunFolder(outcome.run_dir).record().error == TROUBLES["kernel"]


def test_a_job_is_tried_again_as_often_as_it_may_be(warm_place: WarmPlace) -> None:
    jobs = [
        {"strategy.what": "once", "strategy.until": str(warm_place.path / "over")},
        {"strategy.what": "raise"},
        {"strategy.what": "none"},
    ]
    folder = warm_place.sweep("again", jobs)
    assert warm_place.run(folder, on_error="retry(2)")[0] == 3
    states = read_states(folder.path)
    assert [(states[n].ending, states[n].attempts) for n in range(3)] == [
        (Ending.COMPLETED, 2),
        (Ending.FAILED, 3),
        (Ending.COMPLETED, 1),
    ]
    assert [path.name for path in (folder.path / "errors").iterdir()] == ["1.txt"]


def test_the_first_failure_can_end_the_sweep(warm_place: WarmPlace) -> None:
    jobs = what("none", "raise") + [{"strategy.lots": str(n)} for n in range(2, 5)]
    folder = warm_place.sweep("strict", jobs)
    code, printed = warm_place.run(folder, on_error="stop", workers=1)
    assert code == 3
    assert "1 of 5 jobs have failed, and 3 were not run; job 1: ValueError: in trouble" in printed
    assert endings(folder) == [Ending.COMPLETED, Ending.FAILED, None, None, None]
    assert not (folder.path / "stop").exists()
    warm_place.run(folder)
    assert endings(folder).count(Ending.COMPLETED) == 4


def test_a_full_disk_ends_the_sweep_with_a_message_and_the_rest_can_be_run_when_there_is_room(
    warm_place: WarmPlace,
) -> None:
    jobs = [{"strategy.lots": str(n)} for n in range(1, 7)]
    folder = warm_place.sweep("full", jobs)
    code, printed = warm_place.run(folder, largest_file=5_000)
    assert code == 2, printed
    assert "cannot be written: " in printed
    assert "Go on then: bt sweep resume full" in printed
    assert "Traceback" not in printed
    assert None in endings(folder)
    code, printed = warm_place.run(folder)
    assert code == 0, printed
    assert endings(folder) == [Ending.COMPLETED] * 6


def under_way(folder: SweepFolder) -> Callable[[], bool]:
    """Return whether two jobs are done and another one is under way."""

    def check() -> bool:
        states = read_states(folder.path).values()
        return sum(s.ending is not None for s in states) >= 2 and any(s.running for s in states)

    return check


@pytest.mark.parametrize(
    ("number", "name", "to_group"), [(signal.SIGINT, "Ctrl-C", True), (signal.SIGTERM, "SIGTERM", False)]
)
def test_a_stop_starts_nothing_new_and_says_how_to_go_on(
    warm_place: WarmPlace, number: signal.Signals, name: str, to_group: bool
) -> None:
    jobs = [{"strategy.lots": str(n)} for n in range(1, 9)]
    folder = warm_place.sweep("stopped", jobs, "strategy.slow_s=0.3")
    process = warm_place.start(folder)
    process.until(under_way(folder))
    (os.killpg if to_group else os.kill)(process.pid, number)
    assert process.wait() == 128 + number, process.printed
    done = endings(folder).count(Ending.COMPLETED)
    assert 2 <= done < 8
    assert (
        f"stopped by {name}: {done} of 8 jobs are done. Go on with: bt sweep resume stopped"
        in process.printed
    )
    assert "Traceback" not in process.printed
    states = read_states(folder.path)
    assert all(state.crashes == 0 and not state.running for state in states.values())
    assert pq.read_table(folder.path / TABLE_FILE)["status"].to_pylist().count("waiting") == 8 - done


def test_a_second_ctrl_c_ends_a_job_that_never_asks(warm_place: WarmPlace) -> None:
    folder = warm_place.sweep("spin", what("spin"))
    process = warm_place.start(folder)
    process.until(lambda: any(state.running for state in read_states(folder.path).values()))
    for _ in range(2):
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        settle(process)
    assert process.wait() == 130
    assert "Go on with: bt sweep resume spin" in process.printed
    state = read_states(folder.path)[0]
    assert (state.ending, state.crashes, state.running) == (None, 0, {})


def settle(process: WarmProcess) -> None:
    """Let a signal arrive: two that come at once are one."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
