import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from bt_framework.errors import ConfigError
from bt_framework.results.console import PlainLines
from bt_framework.results.run import SliceBatch, Status
from bt_plugins.consoles import json as json_console
from bt_plugins.consoles import plain
from bt_plugins.consoles.rich import RichConsole, TerminalConsole, build

NOTICE = "compiling the loop, about 5 s, once [per kernel]"


def batch(run, done, wall_s, pnl=12.5):
    local_ts = run.start_ts + round((run.end_ts - run.start_ts) * done)
    events = round(run.events * done)
    return SliceBatch(tables={}, local_ts=local_ts, events=events, wall_s=wall_s, metrics={"pnl": pnl})


def play(console, run, summary, walls=(1.0,)):
    console.notice(NOTICE)
    console.before_run(run)
    for wall_s in walls:
        console.on_slice(run, batch(run, wall_s / 10, wall_s))
    if summary.status == Status.FAILED:
        console.on_run_error(run, summary, RuntimeError(summary.error))
    else:
        console.after_run(run, summary)


@pytest.fixture(autouse=True)
def _able_terminal(monkeypatch):
    """Tests may run where there is no terminal, or a dumb one."""
    monkeypatch.setenv("TERM", "xterm-256color")


def on_terminal(run, summary, width=80, walls=(1.0, 2.0)):
    screen = io.StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=width, color_system=None, highlight=False)
    play(TerminalConsole(terminal), run, summary, walls)
    return screen.getvalue()


def test_json_prints_one_object_on_stdout_and_notices_on_stderr(capsys, make_run, make_summary):
    play(json_console.build(json_console.JsonConsole()), make_run(), make_summary())
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    printed = json.loads(out, parse_constant=pytest.fail)
    assert printed["metrics"]["sharpe"] is None
    assert printed["metrics"]["pnl"] == -123.456
    assert (printed["status"], printed["counts"]["fills"], printed["jit"]) == ("completed", 72, "miss")
    assert "error" not in printed
    assert err == f"{NOTICE}\n"


def test_json_prints_a_failed_run_with_its_error(capsys, make_run, make_summary):
    summary = make_summary(status=Status.FAILED, error="code 14", metrics={}, timings={})
    play(json_console.build(json_console.JsonConsole()), make_run(), summary)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["status"], printed["error"], printed["wall_s"]) == ("failed", "code 14", None)


def test_plain_lines_are_the_run_then_progress_then_the_summary(capsys, make_run, make_summary):
    run = make_run()
    play(plain.build(plain.PlainConsole(interval_ns="2s")), run, make_summary(), walls=(1, 2, 3, 4, 5))
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "20240809-120000-abc123: ou_pairs on BTCUSDT ETHUSDT, 2024-08-09 00:00:00 to 2024-08-09 01:00:00, "
        "944,088 events",
        "data: BTCUSDT: ok; ETHUSDT: 1 gap",
        " 20%  2024-08-09 00:12:00  94.4 k events/s  PnL 12.50  8 s left",
        " 40%  2024-08-09 00:24:00  94.4 k events/s  PnL 12.50  6 s left",
        "status: completed",
        "PnL: -123.46",
        "fees: 137.46",
        "return: -0.12%",
        "Sharpe (annual): -",
        "max drawdown: 166.60 (0.17%)",
        "trades: 72",
        "fill ratio: 37.70%",
        "maker share: 97.26%",
        "turnover: 6.60 x capital",
        "speed: 944,088 events, 18.9 M events/s in the loop, 0.75 s in all, strategy compiled",
        "run: 20240809-120000-abc123",
        f"folder: {run.run_dir.absolute()}",
    ]
    assert err == f"{NOTICE}\n"


def test_a_terminal_gets_a_bar_with_time_speed_pnl_and_what_is_left(make_run, make_summary):
    shown = on_terminal(make_run(), make_summary(), width=110)
    assert "20% 2024-08-09 00:12:00 94.4 k events/s PnL 12.50 8 s left" in " ".join(shown.split())
    assert shown.index(NOTICE) < shown.index("ou_pairs on BTCUSDT ETHUSDT")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_gets_the_summary_whole_whatever_its_width(make_run, make_summary, width):
    run = make_run(Path("runs/of/a/folder"))
    shown = on_terminal(run, make_summary(), width)
    summary = shown[shown.index("ou_pairs  completed") :]
    for text in ("-123.46", "137.46", "166.60 (0.17%)", "97.26%", "6.60 x capital", run.run_id):
        assert text in summary
    assert len(str(run.run_dir.absolute())) > 40
    assert f"\n{run.run_dir.absolute()}\n" in summary  # whole, so that it can be copied


def test_the_cursor_is_back_after_a_run_however_it_ended(make_run, make_summary):
    for status in (Status.COMPLETED, Status.STOPPED, Status.FAILED):
        shown = on_terminal(make_run(), make_summary(status=status, metrics={}))
        assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
        assert f"ou_pairs  {status}" in shown


def test_text_in_brackets_is_text_and_not_markup(make_run, make_summary):
    run = make_run(data_grade={"grade": "warn", "line": "[bold]2 gaps[/x] in [red]"})
    assert "data: [bold]2 gaps[/x] in [red]" in on_terminal(run, make_summary())


def test_the_bar_is_drawn_at_most_ten_times_a_second(make_run, make_summary):
    walls = [i / 1_000 for i in range(1, 1_001)]
    shown = on_terminal(make_run(), make_summary(), width=110, walls=walls)
    assert 8 <= shown.count("events/s PnL") <= 12


def test_rich_falls_back_to_plain_lines_on_a_terminal_that_cannot_draw(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert isinstance(build(RichConsole()), TerminalConsole)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(build(RichConsole()), PlainLines)


def test_rich_falls_back_to_plain_lines_where_stdout_is_no_terminal(capsys):
    assert isinstance(build(RichConsole()), PlainLines)


def test_rich_and_pyarrow_are_not_imported_before_they_are_used():
    program = (
        "import sys, bt_plugins.plugin, bt_framework.results.folder, bt_framework.results.console, "
        "bt_framework.stores.base, bt_framework.cli.runs\n"
        "from bt_plugins.consoles.rich import RichConsole, build\nbuild(RichConsole())\n"
        "print([m for m in ('rich', 'pyarrow', 'pandas', 'yaml', 'orjson') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("config_class", [RichConsole, plain.PlainConsole])
def test_a_negative_interval_is_refused(config_class):
    with pytest.raises(ConfigError, match="interval_ns must be >= 0, was -1"):
        config_class(interval_ns=-1)


def test_consoles_that_print_say_the_percentiles_of_the_latencies(capsys, make_run, make_summary):
    ways = {"entry_p50_ns": 250e3, "entry_p99_ns": 1e6, "response_p50_ns": 300e3, "response_p99_ns": 2e6}
    run = make_run(latency={"A": ways | {"rejected_frac": 0.0}, "B": ways | {"rejected_frac": 0.25}})
    part = "entry p50 250us p99 1ms, response p50 300us p99 2ms"
    line = f"latency: A {part}; B {part}, rejected 25.00% of the time"
    play(plain.build(plain.PlainConsole()), run, make_summary())
    assert line in capsys.readouterr().out.splitlines()
    assert line in on_terminal(run, make_summary(), width=160)


def test_consoles_that_print_say_the_form_of_the_books_and_why(capsys, make_run, make_summary):
    run = make_run(books=("BTCUSDT: hash map: chosen", "ETHUSDT: hash map: chosen"))
    play(plain.build(plain.PlainConsole()), run, make_summary())
    assert "order book: hash map: chosen\n" in capsys.readouterr().out
    assert "order book: hash map: chosen\n" in "\n".join(
        line.rstrip() for line in on_terminal(run, make_summary(), width=110).splitlines()
    )
