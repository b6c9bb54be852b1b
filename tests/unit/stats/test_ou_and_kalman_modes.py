"""The statistics' tests again with array bounds checked, and without the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = (
    "test_kalman.py",
    "test_kalman_slope.py",
    "test_kalman_fit.py::test_expected_disturbances_are_those_of_the_smoother_with_lag_one_covariances",
    "test_ou.py",
    "test_ou_bias.py",
    "test_thresholds.py",
)
SLOW = "recovers or as_often or simulated"


@pytest.mark.parametrize(
    "switch", [pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.long), "NUMBA_DISABLE_JIT"]
)
def test_statistics_hold_under(switch, tmp_path):
    environment = os.environ | {switch: "1", "BT_CACHE_DIR": str(tmp_path)}
    tests = [str(HERE / test) for test in TESTS]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-k",
        f"not ({SLOW})",
        *tests,
    ]
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
