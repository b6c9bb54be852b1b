"""`bt ingest` and `bt data`: what they print, what they return."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bt_framework.cli.main import main
from bt_framework.testing.feeds import clean_events

SHORT = ["data.duration_ns=20s"]


@pytest.fixture(autouse=True)
def store_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    monkeypatch.setenv("BT_STORE_DIR", str(folder))
    return folder


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "clean.npz"
    np.savez_compressed(path, data=clean_events(300))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_ingest_prints_what_is_stored_and_ls_lists_it(capsys, store_dir):
    code, out, err = run(capsys, "ingest", *SHORT)
    assert code == 0
    assert out.splitlines()[0].split() == (
        ["symbol", "events", "from", "(UTC)", "to", "(UTC)", "tick", "lot", "grade", "stored", "key"]
    )
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["SYNA", "SYNB"]
    assert out.splitlines()[-1] == f"store: {store_dir}"
    assert sorted(err.splitlines()) == ["ingesting SYNA", "ingesting SYNB"]
    code, out, err = run(capsys, "ingest", *SHORT)
    assert "ok     before" in out
    assert err == ""
    code, out, _ = run(capsys, "data", "ls", "--json")
    listed = json.loads(out)
    assert [entry["symbol"] for entry in listed] == ["SYNA", "SYNB"]
    assert all(entry["mapped_bytes"] > entry["archived_bytes"] > 0 for entry in listed)
    code, out, _ = run(capsys, "data", "ls")
    assert listed[0]["key"][:8] in out


def test_an_empty_store_says_how_to_fill_it(capsys, store_dir):
    code, out, _ = run(capsys, "data", "ls")
    assert (code, out) == (
        0,
        f"nothing in {store_dir}. Fill it with: bt ingest data=NAME data.files=[FILE]\n",
    )


def test_rm_takes_symbols_keys_or_all(capsys):
    run(capsys, "ingest", *SHORT)
    key = json.loads(run(capsys, "data", "ls", "--json")[1])[1]["key"]
    assert run(capsys, "data", "rm", "SYNA")[1].startswith("removed 1 of 2, freed ")
    assert run(capsys, "data", "rm", key[:8])[1].startswith("removed 1 of 1, freed ")
    run(capsys, "ingest", *SHORT)
    assert run(capsys, "data", "rm", "--all")[1].startswith("removed 2 of 2, freed ")
    assert json.loads(run(capsys, "data", "ls", "--json")[1]) == []


def test_rm_refuses_an_unknown_name_and_an_empty_wish(capsys):
    run(capsys, "ingest", *SHORT)
    code, _, err = run(capsys, "data", "rm", "SYNC")
    assert code == 2
    assert "what to remove must be one of " in err
    assert err.endswith("was 'SYNC'. Did you mean 'SYNB'?\n")
    code, _, err = run(capsys, "data", "rm")
    assert code == 2
    assert "Name keys or symbols to remove, or give --all." in err


def test_check_recognises_the_reader_and_finds_nothing_wrong(capsys, npz, store_dir):
    code, out, _ = run(capsys, "data", "check", str(npz))
    assert code == 0
    assert "CLEAN: ok; " in out
    assert "tick 0.1, lot 0.001" in out
    assert not store_dir.exists()


def test_check_exits_with_2_where_a_defect_is_fatal(capsys, tmp_path):
    events = clean_events(300)
    events["exch_ts"][500] -= 10**9
    path = tmp_path / "broken.npz"
    np.savez(path, data=events)
    code, out, _ = run(capsys, "data", "check", str(path))
    assert code == 2
    assert "fatal" in out
    assert "exchange time order" in out
    code, out, _ = run(capsys, "data", "check", "--json", str(path))
    assert code == 2
    (checked,) = json.loads(out)
    assert checked["grade"] == "fatal"
    assert checked["findings"][0]["check"] == "exchange time order"
    code, out, err = run(capsys, "ingest", "data=npz", f"data.files=['{path}']")
    assert code == 2
    assert "the events cannot be used:\n  exchange time order: 1 from row 500" in err


def test_check_takes_options_of_a_reader(capsys, npz):
    code, _, err = run(capsys, "data", "check", "data=npz", "data.tick_size.CLEAN=0.3", str(npz))
    assert code == 2
    assert "tick_size of CLEAN must divide the prices, was 0.3" in err


def test_check_of_no_file_and_of_no_data_are_errors(capsys, tmp_path):
    code, _, err = run(capsys, "data", "check", str(tmp_path / "nowhere.gz"))
    assert (code, err) == (2, f"bt: error: {tmp_path}/nowhere.gz does not exist.\n")
    text = tmp_path / "letter.txt"
    text.write_text("Dear reader,\n")
    code, _, err = run(capsys, "data", "check", str(text))
    assert code == 2
    assert err.startswith(f"bt: error: no installed reader recognises {text}:\n  binance: ")
    assert "\n  npz: " in err


def test_a_tick_that_does_not_divide_stops_the_ingest_and_stores_nothing(capsys, npz, store_dir):
    code, _, err = run(capsys, "ingest", "data=npz", f"data.files=['{npz}']", "data.tick_size.CLEAN=0.3")
    assert code == 2
    assert "tick_size of CLEAN must divide the prices, was 0.3: row 1 has the price 1000.1, 1 of " in err
    assert not list((store_dir / "manifests").glob("*"))


def test_an_unwritable_store_is_one_clear_line(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "file" / "store"))
    code, _, err = run(capsys, "ingest", *SHORT)
    assert code == 2
    assert err.splitlines()[-1].startswith(
        f"bt: error: storing events in {tmp_path}/file/store failed: Not a directory"
    )


def test_control_c_stops_an_ingest_and_leaves_nothing_half_written(store_dir):
    script = "from bt_framework.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-c", script, "ingest", "data.duration_ns=200h"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr.readline().startswith("ingesting SYN")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "bt: stopped"
    assert not [path for path in store_dir.rglob("*") if path.is_file()]


def test_check_repairs_what_it_can_and_shows_every_kind_of_change(capsys, tmp_path, store_dir):
    events = clean_events(300)
    events["exch_ts"][500] -= 10**9
    events["qty"][700] = -1.0
    path = tmp_path / "broken.npz"
    np.savez(path, data=events)
    code, out, _ = run(capsys, "data", "check", "--repair", str(path))
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["symbol", "repaired", "action", "field", "count", "first", "row", "before", "after"]
    assert rows[1][:8] == ["BROKEN", "exchange", "time", "order", "changed", "exch_ts", "1", "500"]
    assert rows[2] == ["BROKEN", "negative", "sizes", "changed", "qty", "1", "700", "-1.0", "0.0"]
    assert "\nfidelity C\n" in out
    code, out, _ = run(capsys, "data", "check", "--repair", "--json", str(path))
    (checked,) = json.loads(out)
    assert (checked["fidelity"], checked["book_level"], len(checked["repairs"])) == ("C", "l2", 2)
    assert checked["repairs"][1] == {
        "row": 700,
        "check": "negative sizes",
        "field": "qty",
        "before": "-1.0",
        "after": "0.0",
        "action": "changed",
    }


def test_an_ingest_with_repair_stores_what_it_refuses_without(capsys, tmp_path, store_dir):
    events = clean_events(300)
    events["exch_ts"][500] -= 10**9
    path = tmp_path / "broken.npz"
    np.savez(path, data=events)
    assert run(capsys, "ingest", "data=npz", f"data.files=['{path}']")[0] == 2
    for arguments in (["data=npz", f"data.files=['{path}']"], [str(path)]):
        code, out, _ = run(capsys, "ingest", "repair=true", *arguments)
        assert code == 0
        assert out.splitlines()[1].startswith("BROKEN ")
    (table,) = (store_dir / "manifests").glob("*.repairs.parquet")
    (listed,) = json.loads(run(capsys, "data", "ls", "--json")[1])
    assert table.name == f"{listed['key']}.repairs.parquet"
    assert (listed["fidelity"], listed["reasons"]) == ("C", ["C: repaired: exchange time order 1"])
