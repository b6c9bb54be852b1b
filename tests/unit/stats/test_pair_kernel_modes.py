"""The tests of the pairs' kernels again with array bounds checked, and without the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "switch", [pytest.param("NUMBA_BOUNDSCHECK", marks=pytest.mark.long), "NUMBA_DISABLE_JIT"]
)
def test_kernels_hold_under(switch, tmp_path):
    environment = os.environ | {switch: "1", "BT_CACHE_DIR": str(tmp_path)}
    module = str(HERE / "test_pair_kernels.py")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", module]
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
