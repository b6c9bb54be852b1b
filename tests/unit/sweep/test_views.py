"""What a sweep shows, of journals written by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from journals import SWEEP_ID, Clock, HandMade
from rich.console import Console as Terminal

from bt_framework.results.console import Console, PlainLines
from bt_framework.sweep.live_view import LiveView
from bt_framework.sweep.view import JsonView, PlainView, view_of
from bt_plugins.consoles import json as json_console
from bt_plugins.consoles.rich import TerminalConsole

COMPILING = "compiling the loop of ou_pairs (some seconds, once for these kernels) ..."


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can move its cursor, wherever the tests run."""
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def clock() -> Clock:
    """Time of the view."""
    return Clock()


@pytest.fixture
def sweep(tmp_path: Path) -> HandMade:
    """Four jobs, of which none has started."""
    return HandMade(tmp_path)


def live(clock: Clock, width: int = 80) -> tuple[LiveView, io.StringIO]:
    """A live view on a terminal without colours, and what is written there."""
    screen = io.StringIO()
    terminal = Terminal(
        file=screen, force_terminal=True, width=width, height=30, color_system=None, highlight=False
    )
    return LiveView(terminal, clock, wall=lambda: 1_005.0), screen


def pictured(view: LiveView) -> list[str]:
    """Lines of the view as they fit into its terminal."""
    lines = view.terminal.render_lines(view.picture(), view.terminal.options.update(height=None), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def test_plain_lines_say_what_runs_what_fails_how_far_it_is_and_what_came_of_it(capsys, sweep, clock):
    view = PlainView(5.0, clock)
    sweep.begin(view)
    sweep.notice(COMPILING)
    sweep.started(0)
    sweep.ended(0, 1.5)
    clock.now_s += 1
    sweep.update(view)
    sweep.notice(COMPILING)
    sweep.started(1)
    sweep.ended(1, error="DataError: a gap.\nIt is long.")
    sweep.started(2)
    clock.now_s += 4
    sweep.update(view)
    sweep.ended(2, 2.25, reused=True)
    sweep.started(3)
    sweep.ended(3, None)
    clock.now_s += 5
    sweep.update(view)
    view.end()
    out, err = capsys.readouterr()
    path = sweep.folder.path
    assert out.splitlines() == [
        f"sweep {path}: 4 jobs",
        "2 of 4 jobs  1 running  1 failed  0.25 jobs/s  8 s left  "
        "best sharpe 1.5: job 0 (strategy.entry_z=1.0 latency=colo)",
        f"sweep {path}: 3 of 4 jobs completed, 1 of them reused, 1 failed",
        "time: 10 s, 0.4 jobs/s",
        f"best sharpe 2.25: job 2 (strategy.entry_z=1.5 latency=colo); its command: bt sweep best {SWEEP_ID}",
        f"table: {path}/table.parquet",
        f"failures: {path}/errors",
    ]
    assert err.splitlines() == [
        COMPILING,
        "bt: job 1 has failed (strategy.entry_z=1.25 latency=colo): DataError: a gap.",
    ]


def test_lines_of_progress_come_no_more_often_than_asked_for(capsys, sweep, clock):
    view = PlainView(5.0, clock)
    sweep.begin(view)
    sweep.started(0)
    for _ in range(100):
        clock.now_s += 0.25
        sweep.update(view)
    assert capsys.readouterr().out.splitlines()[1:] == ["0 of 4 jobs  1 running"] * 5


def test_a_sweep_that_is_resumed_counts_what_was_done_and_tries_again_what_had_failed(capsys, sweep, clock):
    for job, error in ((0, ""), (1, "no")):
        sweep.started(job)
        sweep.ended(job, 3.0, error=error, reused=job == 0)
    sweep.session()
    view = PlainView(5.0, clock)
    sweep.begin(view)
    assert (view.tally.done, view.tally.left, view.tally.reused) == (1, 3, 1)
    for job in (1, 2):
        sweep.started(job)
        sweep.ended(job, 1.0)
    clock.now_s += 2
    sweep.update(view)
    view.end()
    out = capsys.readouterr().out.splitlines()
    path = sweep.folder.path
    assert out[0] == f"sweep {path}: 4 jobs, 1 of them done before"
    assert out[1:4] == [
        f"sweep {path}: 3 of 4 jobs completed, 1 of them reused, 1 left",
        "time: 2 s, 1 jobs/s",
        f"best sharpe 3: job 0 (strategy.entry_z=1.0 latency=colo); its command: bt sweep best {SWEEP_ID}",
    ]


def test_after_a_restart_within_the_sweep_what_has_failed_still_counts(capsys, sweep, clock):
    sweep.session()
    sweep.started(0)
    sweep.ended(0, error="no")
    view = PlainView(5.0, clock)
    sweep.begin(view)
    assert (view.tally.done, view.tally.left) == (1, 3)


def test_a_job_that_is_tried_again_counts_once_as_it_ended_last(capsys, sweep, clock):
    view = PlainView(5.0, clock)
    sweep.begin(view)
    for error in ("no", "no", ""):
        sweep.started(0)
        sweep.ended(0, 1.0, error=error)
        clock.now_s += 1
        sweep.update(view)
    assert (view.tally.done, view.tally.count("failed"), view.tally.count("completed")) == (1, 0, 1)
    assert capsys.readouterr().err.count("has failed") == 2


def test_a_job_that_is_told_of_twice_is_reused_once(capsys, sweep, clock):
    view = PlainView(5.0, clock)
    sweep.begin(view)
    for _ in range(2):
        sweep.started(0)
        sweep.ended(0, 1.0, reused=True)
        sweep.update(view)
    assert (view.tally.done, view.tally.reused) == (1, 1)


def test_the_smallest_value_is_the_best_if_the_sweep_says_so_and_the_first_of_equals(capsys, tmp_path, clock):
    sweep = HandMade(tmp_path, minimize=True)
    view = PlainView(5.0, clock)
    sweep.begin(view)
    for job, sharpe in ((3, 1.0), (2, 1.0), (1, 2.0), (0, None)):
        sweep.started(job)
        sweep.ended(job, sharpe)
    sweep.update(view)
    assert view.best_text() == "sharpe 1: job 2 (strategy.entry_z=1.5 latency=colo)"


def test_a_sweeper_that_learns_counts_the_jobs_it_is_going_to_have(capsys, tmp_path, clock):
    sweep = HandMade(tmp_path, options={"n_trials": 20})
    view = PlainView(5.0, clock)
    sweep.begin(view)
    assert (view.tally.planned, view.tally.left) == (20, 20)


def test_json_is_a_line_per_job_and_one_for_the_sweep(capsys, sweep, clock):
    view = JsonView(5.0, clock)
    sweep.begin(view)
    sweep.notice(COMPILING)
    sweep.started(0)
    sweep.ended(0, 1.5, reused=True)
    sweep.started(1)
    sweep.ended(1, error="DataError: a gap.\nIt is long.")
    clock.now_s += 4
    sweep.update(view)
    view.end()
    out, err = capsys.readouterr()
    first, second, last = (json.loads(line, parse_constant=pytest.fail) for line in out.splitlines())
    assert first["status"] == "completed"
    assert first["varied"] == {"strategy.entry_z": "1.0", "latency": "colo"}
    assert first["metrics"] == {"sharpe": 1.5}
    assert (second["job"], second["status"], second["error"]) == (
        1,
        "failed",
        "DataError: a gap.\nIt is long.",
    )
    assert last == {
        "sweep_id": SWEEP_ID,
        "folder": str(sweep.folder.path),
        "jobs": 4,
        "completed": 1,
        "failed": 1,
        "pruned": 0,
        "reused": 1,
        "left": 2,
        "wall_s": 4.0,
        "jobs_per_s": 0.5,
        "best": {
            "job": 0,
            "metric": "sharpe",
            "value": 1.5,
            "varied": {"strategy.entry_z": "1.0", "latency": "colo"},
        },
        "table": f"{sweep.folder.path}/table.parquet",
    }
    assert err.splitlines()[0] == COMPILING
    assert not view.confirm("?")


def test_the_live_view_has_a_bar_the_best_job_and_a_line_per_worker(sweep, clock):
    view, screen = live(clock)
    sweep.begin(view)
    sweep.started(0)
    sweep.ended(0, 1.5)
    clock.now_s += 1
    sweep.update(view)
    sweep.started(1)
    sweep.ended(1, error="DataError: a gap.")
    sweep.started(2, thread=7)
    sweep.started(3, thread=8)
    sweep.notice(COMPILING)
    clock.now_s += 1
    sweep.update(view)
    assert pictured(view) == [
        "━" * 40 + "  50%  2 of 4 jobs",
        "2 running  1 failed  1 jobs/s  2 s left",
        "best sharpe 1.5: job 0 (strategy.entry_z=1.0 latency=colo)",
        "worker 1  job 2   1 s  strategy.entry_z=1.5 latency=colo",
        "worker 2  job 3   0 s  strategy.entry_z=1.75 latency=colo",
    ]
    view.end()
    shown = screen.getvalue()
    above, _, summary = shown.rpartition("\x1b[2K")
    assert f"sweep {sweep.folder.path}: 4 jobs\n" in above
    assert f"{COMPILING}\n" in above
    assert "job 1 has failed (strategy.entry_z=1.25 latency=colo): DataError: a gap.\n" in above
    assert summary.startswith(f"sweep {sweep.folder.path}: 1 of 4 jobs completed, 1 failed, 2 left\n")


def test_a_narrow_terminal_cuts_the_lines_of_the_live_view(sweep, clock):
    view, _ = live(clock, width=40)
    sweep.begin(view)
    sweep.started(0)
    sweep.update(view)
    lines = pictured(view)
    view.end()
    assert [len(line) <= 40 for line in lines] == [True] * len(lines)
    assert lines[-1].endswith("…")


def test_a_worker_keeps_its_line_and_one_that_is_gone_leaves_it_to_the_next(sweep, clock):
    view, _ = live(clock)
    sweep.begin(view)
    sweep.started(0, thread=1)
    sweep.started(1, thread=2)
    sweep.update(view)
    pictured(view)
    sweep.ended(0, 1.0)
    sweep.started(2, thread=3)
    sweep.update(view)
    assert [line.partition("  ")[::2] for line in pictured(view)[-2:]] == [
        ("worker 1", "job 2   2 s  strategy.entry_z=1.5 latency=colo"),
        ("worker 2", "job 1   4 s  strategy.entry_z=1.25 latency=colo"),
    ]
    view.end()


def test_the_live_view_leaves_the_cursor_visible_for_the_case_that_its_process_is_killed(sweep, clock):
    view, screen = live(clock)
    sweep.begin(view)
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")
    view.end()


def test_the_console_says_which_view_there_is():
    plain = view_of(PlainLines(2_000_000_000))
    assert type(plain) is PlainView
    assert plain._interval_s == 2.0
    assert type(view_of(Console())) is PlainView
    assert type(view_of(json_console.build(json_console.JsonConsole()))) is JsonView
    assert type(view_of(TerminalConsole())) is LiveView
