"""The event store with real processes: at once, killed, out of space."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bt_framework.data.store import EventStore
from bt_framework.errors import StorageError
from bt_framework.testing.feeds import ArrayFeed, clean_events

INGEST = """
import sys
from pathlib import Path
from bt_framework.data.store import EventStore
from bt_framework.testing.feeds import ArrayFeed, clean_events

class Waiting(ArrayFeed):
    def chunks(self, report, progress):
        for i, chunk in enumerate(super().chunks(report, progress)):
            yield chunk
            if i == 0:
                print("streaming", flush=True)
                sys.stdin.readline()

print("ready", flush=True)
sys.stdin.readline()
stored = EventStore(Path(sys.argv[1])).load(
    Waiting(clean_events(500)), announce=lambda line: print(line, flush=True)
)
print(stored.content_hash, len(stored.open()), flush=True)
"""


def start(root: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", INGEST, str(root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def say(process: subprocess.Popen, text: str = "\n") -> None:
    process.stdin.write(text)
    process.stdin.flush()


def leftovers(root: Path) -> list[str]:
    folders = ("manifests", "objects", "archive", "tmp")
    return [
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file()
    ]


def test_two_processes_that_ingest_the_same_feed_at_once_both_succeed(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    say(first)
    assert first.stdout.readline() == "ingesting TEST\n"
    assert first.stdout.readline() == "streaming\n"
    say(second)
    assert second.stdout.readline() == "waiting for another ingest of it\n"
    outs = [process.communicate("\n", timeout=120)[0].splitlines()[-1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert outs[0] == outs[1]
    assert len(list((tmp_path / "objects").rglob("*.npy"))) == 1


def test_many_processes_that_ingest_at_once_all_succeed(tmp_path):
    processes = [start(tmp_path) for _ in range(4)]
    for process in processes:
        say(process, "\n\n")
    outs = {process.communicate(timeout=120)[0].splitlines()[-1] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(outs) == 1


def test_a_killed_ingest_leaves_no_manifest_and_its_files_are_swept(tmp_path):
    process = start(tmp_path)
    say(process)
    while process.stdout.readline() != "streaming\n":
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    left = leftovers(tmp_path)
    assert left
    assert all(name.startswith("tmp/") for name in left)
    for folder in (tmp_path / "tmp").iterdir():
        os.utime(folder, (1, 1))
    EventStore(tmp_path).load(ArrayFeed(clean_events(10)))
    assert not [name for name in leftovers(tmp_path) if name.startswith("tmp/")]


def test_an_ingest_in_progress_is_not_swept(tmp_path):
    process = start(tmp_path)
    say(process)
    while process.stdout.readline() != "streaming\n":
        pass
    for folder in (tmp_path / "tmp").iterdir():
        os.utime(folder, (1, 1))
    EventStore(tmp_path).load(ArrayFeed(clean_events(10)))
    out, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert out.splitlines()[-1].endswith(str(len(clean_events(500))))


@pytest.fixture
def file_size_limit():
    """No file may grow beyond a megabyte: what a full disk looks like to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path, file_size_limit):
    events = clean_events(6_000)
    assert events.nbytes > 1 << 20
    with pytest.raises(
        StorageError, match=rf"storing events in {tmp_path} failed: File too large. Free space"
    ):
        EventStore(tmp_path).load(ArrayFeed(events))
    assert leftovers(tmp_path) == []


def test_a_full_disk_while_rebuilding_is_a_storage_error(tmp_path):
    events = clean_events(6_000)
    stored = EventStore(tmp_path).load(ArrayFeed(events))
    stored.path.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            stored.open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stored.open().tobytes() == events.tobytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_unwritable_folder_is_a_storage_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        EventStore(tmp_path / "store").load(ArrayFeed(clean_events(10)))


PEAK = """
import resource, sys
from pathlib import Path
from bt_framework.data.store import EventStore
from bt_plugins.data.synthetic_pair import SyntheticPair, build
feed = build(SyntheticPair(duration_ns=sys.argv[2])).feeds()[0]
stored = EventStore(Path(sys.argv[1])).load(feed)
print(stored.events, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_feed(tmp_path):
    def ingest(duration: str) -> tuple[int, int]:
        command = [sys.executable, "-c", PEAK, str(tmp_path / duration), duration]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        events, peak = map(int, out.split())
        return events, peak

    ingest("10min")  # compiles, where that has not been done
    few, peak_of_few = ingest("30min")
    many, peak_of_many = ingest("300min")
    assert many > 9 * few
    assert peak_of_many < 1.1 * peak_of_few
