"""Worker processes: what they must agree on with the process that launched them, and when they end."""

from __future__ import annotations

import dataclasses
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bt_framework.errors import PluginError
from bt_framework.results.process import ProcessIdentity
from bt_framework.sweep.folder import STOP_FILE
from bt_framework.sweep.worker import LauncherStop, Origin, versions


def test_an_origin_survives_the_way_to_a_worker() -> None:
    origin = Origin.here(["bt-framework", "pytest", "no-such-package"])
    assert pickle.loads(pickle.dumps(origin)) == origin
    assert "pytest" in origin.versions
    assert "no-such-package" not in origin.versions
    origin.settle()  # this very process agrees with itself, and does not watch itself


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("numba", "0.1", "numba 0.1, was "),
        ("python", "2.7.18", "python 2.7.18, was 3."),
        ("bt-momentum", "1.0", "bt-momentum 1.0, was missing"),
    ],
)
def test_another_version_in_a_worker_is_refused(name: str, version: str, said: str) -> None:
    origin = dataclasses.replace(Origin.here(), versions=versions() | {name: version})
    with pytest.raises(PluginError, match="must have what the sweep was started with") as caught:
        origin.settle()
    assert said in str(caught.value)
    assert str(caught.value).count(", was ") == 1


def test_a_worker_ends_when_its_launcher_is_gone() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    code = "import time; from bt_framework.sweep.worker import watch; watch({!r}); time.sleep(60)"
    launcher = dataclasses.replace(Origin.here().process, pid=gone.pid, started="before")
    text = f"from bt_framework.results.process import ProcessIdentity; {code.format(launcher)}"
    assert subprocess.run([sys.executable, "-c", text], check=False, timeout=30).returncode == 1


def test_a_worker_of_another_machine_is_not_ended() -> None:
    assert not ProcessIdentity("elsewhere", 1, "").is_gone()


def test_a_stop_is_told_to_workers_by_a_file_that_goes_away(tmp_path: Path) -> None:
    told = []
    (tmp_path / STOP_FILE).touch()  # of a launcher that was killed
    with LauncherStop(tmp_path, lambda: told.append(1)) as stop:
        assert (stop.received, (tmp_path / STOP_FILE).exists()) == (False, False)
        signal.raise_signal(signal.SIGTERM)
        assert (stop.received, (tmp_path / STOP_FILE).exists(), told) == (True, True, [1])
        assert "SIGTERM" in str(stop.error())
    assert not (tmp_path / STOP_FILE).exists()
