"""The checks that need no run: style, types, layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["bt_framework", "plugins", "tests", "benchmarks", "docs", "conf"]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", *FOLDERS],
        ["ruff", "format", "--check", *FOLDERS],
        ["mypy", "bt_framework"],
    ],
    ids=["lint", "format", "types"],
)
def test_source_passes(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_no_source_file_is_longer_than_one_idea() -> None:
    sources = [p for folder in ("bt_framework", "plugins") for p in (ROOT / folder).rglob("*.py")]
    assert sources
    long = {str(p.relative_to(ROOT)): n for p in sources if (n := len(p.read_text().splitlines())) > 600}
    assert not long
