"""`bt validate`: the table, the exit codes, the store it writes."""

from __future__ import annotations

import json

import pytest

from bt_framework.bars.store import BarStore
from bt_framework.cli.main import main


@pytest.fixture
def store_dir(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("BT_STORE_DIR", str(folder))
    return folder


def test_simulated_bars_are_checked_and_stored(store_dir, capsys):
    assert main(["validate", "bars=synthetic", "bars.length=30"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[:2] == ["symbol", "bars"]
    assert out[1].split()[:2] == ["SYN001", "30"]
    assert out[1].split()[-2:] == ["new", "ok"]
    assert out[-1].startswith("240 bars in ")
    assert BarStore(store_dir / "bars").read("synthetic").num_rows == 240
    assert main(["validate", "bars=synthetic", "bars.length=30"]) == 0
    assert "same" in capsys.readouterr().out


def test_json_has_every_symbol(store_dir, capsys):
    assert main(["validate", "bars=synthetic", "bars.length=30", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["stored"], len(report["symbols"]), report["interval_ns"]) == (True, 8, 86_400_000_000_000)


def test_refused_bars_are_in_the_table_and_the_exit_code_is_2(store_dir, tmp_path, capsys):
    path = tmp_path / "A.csv"
    path.write_text("time,close\n2024-01-01,1\n2024-01-02,2\n2024-01-02,3\n")
    assert main(["validate", "bars=csv", f"bars.files=[{path}]"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("bt: error: ")
    assert "two bars" in output.err
    assert "2024-01-02" in output.err
    assert BarStore(store_dir / "bars").sources() == []


def test_refused_bars_are_in_the_json_too(store_dir, tmp_path, capsys):
    path = tmp_path / "A.csv"
    path.write_text("time,open,high,low,close\n2024-01-01,1,1,1,1\n2024-01-02,1,0.5,0.7,0.6\n")
    assert main(["validate", "bars=csv", f"bars.files=[{path}]", "--json"]) == 2
    output = capsys.readouterr()
    (row,) = json.loads(output.out)["symbols"]
    assert (row["grade"], row["symbol"]) == ("refused", "A")
    assert "1 of 1 symbols of csv are refused" in output.err


def test_without_a_source_the_sources_are_listed(store_dir, capsys):
    assert main(["validate"]) == 2
    assert "bars" in capsys.readouterr().err
