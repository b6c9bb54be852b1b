"""The tests of the kernels again, without the JIT and with bounds checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bt_framework.engine.strategy import numbers_record
from bt_framework.errors import PluginError

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "variable", ["NUMBA_DISABLE_JIT", pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.long)]
)
def test_kernels_do_the_same_in_every_form(variable: str) -> None:
    names = (
        "test_ledger.py",
        "test_pairs_and_rules.py",
        "test_risk_rules.py",
        "test_sizings.py",
        "test_calendar.py",
    )
    tests = [str(HERE / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env=os.environ | {variable: "1"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_record_refuses_names_that_numpy_would_answer_to_itself() -> None:
    with pytest.raises(PluginError, match=r"^field 'sum' of a kernel's record must not be called like"):
        numbers_record({"sum": 1.0})
    assert numbers_record({"total": 1.0}).total == 1.0
