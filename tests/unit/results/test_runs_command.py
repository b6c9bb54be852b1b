import dataclasses
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from bt_framework.cli.main import main
from bt_framework.results.schemas import to_arrow


def test_runs_lists_the_newest_first(bt):
    code, out, err = bt()
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == [
        "run",
        "strategy",
        "symbols",
        "status",
        "PnL",
        "return",
        "Sharpe",
        "drawdown",
        "trades",
    ]
    assert [(line[0], line[4]) for line in lines[1:]] == [
        ("20240802-abc", "lost"),
        ("20240801-abc", "failed"),
        ("20240800-abc", "completed"),
    ]
    assert lines[3][5:] == ["-123.46", "-0.12%", "-", "166.60", "72"]
    assert bt("ls")[1] == out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", "1"], ["20240802-abc"]),
        (["--status", "lost"], ["20240802-abc"]),
        (["--strategy", "market_maker"], ["20240801-abc"]),
        (["ls", "--strategy", "ou_pairs", "--status", "completed"], ["20240800-abc"]),
    ],
)
def test_runs_filters(bt, options, expected):
    listed = json.loads(bt(*options, "--json")[1])
    assert [run["run_id"] for run in listed] == expected


def test_a_narrow_terminal_shows_every_value_whole(bt, monkeypatch):
    plain = bt()[1].split()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    shown = re.sub(r"\x1b\[[\d;]*m", "", bt()[1])
    assert set(plain) - {"run"} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= 60


def test_runs_says_so_when_there_are_none(bt, tmp_path, capsys):
    assert "no such runs in" in bt("--strategy", "nobody")[1]
    assert main(["runs", f"runs_dir={tmp_path / 'empty'}"]) == 0
    assert "Start one with: bt +strategy=NAME" in capsys.readouterr().out
    assert not (tmp_path / "empty").exists()


def test_show_prints_identity_grade_metrics_and_tables_of_a_run_named_by_a_prefix(bt, runs_dir):
    code, out, _ = bt("show", "20240800")
    facts = dict(line.split("  ", 1) for line in out.splitlines())
    facts = {label: value.strip() for label, value in facts.items()}
    assert code == 0
    assert (facts["run"], facts["status"], facts["seed"]) == ("20240800-abc", "completed", "7")
    assert (facts["config hash"], facts["result hash"]) == ("c" * 64, "f" * 64)
    assert facts["data"] == "BTCUSDT: ok; ETHUSDT: 1 gap"
    assert facts["PnL"] == "-123.46"
    assert facts["folder"] == str(runs_dir / "20240800-abc")
    assert facts["fills"] == "nothing written"


def test_show_prints_json_with_everything(bt, runs_dir):
    shown = json.loads(bt("show", "20240801-abc", "--json")[1], parse_constant=pytest.fail)
    assert (shown["status"], shown["error"], shown["metrics"]["sharpe"]) == ("failed", "code 14", None)
    assert shown["run_dir"] == str(runs_dir / "20240801-abc")
    assert shown["tables"]["fills"] == []


def test_an_unknown_run_or_command_exits_with_2(bt):
    assert bt("show", "1999") == (2, "", "bt: error: no run has the id '1999'. List them with: bt runs\n")
    code, _, err = bt("show", "202408")
    assert (code, "must name one run, but begins several" in err) == (2, True)
    code, _, err = bt("shwo")
    assert (code, "Did you mean 'show'?" in err) == (2, True)


def test_reindex_rebuilds_a_deleted_index(bt, runs_dir):
    before = bt()[1]
    for file in runs_dir.glob("index.sqlite*"):
        file.unlink()
    assert "no runs in" in bt()[1]
    code, out, _ = bt("reindex")
    assert (code, out) == (0, f"3 runs of {runs_dir} are in the index\n")
    assert bt()[1] == before
    (runs_dir / "20240800-abc" / "run.json").write_text("{")
    code, out, err = bt("reindex")
    assert (code, "20240800-abc/run.json must be the record of a run" in err) == (1, True)


@pytest.fixture
def traded(runs_dir, make_run):
    """Give the completed run two instruments' fills, samples and orders; return its fills."""
    from ledger_flows import FUTURE, SPOT, random_flow

    from bt_framework.records import ORDER, OrderEvent

    flow = random_flow(1, (SPOT, FUTURE), 30, flat=False, compiled=False)
    run = make_run(runs_dir, run_id="20240800-abc", instruments=(SPOT, FUTURE))
    orders = np.zeros(len(flow.fills), ORDER)
    for name in ("local_ts", "order_id", "asset", "side", "px", "qty", "tag"):
        orders[name] = flow.fills[name]
    orders["event"] = OrderEvent.SUBMITTED
    for name, rows in (("fills", flow.fills), ("equity", flow.equity), ("orders", orders)):
        pq.write_table(to_arrow(name, rows, run), run.run_dir / f"{name}.parquet")
    record = json.loads((run.run_dir / "run.json").read_text())
    record["instruments"] = [dataclasses.asdict(i) for i in (SPOT, FUTURE)]
    (run.run_dir / "run.json").write_text(json.dumps(record))
    return flow


def test_trades_of_a_run_are_listed_by_both_methods(bt, traded):
    code, out, err = bt("trades", "20240800", "--limit", "3")
    assert (code, len(out.splitlines()), err) == (0, 4, "the first 3; --limit 0 lists all\n")
    assert out.split()[:3] == ["entry", "(UTC)", "open"]
    for method in ("fifo", "average_cost"):
        rows = json.loads(bt("trades", "20240800", "--method", method, "--limit", "0", "--json")[1])
        assert sum(row["net_pnl"] for row in rows) == pytest.approx(traded.last_equity)
        assert {row["open"] for row in rows} == {True, False}


def test_orders_of_a_run_are_listed_with_their_lives(bt, traded):
    code, out, _ = bt("orders", "20240800", "--limit", "0")
    assert (code, len(out.splitlines())) == (0, 31)
    (order,) = json.loads(bt("orders", "20240800", "--limit", "1", "--json")[1])
    assert (order["order_id"], order["status"], order["queue_ahead_qty"]) == (1, "pending", None)


@pytest.mark.parametrize("by", ["symbol", "tag", "signal", "liquidity", "entry_tag", "entry_signal"])
def test_pnl_of_a_run_is_attributed(bt, traded, by):
    rows = json.loads(bt("pnl", "20240800", "--by", by, "--json")[1])
    assert sum(row["net_pnl"] for row in rows) == pytest.approx(traded.last_equity)
    assert bt("pnl", "20240800", "--by", by)[1].split()[0] == "key"


def test_the_options_are_the_methods_and_keys_that_there_are():
    from bt_framework.cli import runs
    from bt_framework.results.forensics import By
    from bt_framework.results.trades import CostMethod

    assert list(CostMethod) == list(runs._METHODS)
    assert list(By) == list(runs._KEYS)


def test_a_run_without_rows_lists_none(bt):
    assert bt("trades", "20240801-abc")[:2] == (0, "none\n")
    assert bt("pnl", "20240801-abc")[:2] == (0, "none\n")
    assert bt("orders", "20240801-abc", "--json")[:2] == (0, "[]\n")
