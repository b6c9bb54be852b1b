"""`bt ingest FOLDER`: what it stores, skips and names, and what it returns."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bt_framework.cli.main import main
from bt_framework.data.store import EventStore
from bt_framework.testing.feeds import clean_events


@pytest.fixture(autouse=True)
def store_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data" / "store"
    monkeypatch.setenv("BT_STORE_DIR", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sound files of two readers, a broken one, and one that nobody knows."""
    root = tmp_path / "data"
    (root / "fx").mkdir(parents=True)
    np.savez_compressed(root / "aaa.npz", data=clean_events(300))
    write_quotes(root / "fx" / "lean_oanda_eurusd_20140501_quote.zip")
    np.save(root / "bad.npy", clean_events(300))
    content = (root / "bad.npy").read_bytes()
    (root / "bad.npy").write_bytes(content[: len(content) // 2])
    (root / "notes.txt").write_text("hello")
    return root


def write_quotes(path: Path, rows: int = 100) -> None:
    symbol = path.name.split("_")[2]
    lines = [f"{i * 200},1.3867{i % 2},1.3868{i % 3}\n" for i in range(rows)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"20140501_{symbol}_tick_quote.csv", "".join(lines))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["ingest", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def stored(out: str) -> dict[str, str]:
    """Symbol and whether it was stored now or before, of each row of the table."""
    rows = [line.split() for line in out.splitlines()[1:]]
    return {row[0]: row[-2] for row in rows if len(row) > 3 and row[-2] in ("now", "before")}


def test_a_folder_is_ingested_but_for_what_is_broken_or_unknown(capsys, folder, store_dir):
    code, out, err = run(capsys, str(folder))
    assert code == 2
    assert stored(out) == {"AAA": "now", "EURUSD_OANDA": "now"}
    assert f"failed (1):\n  npz: {folder / 'bad.npy'} is truncated: its header says" in out
    assert out.endswith(f"not recognised (1):\n  {folder / 'notes.txt'}\n")
    assert {m.symbol for m in EventStore(store_dir).manifests()} == {"AAA", "EURUSD_OANDA"}
    assert "ingesting AAA" in err


def test_the_second_ingest_skips_what_is_stored_and_the_store_itself(capsys, folder, store_dir):
    (folder / "bad.npy").unlink()
    assert run(capsys, str(folder))[0] == 0
    np.save(folder / "new.npy", clean_events(200))
    assert list(store_dir.glob("objects/*/*.npy"))
    code, out, err = run(capsys, str(folder))
    assert code == 0
    assert stored(out) == {"AAA": "before", "NEW": "now", "EURUSD_OANDA": "before"}
    assert (
        err == "ingesting NEW\ntick size of NEW: inferred 0.5 from the data\n" or "ingesting AAA" not in err
    )


def test_files_and_folders_may_be_mixed_and_the_store_chosen(capsys, folder, tmp_path):
    other = tmp_path / "other"
    code, out, _ = run(capsys, str(folder / "aaa.npz"), str(folder / "fx"), f"store_dir={other}")
    assert code == 0
    assert stored(out) == {"AAA": "now", "EURUSD_OANDA": "now"}
    assert out.splitlines()[-1] == f"store: {other}"


def test_keys_are_taken_where_one_reader_remains(capsys, folder):
    code, out, err = run(capsys, str(folder), "data.default_qty=5")
    assert (code, out) == (2, "")
    assert err.startswith(
        "bt: error: data.default_qty=5: a reader's keys must not be given for files of several"
    )
    code, out, _ = run(capsys, str(folder), "data=quotes", "data.default_qty=5")
    assert code == 0
    assert stored(out) == {"EURUSD_OANDA": "now"}
    (manifest,) = EventStore(Path(os.environ["BT_STORE_DIR"])).manifests()
    assert manifest.symbol == "EURUSD_OANDA"
    assert run(capsys, str(folder / "fx"), "data.default_qty=5")[0] == 0


def test_days_of_one_symbol_become_one_feed_and_a_broken_day_leaves_the_others(capsys, tmp_path):
    days = tmp_path / "data" / "days"
    days.mkdir(parents=True)
    for day, first in ((1, 0), (2, 1000), (3, 2000)):
        np.save(days / f"aaa_2024-01-0{day}.npy", shifted(first))
    code, out, _ = run(capsys, str(days))
    assert (code, stored(out)) == (0, {"AAA": "now"})
    assert f"{3 * len(shifted(0)):,}" in out
    content = (days / "aaa_2024-01-02.npy").read_bytes()
    (days / "aaa_2024-01-02.npy").write_bytes(content[:-64])
    code, out, err = run(capsys, str(days))
    assert code == 2
    assert out.count("AAA ") == 2
    assert "Each of the 3 files is tried by itself." in err
    assert "aaa_2024-01-02.npy is truncated" in out


def shifted(seconds: int) -> np.ndarray:
    rows = clean_events(300)
    for name in ("exch_ts", "local_ts"):
        rows[name] += seconds * 1_000_000_000
    return rows


def stream(first_ms: int) -> str:
    """Ten depth diffs of BTCUSDT as collected from Binance."""
    lines = []
    for i in range(10):
        ms, u = first_ms + i, first_ms + i
        levels = f'"b":[["100.{i}","1.5"]],"a":[["102.{i}","1.25"]]'
        data = f'{{"e":"depthUpdate","E":{ms},"T":{ms},"s":"BTCUSDT","U":{u},"u":{u},"pu":{u - 1},{levels}}}'
        lines.append(f'{ms}000000 {{"stream":"btcusdt@depth@0ms","data":{data}}}\n')
    return "".join(lines)


def test_a_file_that_cannot_be_opened_leaves_the_others_joined(capsys, tmp_path):
    streams = tmp_path / "data" / "streams"
    streams.mkdir(parents=True)
    (streams / "1").write_text(stream(1_723_161_255_000))
    (streams / "2").write_text(stream(1_723_161_255_010))
    (streams / "3").write_text('1723161255030000000 {"stream":"","data":{"e":"listStatus"}}\n')
    code, out, _ = run(capsys, str(streams))
    assert (code, stored(out)) == (2, {"BTCUSDT": "now"})
    assert out.splitlines()[1].split()[:2] == ["BTCUSDT", "40"]
    assert f"failed (1):\n  binance: {streams / '3'} holds no message that names a symbol" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "'nowhere' must be a folder or file that exists, or KEY=VALUE."),
        (["{folder}", "data=npzz"], "data must be one of"),
        (["{folder}", "data=synthetic_pair"], "data must be a reader of files (binance,"),
        (["{folder}", "data.files=[a]"], "data.files must not be given with folders or files."),
        (["{folder}/notes.txt"], "no file of {folder}/notes.txt is known to binance,"),
    ],
)
def test_what_cannot_be_done_is_said(capsys, folder, arguments, message):
    code, _, err = run(capsys, *(a.format(folder=folder) for a in arguments))
    assert code == 2
    assert err.startswith(f"bt: error: {message.format(folder=folder)}")


def test_a_killed_ingest_keeps_what_it_had_finished_and_goes_on(capsys, folder, store_dir):
    (folder / "bad.npy").unlink()
    write_quotes(folder / "fx" / "lean_oanda_nzdusd_20140501_quote.zip", rows=400_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "bt_framework", "ingest", str(folder)], stdout=subprocess.DEVNULL
    )
    while not list(store_dir.glob("manifests/*.json")) and process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {m.symbol for m in EventStore(store_dir).manifests()}
    assert "AAA" in finished
    code, out, _ = run(capsys, str(folder))
    assert code == 0, out
    assert stored(out) == {
        name: "before" if name in finished else "now" for name in ("AAA", "EURUSD_OANDA", "NZDUSD_OANDA")
    }


def test_a_terminal_sees_a_table_and_the_rest_below_it(folder):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 160))
    process = subprocess.Popen(
        [sys.executable, "-m", "bt_framework", "ingest", str(folder)],
        stdout=slave,
        stderr=slave,
        env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        | {"TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait() == 2
    text = shown.decode()
    assert "EURUSD_OANDA" in text
    assert "━" in text.partition("symbol")[2], text
    assert "failed (1):" in text
    assert text.rstrip().endswith("notes.txt")
