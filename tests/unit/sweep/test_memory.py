"""How many workers fit into the memory."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bt_framework.errors import BtError, RunStopped
from bt_framework.interrupt import StopSignals
from bt_framework.sweep import memory
from bt_framework.sweep.memory import Room

GB = 2**30


def system(folder: Path, *, free_kb: int, **group: str) -> tuple[Path, Path]:
    """Write what the kernel would say: (proc, cgroups)."""
    proc, cgroups = folder / "proc", folder / "cgroups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {free_kb} kB\n")
    (proc / "self/cgroup").write_text("0::/jobs/one\n")
    (cgroups / "jobs/one").mkdir(parents=True)
    for name, text in group.items():
        (cgroups / "jobs" / name.replace("_", ".")).write_text(text)
    return proc, cgroups


@pytest.mark.parametrize(
    ("workers", "free_bytes", "fit"),
    [(4, GB, 4), (5, GB, 4), (1000, 10 * GB, 40), (2, 0, 1), (1, memory.WORKER_BYTES - 1, 1)],
)
def test_no_more_workers_than_fit_and_one_at_least(workers: int, free_bytes: int, fit: int) -> None:
    assert memory.fitting(workers, free_bytes) == fit


def test_jobs_that_do_not_fit_together_wait_for_each_other_and_those_that_do_run_at_once() -> None:
    room, inside, most = Room(100), [0], []

    def job(size_bytes: int) -> None:
        with room.taken(size_bytes, StopSignals()):
            inside[0] += size_bytes
            most.append(inside[0])
            time.sleep(0.01)
            inside[0] -= size_bytes

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(job, [30, 80, 30, 30, 10, 95, 30, 30] * 3))
    assert 60 <= max(most) <= 100


def test_a_job_larger_than_all_room_runs_by_itself() -> None:
    room = Room(10)
    with room.taken(50, StopSignals()):
        stopped = Halted()
        with room.taken(1, stopped):  # told to stop while it waits
            assert stopped.asked > 1
    with room.taken(10, StopSignals()):
        pass


class Halted:
    """Says stop when it is asked again."""

    asked = 0

    @property
    def received(self) -> bool:
        self.asked += 1
        return self.asked > 1

    def defer(self) -> None:
        pass

    def error(self) -> BtError:
        return RunStopped("stopped.", signal_number=15)


def test_without_a_group_the_machine_says_what_is_free(tmp_path: Path) -> None:
    assert memory.available_bytes(*system(tmp_path, free_kb=2**20)) == GB


def test_the_group_that_is_nearest_to_its_limit_counts_and_its_page_cache_is_free(tmp_path: Path) -> None:
    stat = f"anon 5\ninactive_file {GB // 4}\n"
    group = {"memory_max": str(2 * GB), "memory_current": str(2 * GB - GB // 4), "memory_stat": stat}
    proc, cgroups = system(tmp_path, free_kb=2**30, **group)
    (cgroups / "jobs/one/memory.max").write_text("max\n")
    assert memory.available_bytes(proc, cgroups) == GB // 2


def test_a_group_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    assert memory.available_bytes(*system(tmp_path, free_kb=2**20, memory_max="10", memory_current="20")) == 0


def test_this_machine_has_something_left() -> None:
    assert memory.available_bytes() > 0
