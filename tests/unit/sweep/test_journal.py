"""What the journals of a sweep say, whatever was cut off, written twice or read in between."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.errors import StorageError
from bt_framework.results.process import ProcessIdentity, this_process
from bt_framework.sweep.journal import Ending, Journal, JournalReader, Outcome, read_states

GONE = ProcessIdentity(this_process().host, this_process().pid, "another time")
ELSEWHERE = ProcessIdentity("another-host", 1, "")

Line = tuple[int, dict[str, object]]
"""Of which process, and what it says."""


@st.composite
def stories(draw: st.DrawFn) -> list[Line]:
    """What two processes, of two threads each, may write about three jobs, in the order of time."""
    lines: list[Line] = []
    busy: dict[tuple[int, int], int] = {}
    for _ in range(draw(st.integers(0, 25))):
        worker = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))
        job = busy.get(worker)
        if job is None:
            busy[worker] = job = draw(st.integers(0, 2))
            lines.append(
                (
                    worker[0],
                    {"event": "started", "job": job, "thread": worker[1], "alone": draw(st.booleans())},
                )
            )
            continue
        del busy[worker]
        event = draw(st.sampled_from(["completed", "failed", "stopped"]))
        line: dict[str, object] = {"job": job, "thread": worker[1]}
        if event == "stopped":
            lines.append((worker[0], line | {"event": "stopped"}))
            continue
        end = (worker[0], line | {"event": "ended", "ending": event, "run_id": f"r{len(lines)}"})
        lines += [end] * draw(st.integers(1, 2))
    return lines


def write(folder: Path, lines: Sequence[Line], processes: Sequence[ProcessIdentity], cut: int = 0) -> None:
    """Write the journals; of the last line of each, `cut` bytes are missing."""
    (folder / "journal").mkdir(parents=True, exist_ok=True)
    for number, process in enumerate(processes):
        texts = [{"event": "process", **dataclasses.asdict(process)}]
        texts += [{**line, "at_ns": at} for at, (who, line) in enumerate(lines) if who == number]
        content = "".join(json.dumps(text) + "\n" for text in texts).encode()
        last = len(json.dumps(texts[-1])) + 1
        (folder / "journal" / f"{number}.jsonl").write_bytes(content[: len(content) - min(cut, last)])


def endings(lines: Sequence[Line], job: int) -> list[str]:
    """How the attempts at a job have ended."""
    return [str(line["ending"]) for _, line in lines if line["job"] == job and line["event"] == "ended"]


@given(stories())
def test_a_job_that_has_completed_once_has_completed_and_else_the_last_attempt_counts(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line]
) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    write(folder, lines, [GONE, this_process()])
    states = read_states(folder)
    assert set(states) == {line["job"] for _, line in lines}
    for job, state in states.items():
        ends = endings(lines, job)
        assert state.attempts == len(ends)
        if not ends:
            assert state.ending is state.outcome is None
            continue
        assert state.ending == ("completed" if "completed" in ends else "failed")
        ids = [
            line["run_id"] for _, line in lines if line["job"] == job and line.get("ending") == state.ending
        ]
        assert state.outcome is not None
        assert state.outcome.run_id == ids[-1]


@given(stories())
def test_an_attempt_without_an_end_is_under_way_while_its_process_lives_and_else_a_crash(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line]
) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    write(folder, lines, [GONE, this_process()])
    open_attempts: dict[tuple[int, object], tuple[int, bool]] = {}
    for who, line in lines:
        if line["event"] == "started":
            open_attempts[who, line["thread"]] = (int(str(line["job"])), bool(line["alone"]))
        else:
            open_attempts.pop((who, line["thread"]), None)
    for job, state in read_states(folder).items():
        crashed = [alone for (who, _), (j, alone) in open_attempts.items() if j == job and who == 0]
        running = [1 for (who, _), (j, _) in open_attempts.items() if j == job and who == 1]
        assert (state.crashes, len(state.running)) == (len(crashed), len(running))


@given(stories(), st.integers(0, 200))
def test_a_line_that_was_cut_off_is_as_if_it_had_not_been_written(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line], cut: int
) -> None:
    whole, short = (tmp_path_factory.mktemp("sweep") for _ in range(2))
    mine = [line for line in lines if line[0] == 0]
    write(whole, mine[:-1] if cut else mine, [GONE])
    write(short, mine, [GONE], cut=cut)
    assert [_facts(whole), _facts(short)][cut > 0 and not mine] == _facts(short)


def _facts(folder: Path) -> dict[int, tuple[object, ...]]:
    states = read_states(folder)
    return {job: (s.ending, s.attempts, s.crashes, len(s.running)) for job, s in states.items()}


@given(stories(), st.integers(0, 25))
def test_journals_that_are_followed_say_the_same_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line], at: int
) -> None:
    folder, whole = (tmp_path_factory.mktemp("sweep") for _ in range(2))
    processes = [ELSEWHERE, this_process()]
    reader = JournalReader(folder)
    write(folder, lines[:at], processes)
    reader.update()
    write(folder, lines, processes)
    reader.update()
    write(whole, lines, processes)
    followed = {job: (s.ending, s.attempts, s.tried, sorted(s.running)) for job, s in reader.states.items()}
    at_once = {
        job: (s.ending, s.attempts, s.tried, sorted(s.running)) for job, s in read_states(whole).items()
    }
    assert followed == at_once
    assert list(reader.ended) == [line["job"] for _, line in lines if line["event"] == "ended"]


def test_what_a_journal_writes_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    outcome = Outcome(
        3, Ending.COMPLETED, "r1", "hash", {"seed": 1}, {"pnl": 0.5, "sharpe": None}, timings={"a": 1.0}
    )
    journal.started(3)
    journal.ended(outcome)
    state = read_states(tmp_path)[3]
    assert state.outcome == outcome
    assert (state.attempts, state.tried, state.crashes, state.running) == (1, 1, 0, {})
    assert 0 < state.started_at_ns <= state.ended_at_ns


def test_what_failed_before_the_sweep_was_resumed_may_be_tried_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.started(0, alone=True)
    journal.lost(0, "gone", alone=True)
    journal.ended(Outcome(1, Ending.FAILED))
    assert read_states(tmp_path)[0].crashed_alone
    journal.session()
    states = read_states(tmp_path)
    assert (states[0].crashes, states[0].crashed_alone) == (1, False)
    assert (states[1].ending, states[1].attempts, states[1].tried) == (Ending.FAILED, 1, 0)


def test_a_crash_before_the_sweep_was_resumed_does_not_condemn_the_job(tmp_path: Path) -> None:
    line = {"event": "started", "job": 0, "thread": 1, "alone": True}
    write(tmp_path, [(0, line), (1, {"event": "session", "job": 0, "thread": 1})], [GONE, this_process()])
    state = read_states(tmp_path)[0]
    assert (state.crashes, state.crashed_alone) == (1, False)


@pytest.mark.parametrize("innocent", [True, False])
def test_how_a_process_died_is_kept_with_its_jobs_unless_they_are_innocent(
    tmp_path: Path, innocent: bool
) -> None:
    line = {"event": "started", "job": 0, "thread": 1, "alone": False}
    write(tmp_path, [(0, line)], [ELSEWHERE])
    assert len(read_states(tmp_path)[0].running) == 1
    Journal(tmp_path).died(ELSEWHERE, "SIGSEGV", innocent=innocent)
    state = read_states(tmp_path)[0]
    assert (state.running, state.crashes, state.crash) == (
        {},
        0 if innocent else 1,
        "" if innocent else "SIGSEGV",
    )


def test_a_journal_on_a_full_disk_says_so_and_its_cut_line_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.started(0)
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:10]))
    with pytest.raises(StorageError, match=r"cannot be written: No space left on device\. Free space there"):
        journal.ended(Outcome(0, Ending.COMPLETED))
    monkeypatch.undo()
    journal.ended(Outcome(0, Ending.FAILED, error="late"))
    assert read_states(tmp_path)[0].ending is Ending.FAILED


def test_the_states_of_many_jobs_take_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    lines: list[Line] = []
    for job in range(2_000):
        lines.append((0, {"event": "started", "job": job, "thread": 1, "alone": False}))
        lines.append(
            (0, {"event": "ended", "job": job, "thread": 1, "ending": "completed", "traceback": "x" * 2_000})
        )
    write(tmp_path, lines, [this_process()])
    del lines
    read_states(tmp_path)
    tracemalloc.start()
    states = read_states(tmp_path)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used / len(states) < 1_000
