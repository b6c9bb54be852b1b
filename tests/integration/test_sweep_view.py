"""Sweeps as their users see them: on a terminal, through a pipe, by a program; what they cost, before and after."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

SWEEP = ["+strategy=market_maker", "data.duration_ns=20s", "strategy.requote_ns=200ms,300ms,400ms,500ms"]
ASKS = "sweep.confirm_hours=0.0000001"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Place:
    """A folder to run in, and the event store."""

    work: Path
    store: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes."""
        taken = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        own = {
            "BT_STORE_DIR": str(self.store),
            "TMPDIR": str(self.work.parent),
            "TERM": "xterm",
            "NO_COLOR": "1",
        }
        return taken | own

    def bt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `bt` without a terminal."""
        return subprocess.run(
            [sys.executable, "-m", "bt_framework", *arguments],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def on_terminal(self, *arguments: str, answer: str = "") -> tuple[int, str]:
        """Run `bt` on a terminal, give `answer` when it asks, and return its exit code and all it wrote there."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.work)
            command = [sys.executable, "-m", "bt_framework", *arguments]
            os.execve(sys.executable, command, self.environment)
        termios.tcsetwinsize(terminal, (40, 120))
        shown = b""
        while True:
            try:
                part = os.read(terminal, 1 << 16)
            except OSError:  # nobody has it open any more
                break
            shown += part
            if answer and b"[y/N]" in shown:
                os.write(terminal, answer.encode())
                answer = ""
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()

    @property
    def runs(self) -> list[Path]:
        """Run folders."""
        return [path for path in (self.work / "runs").glob("*") if path.is_dir()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event store of this file's runs."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def place(tmp_path: Path, store: Path) -> Place:
    """An empty folder to run in."""
    work = tmp_path / "work"
    work.mkdir()
    return Place(work, store)


def test_a_terminal_shows_a_live_view_and_asks_before_a_sweep_that_costs_more_than_allowed(place):
    code, shown = place.on_terminal("-m", *SWEEP, ASKS, answer="y\n")
    assert code == 0, shown
    drawn, asked, after = re.split(
        r"(Judged by the first job, the other 3 take about .* Run them\? \[y/N\])", shown
    )
    assert re.search(
        r"━{40}   0%  0 of 4 jobs\r\n1 running\r\nworker 1  job 0  .* strategy.requote_ns=200ms",
        _CONTROL.sub("", drawn),
    )
    assert "more than sweep.confirm_hours=1e-07" in asked
    # The rest may be over before the view is drawn again.
    after = _CONTROL.sub("", after)
    lines = after[after.rindex("sweep /") :].split("\r\n")
    assert re.fullmatch(r"sweep .*/sweeps/\S+: 4 of 4 jobs completed", lines[0])
    assert re.match(r"time: .* s, .* jobs/s", lines[1])
    assert re.match(
        r"best sharpe .*: job \d \(strategy.requote_ns=\d00ms\); its command: bt sweep best \S+", lines[2]
    )
    assert lines[3].startswith("table: ")

    # All of it is stored now: the sweep costs nothing, and nobody is asked.
    done = place.bt("-m", *SWEEP, ASKS, "console=json")
    assert done.returncode == 0, done.stderr
    *jobs, sweep = (json.loads(line) for line in done.stdout.splitlines())
    assert sorted(job["job"] for job in jobs) == [0, 1, 2, 3]
    assert {job["status"] for job in jobs} == {"completed"}
    assert all(job["reused"] and job["metrics"]["pnl"] is not None for job in jobs)
    assert (sweep["jobs"], sweep["completed"], sweep["reused"], sweep["left"]) == (4, 4, 4, 0)
    assert sweep["best"]["metric"] == "sharpe"
    assert Path(sweep["table"]).is_file()


def test_a_no_on_a_terminal_ends_the_sweep_before_its_second_job(place):
    code, shown = place.on_terminal("-m", *SWEEP, ASKS, answer="n\n")
    assert code == 2
    assert "1 of 4 jobs completed, 3 left" in shown
    assert len(place.runs) == 1


def test_without_a_terminal_a_sweep_that_costs_more_than_allowed_ends_and_says_how_to_allow_it(place):
    done = place.bt("-m", *SWEEP, ASKS)
    assert done.returncode == 2
    first, *further = done.stdout.splitlines()
    folder = re.fullmatch(r"sweep (/.*/sweeps/\S+): 4 jobs", first)
    assert folder is not None
    assert f"sweep {folder[1]}: 1 of 4 jobs completed, 3 left" in further
    assert "\x1b" not in done.stdout + done.stderr
    assert (Path(folder[1]) / "table.parquet").is_file()
    resume = re.search(
        r"more than sweep.confirm_hours=1e-07.*To run them: bt (sweep resume \S+ \S+=1)$", done.stderr
    )
    assert resume is not None, done.stderr
    resumed = place.bt(*resume[1].split())
    assert resumed.returncode == 0, resumed.stderr
    assert f"sweep {folder[1]}: 4 jobs, 1 of them done before" in resumed.stdout
    assert f"sweep {folder[1]}: 4 of 4 jobs completed" in resumed.stdout
    assert len(place.runs) == 4


def test_an_estimate_is_right_within_a_factor_of_two_leaves_nothing_and_knows_what_is_stored(place):
    """The machine may have other things to do during one of the two: three attempts."""
    ratios = []
    for attempt in range(3):
        values = ",".join(f"{200 + attempt + 10 * n}ms" for n in range(30))
        sweep = [
            "+strategy=market_maker",
            "data.duration_ns=2min",
            f"strategy.requote_ns={values}",
            "sweep.workers=1",
        ]
        done = place.bt("sweep", "estimate", *sweep)
        assert done.returncode == 0, done.stderr
        assert "jobs: 30\n" in done.stdout
        expected = re.search(r"^1 worker: ([\d.]+) s  \(as asked for\)$", done.stdout, re.M)
        disk = re.search(r"^disk: ([\d.]+) MB$", done.stdout, re.M)
        assert expected is not None, done.stdout
        assert disk is not None, done.stdout
        if attempt == 0:
            assert list(place.work.iterdir()) == []
            assert [path.name for path in place.work.parent.glob("bt-estimate-*")] == []
        began = time.perf_counter()
        assert place.bt("-m", *sweep).returncode == 0
        ratios.append((time.perf_counter() - began) / float(expected[1]))
        if 0.5 < ratios[-1] < 2:
            break
    else:
        pytest.fail(f"took so many times what was expected: {ratios}")
    size = sum(file.stat().st_size for run in place.runs[-30:] for file in run.rglob("*") if file.is_file())
    assert size / 1e6 == pytest.approx(float(disk[1]), rel=0.3)
    stored = place.bt("sweep", "estimate", "-m", *sweep[:2], f"{sweep[2]},9s", ASKS)
    assert "jobs: 31, about 30 of them stored already\n" in stored.stdout, stored.stdout + stored.stderr
    assert stored.stdout.endswith(
        "bt -m asks after the first job; to allow it beforehand: sweep.confirm_hours=1\n"
    )
