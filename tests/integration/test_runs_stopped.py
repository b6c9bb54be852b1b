"""Kill, Ctrl-C, SIGTERM, a full disk: what is left is readable, and says what happened.

``BT_KILLS=100`` kills a run as many times instead of six times.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bt_framework.cli.main import main
from bt_framework.results.folder import RunFolder
from bt_framework.results.run import TABLES, Status

# Many slices and many writes: some seconds of loop on data that are ingested in one.
LONG = [
    "+strategy=market_maker",
    "strategy.requote_ns=10ms",
    "equity_interval_ns=10ms",
    "data.duration_ns=20min",
    "slice_wakes=500",
    "writer.parquet.flush_interval_ns=20ms",
    "console=plain",
]
KILLED = [*LONG, "data.duration_ns=20min"]
KILLS = int(os.environ.get("BT_KILLS", 6))


@dataclass
class Place:
    """Folders of one test, and `bt` in them."""

    store: Path
    work: Path

    @property
    def runs(self) -> list[Path]:
        """Run folders."""
        return sorted(p for p in (self.work / "runs").glob("*") if p.is_dir())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `bt`."""
        return subprocess.Popen(
            [sys.executable, "-m", "bt_framework", *arguments],
            cwd=self.work,
            env=os.environ | {"BT_STORE_DIR": str(self.store)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run `bt` to its end: (exit code, stdout, stderr)."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event store of this file's runs."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def place(store: Path, tmp_path: Path) -> Place:
    """An empty folder to run in."""
    work = tmp_path / "work"
    work.mkdir()
    return Place(store, work)


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Return as soon as `condition` is true; fail if the process ends before."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)  # the process needs the processor


def readable(folder: Path) -> dict[str, int]:
    """Rows per table of a run folder, after reading every file in it that has its final name."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            if path.suffix == ".parquet":
                pq.ParquetFile(path).read()
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            else:
                assert path.name == "config.yaml"
                assert RunFolder(folder).config()["seed"] == 1
    return {name: RunFolder(folder).table(name).num_rows for name in TABLES}


def whole_time_s(place: Place) -> float:
    """Wall time of the run that is going to be killed, with warm caches."""
    assert place.run(*KILLED)[0] == 0
    began = time.monotonic()
    assert place.run(*KILLED)[0] == 0
    return time.monotonic() - began


def test_a_run_that_is_killed_at_any_moment_leaves_only_what_can_be_read(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place.work)
    monkeypatch.setenv("BT_STORE_DIR", str(place.store))
    whole_s = whole_time_s(place)
    known = len(place.runs)
    moments = random.Random(7)
    in_loop = 0
    for number in range(KILLS):
        process = place.start(*KILLED)
        earliest_s = 0.5 * whole_s * (number % 2)  # every other one late, where rows are written
        try:
            process.wait(timeout=moments.uniform(earliest_s, whole_s))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        fresh = place.runs[known:]
        known += len(fresh)
        for folder in fresh:
            if not (folder / "run.json").exists():
                continue  # killed between two system calls
            rows = readable(folder)
            in_loop += rows["equity"] > 0
            assert RunFolder(folder).record().status in (Status.LOST, Status.COMPLETED)
        assert main(["runs", "--json"]) == 0, capsys.readouterr().err
        assert {r["status"] for r in json.loads(capsys.readouterr().out)} <= {"completed", "lost"}
    assert in_loop >= 3
    assert place.run(*KILLED)[0] == 0


def test_a_run_that_is_killed_in_the_loop_is_shown_as_lost_with_what_it_had_written(place: Place) -> None:
    process = place.start(*LONG)
    wait_until(lambda: len(list(place.work.glob("runs/*/parts/equity-*.parquet"))) >= 3, process)
    process.kill()
    process.communicate()
    (folder,) = place.runs
    assert RunFolder(folder).record().status == Status.LOST
    assert readable(folder)["equity"] > 0
    code, out, _ = place.run("runs", "--json")
    assert (code, [r["status"] for r in json.loads(out)]) == (0, ["lost"])
    code, out, _ = place.run("runs", "show", folder.name)
    assert code == 0
    assert "lost" in out


@pytest.fixture(
    params=[(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")], ids=["int", "term"]
)
def stop(request: pytest.FixtureRequest) -> Iterator[tuple[signal.Signals, int, str]]:
    """(signal, exit code, its name)."""
    return request.param  # type: ignore[no-any-return]


def test_a_stop_in_the_loop_ends_the_run_in_order(
    place: Place, stop: tuple[signal.Signals, int, str]
) -> None:
    number, code, name = stop
    process = place.start(*LONG)
    wait_until(lambda: list(place.work.glob("runs/*/parts/*.parquet")), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"bt: error: stopped by {name}." in err
    assert "Traceback" not in err
    (folder,) = place.runs
    record = RunFolder(folder).record()
    assert record.status == Status.STOPPED
    assert record.start_ts < record.local_ts < record.end_ts
    rows = readable(folder)
    assert rows["equity"] == record.counts["equity"] > 0
    assert rows["fills"] == record.counts["fills"]
    assert not (folder / "parts").exists()
    assert not list(folder.glob(".*draft"))
    _, out, _ = place.run("runs", "--json")
    assert [r["status"] for r in json.loads(out)] == ["stopped"]


def test_a_second_stop_changes_nothing(place: Place) -> None:
    process = place.start(*LONG)
    wait_until(lambda: list(place.work.glob("runs/*/parts/*.parquet")), process)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (folder,) = place.runs
    assert RunFolder(folder).record().status == Status.STOPPED
    readable(folder)


def test_a_stop_while_compiling_ends_the_run_in_order(
    place: Place, tmp_path: Path, stop: tuple[signal.Signals, int, str]
) -> None:
    number, code, name = stop
    process = place.start(*LONG, BT_CACHE_DIR=str(tmp_path / "cold"))
    wait_until(lambda: list(place.work.glob("runs/*/run.json")), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"bt: error: stopped by {name}.\n" in err
    assert "Traceback" not in err
    (folder,) = place.runs
    record = RunFolder(folder).record()
    assert (record.status, record.error) == (Status.STOPPED, f"stopped by {name}.")
    assert readable(folder) == dict.fromkeys(TABLES, 0)


def test_a_stop_during_ingest_leaves_no_run_and_nothing_half_stored(
    place: Place, tmp_path: Path, stop: tuple[signal.Signals, int, str]
) -> None:
    number, code, name = stop
    store = tmp_path / "fresh"
    arguments = [*LONG, "data.duration_ns=3h"]
    process = place.start(*arguments, BT_STORE_DIR=str(store))
    wait_until(lambda: any(p.is_file() and p.stat().st_size > 1 << 20 for p in store.rglob("*")), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"bt: error: stopped by {name}." in err
    assert place.runs == []
    code, _, err = place.run("data", "ls", BT_STORE_DIR=str(store))
    assert code == 0, err
    left = sum(p.stat().st_size for p in store.rglob("*") if p.is_file() and p.suffix != ".lock")
    assert left < 1 << 16, [str(p) for p in store.rglob("*")]
    assert place.run(*LONG, "data.duration_ns=2s", BT_STORE_DIR=str(store))[0] == 0


def test_two_runs_at_once_on_one_store_and_one_runs_folder_both_succeed(place: Place, tmp_path: Path) -> None:
    arguments = ["+strategy=market_maker", "data.duration_ns=30s", "console=json"]
    both = [place.start(*arguments, BT_STORE_DIR=str(tmp_path / "new")) for _ in range(2)]
    records = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        records.append(json.loads(out.splitlines()[-1]))
    assert records[0]["result_hash"] == records[1]["result_hash"]
    assert len(place.runs) == 2
    assert len(json.loads(place.run("runs", "--json")[1])) == 2


def _with_small_files(place: Place, limit_bytes: int, *arguments: str, store: Path) -> tuple[int, str, str]:
    """Run `bt` where no file may grow beyond a limit, as on a disk that is nearly full."""
    code = (
        "import resource, sys; from bt_framework.cli.main import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes})); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=place.work,
        env=os.environ | {"BT_STORE_DIR": str(store)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_disk_that_fills_up_during_ingest_is_one_message_and_nothing_half_stored(
    place: Place, tmp_path: Path
) -> None:
    store = tmp_path / "fresh"
    code, _, err = _with_small_files(place, 1 << 20, *LONG, "data.duration_ns=10min", store=store)
    assert code == 2, err
    assert err.splitlines()[-1].startswith("bt: error: ")
    assert f"storing events in {store} failed: File too large." in err
    assert "Traceback" not in err
    assert place.runs == []
    assert sum(p.stat().st_size for p in store.rglob("*") if p.is_file()) < 1 << 16


def test_a_disk_that_fills_up_during_a_run_is_one_message_and_all_that_is_there_can_be_read(
    place: Place,
) -> None:
    assert place.run(*LONG)[0] == 0
    known = place.runs
    code, _, err = _with_small_files(
        place, 400_000, *LONG, "writer.parquet.flush_interval_ns=1s", store=place.store
    )
    assert code == 2, err
    assert re.search(r"^bt: error: .*/runs/.* cannot be written: ", err, re.M), err
    assert "Traceback" not in err
    (folder,) = set(place.runs) - set(known)
    record = RunFolder(folder).record()
    assert record.status == Status.FAILED
    assert "cannot be written" in record.error
    readable(folder)
    assert not list(folder.rglob(".*draft"))
    assert place.run("runs")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_folder_that_cannot_be_written_is_one_message(place: Place, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    code, _, err = place.run(*LONG, f"runs_dir={locked}/runs")
    assert code == 2
    assert f"{locked}" in err
    assert "Traceback" not in err


def test_a_runs_folder_that_is_a_file_is_one_message(place: Place) -> None:
    (place.work / "runs").write_text("not a folder")
    code, _, err = place.run("+strategy=market_maker", "data.duration_ns=2s")
    assert code == 2
    assert "Traceback" not in err
    assert "runs" in err


def test_instruments_without_common_time_are_refused(place: Place, shared_dir: Path) -> None:
    import gzip

    folder = shared_dir / "data/binance"
    late = place.work / "late.gz"
    with gzip.open(folder / "ethusdt_20240808.gz", "rt") as file:
        lines = [next(file) for _ in range(3_000)]
    day_ns = 86_400 * 10**9
    with gzip.open(late, "wt") as file:
        for line in lines:
            ts, _, message = line.partition(" ")
            shifted = re.sub(r'"([ET])":(\d{13})', lambda m: f'"{m[1]}":{int(m[2]) + 86_400_000}', message)
            file.write(f"{int(ts) + day_ns * len(ts) // 19} {shifted}")
    code, _, err = place.run(
        "+strategy=ou_pairs", "data=binance", f"data.files=[{folder}/btcusdt_20240808.gz,{late}]"
    )
    assert code == 2
    assert "bt: error: the instruments have no common time: BTCUSDT 2024-08-08T" in err
    assert "Choose files of the same days." in err
    assert place.runs == []


def test_a_symbol_that_the_files_do_not_have_is_refused(place: Place, shared_dir: Path) -> None:
    folder = shared_dir / "data/binance"
    files = f"data.files=[{folder}/btcusdt_20240808.gz,{folder}/ethusdt_20240808.gz]"
    code, _, err = place.run("+strategy=ou_pairs", "data=binance", files, "data.symbols=[BTCUSDT,XRPUSDT]")
    assert code == 2
    assert "XRPUSDT" in err
    assert "Traceback" not in err
    assert place.runs == []


def test_a_strategy_for_two_instruments_refuses_one(place: Place, shared_dir: Path) -> None:
    files = f"data.files=[{shared_dir}/data/binance/btcusdt_20240808.gz]"
    code, _, err = place.run("+strategy=ou_pairs", "data=binance", files)
    assert code == 2
    assert "bt: error: the strategy trades 2 instruments, the data has 1: BTCUSDT." in err


def test_a_window_outside_the_data_is_refused(place: Place) -> None:
    code, _, err = place.run("+strategy=market_maker", "data.duration_ns=2s", "start=2030-01-01")
    assert code == 2
    assert "bt: error: start and end leave nothing of the data, which is from 2024-01-01T00:00:00" in err
