"""`bt screen`: what it prints, keeps and returns, also when it is stopped or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bt_framework.cli.main import main
from bt_framework.research.spreads import read_spread
from bt_framework.stores.research import ResearchStore

SCREEN = ("screen", "source=synthetic", "follow=none")
ROLLING = (*SCREEN, "window=150", "step=75")


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of stores with simulated bars: four symbols, one true pair."""
    folder = tmp_path_factory.mktemp("bars")
    words = ["bars=synthetic", "bars.symbols=4", "bars.pairs=1", "bars.length=450", "bars.theta=[0.2]"]
    assert main(["validate", *words, f"store_dir={folder}"]) == 0
    return folder


@pytest.fixture(autouse=True)
def store_dir(bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "bars").symlink_to(bars / "bars")
    monkeypatch.setenv("BT_STORE_DIR", str(folder))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def found(out: str) -> list[dict]:
    return json.loads(out)["results"]


def test_the_true_pair_comes_first_and_is_found(capsys, store_dir):
    code, out, _ = run(capsys, *SCREEN)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:3] == ["pair", "test", "date"]
    assert lines[1].startswith("SYN001_SYN002  2019-03-27 00:00   450")
    assert lines[1].endswith("BH Storey")
    assert len(lines) == 1 + 6 + 3
    assert "6 tests of 6 pairs of 4 symbols, 2019-03-27" in lines
    assert "found at a false discovery rate of 0.05: 1 by Benjamini-Hochberg, 1 by Storey" in out
    assert lines[-1] == f"store: {store_dir / 'research.sqlite'}"


def test_a_finished_screening_is_shown_again_as_it_was(capsys, monkeypatch):
    _, first, _ = run(capsys, *ROLLING)
    monkeypatch.setattr("bt_framework.research._results.tested", None)
    code, second, _ = run(capsys, *ROLLING)
    assert code == 0
    assert second == first
    assert "30 tests of 6 pairs of 4 symbols, 5 test dates from 2018-05-31 to 2019-03-27" in second


def test_rows_are_as_many_as_asked_for_in_order_of_their_p_value(capsys):
    _, out, _ = run(capsys, *ROLLING, "top=0", "--json")
    everything = found(out)
    p = [row["p_value"] for row in everything]
    assert len(p) == 30
    assert p == sorted(p)
    _, out, _ = run(capsys, *ROLLING, "top=4", "--json")
    assert found(out) == everything[:4]
    _, out, _ = run(capsys, *ROLLING, "top=4")
    assert len(out.splitlines()) == 1 + 4 + 3


def test_json_has_the_screening_its_settings_and_what_was_kept(capsys, store_dir):
    _, out, _ = run(capsys, "screen", "source=synthetic", "spreads=ols", "hedge_window=100", "--json")
    value = json.loads(out)
    assert value["source"] == "synthetic"
    assert value["settings"]["lags"] == 1
    assert value["summary"]["tested"] == 6
    kept = {"pairs": ["SYN001_SYN002"], "ou": 2, "kalman": 2, "spreads": 1, "refused": {}}
    assert value["kept"] == kept
    assert read_spread(store_dir, "synthetic", "SYN001_SYN002").num_rows == 350
    store = ResearchStore.in_folder(store_dir)
    row = value["results"][0]
    stored = store.ou_params("SYN001_SYN002", datetime(2030, 1, 1, tzinfo=UTC), y_symbol="SYN001")
    assert stored.hedge_ratio == row["ab_hedge_ratio"]
    assert [s.screen_id for s in store.screens()] == [value["screen_id"]]


def test_what_was_kept_is_told(capsys):
    _, out, _ = run(
        capsys, "screen", "source=synthetic", "follow=all", "pairs=[SYN002/SYN001]", "spreads=kalman"
    )
    assert "1 test of 1 pair of 2 symbols" in out
    assert "kept of 1 pair: 2 Ornstein-Uhlenbeck and 2 Kalman parameters, 1 spread" in out


def test_refused_pairs_are_counted_with_the_reason(capsys):
    _, out, _ = run(capsys, *SCREEN, "end=2018-02-15")
    assert "0 tests of 6 pairs of 4 symbols" in out
    assert "refused: 6 too few" in out
    assert "refused: too few\n" in out
    assert "0 by Benjamini-Hochberg\n" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "source must name stored bars: synthetic. Store some with: bt validate bars=NAME"),
        (("source=synthetik",), "was 'synthetik'. Did you mean 'synthetic'?"),
        (("source=synthetic", "symbols=[SYN001,SYN02]"), "was 'SYN02'. Did you mean 'SYN002'?"),
        (("source=synthetic", "symbols=[SYN001]"), "a pair needs two symbols"),
        (("source=synthetic", "window=500"), "window must be at most the 450 bars that there are, was 500."),
        (("source=synthetic", "start=2030-01-01"), "there are no bars between start and end"),
        (("source=synthetic", "lag=2"), "was 'lag'. Did you mean 'lags'?"),
        (("source=../bars",), "the override 'source=../bars' is refused"),
    ],
)
def test_what_cannot_be_screened_is_said_and_ends_with_2(capsys, arguments, text):
    code, out, err = run(capsys, "screen", *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert err.startswith("bt: error: ")
    assert "Traceback" not in err


def test_the_help_lists_every_key_with_its_default(capsys):
    code, out, _ = run(capsys, "screen", "--help")
    assert code == 0
    for text in (
        "source=",
        "window=0",
        "log=true",
        "methods=[engle_granger,johansen]",
        "start=null",
        "lags=1",
    ):
        assert text in out


_DYING = """
import os, signal, sys
from bt_framework.cli.main import main
from bt_framework.research import screen
from bt_framework.research._chunks import Chunks

screen._CELLS_PER_CHUNK = 300
put, kept = Chunks.put, []

def put_and_die(self, number, array):
    put(self, number, array)
    kept.append(number)
    if len(kept) == int(sys.argv[2]):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))

Chunks.put = put_and_die
sys.exit(main(sys.argv[3:]))
"""


def dying(name: str, after: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _DYING, name, str(after), *ROLLING, "top=0", "workers=1"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())


def test_a_killed_screening_goes_on_and_gives_the_same_rows(capsys, store_dir, monkeypatch):
    assert dying("SIGKILL", 4).returncode == -signal.SIGKILL
    parts = list((store_dir / "screens").glob("*/*.npy"))
    assert len(parts) == 4
    monkeypatch.setattr("bt_framework.research.screen._CELLS_PER_CHUNK", 300)
    before = {path: path.stat().st_mtime_ns for path in parts}
    assert dying("SIGKILL", 3).returncode == -signal.SIGKILL
    assert {path: path.stat().st_mtime_ns for path in parts} == before
    _, resumed, _ = run(capsys, *ROLLING, "top=0", "--json")
    assert list((store_dir / "screens").glob("*/*.npy")) == []
    for left in store_dir.glob("research.sqlite*"):
        left.unlink()
    _, whole, _ = run(capsys, *ROLLING, "top=0", "--json")
    assert found(resumed) == found(whole)


@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "Ctrl-C"), ("SIGTERM", 143, "SIGTERM")])
def test_a_stopped_screening_says_what_is_kept(name, code, word, store_dir):
    done = dying(name, 4)
    assert done.returncode == code
    assert f"bt: error: stopped by {word} after " in done.stderr
    assert "of 30 tests. They are kept; the same command goes on there." in done.stderr
    assert done.stdout == ""
    assert len(list((store_dir / "screens").glob("*/*.npy"))) >= 4
    assert ResearchStore.in_folder(store_dir).screens() == []
