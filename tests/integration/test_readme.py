"""Every command and the Python that the README shows work as they stand, on files of the names it uses."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_line import shown_by

import bt_framework
from bt_framework.testing.feeds import clean_events

README = Path(__file__).parents[2] / "README.md"
COMMANDS = re.findall(r"^    (bt .*)$", README.read_text(), re.M)
FIRST_TS_MS = 1_723_161_256_000


def stream(symbol: str, bid_px: float, tick_size: float) -> bytes:
    """Three seconds of a collected stream: a book of one level a side that moves by a tick."""
    lines = []
    for step in range(30):
        ts = FIRST_TS_MS + 100 * step
        px = bid_px + tick_size * (step % 3)
        data = {
            "e": "depthUpdate",
            "E": ts,
            "T": ts,
            "s": symbol,
            "U": 2 * step + 1,
            "u": 2 * step + 2,
            "pu": 2 * step,
        }
        gone = [[f"{px + away * tick_size:.2f}", "0"] for away in (1, 2)]
        data["b"] = [[f"{px:.2f}", "5"], [f"{px - tick_size:.2f}", "5"], *gone]
        data["a"] = [[f"{px:.2f}", "0"], [f"{px + tick_size:.2f}", "5"]]
        message = {"stream": f"{symbol.lower()}@depth@0ms", "data": data}
        lines.append(f"{ts * 1_000_000 + 5_000_000} {json.dumps(message, separators=(',', ':'))}\n")
    return "".join(lines).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's files, and one run."""
    folder = tmp_path_factory.mktemp("readme")
    for symbol, px, tick_size in (("btcusdt", 61_800.1, 0.1), ("ethusdt", 2_681.01, 0.01)):
        content = stream(symbol.upper(), px, tick_size)
        (folder / f"{symbol}_20240808.gz").write_bytes(gzip.compress(content, mtime=0))
        np.savez(folder / f"{symbol}.npz", data=clean_events(200, seed=int(px), tick_size=tick_size))
    (folder / "prices.csv").write_text("date,EWA,EWC\n20060426,16.1,22.95\n20060427,15.98,22.78\n")
    bt("bt validate bars=synthetic", folder)
    bt("bt +strategy=market_maker data.duration_ns=5s", folder)
    return folder


def bt(command: str, folder: Path) -> str:
    return shown_by(shlex.split(command)[1:], folder, {"BT_STORE_DIR": str(folder / "store")})


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command: str, folder: Path) -> None:
    (first, *_) = sorted(path.name for path in (folder / "runs").iterdir() if path.is_dir())
    assert bt(command.replace("RUN_ID", first), folder).strip()


def test_the_python_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(import bt_framework.*?)```", README.read_text(), re.S)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BT_STORE_DIR", str(folder / "store"))
    names: dict[str, object] = {}
    exec(snippet, names)
    assert isinstance(names["result"], bt_framework.RunResult)
    assert len(names["fills"]) > 0  # type: ignore[arg-type]
