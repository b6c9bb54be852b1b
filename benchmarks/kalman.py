"""Speed of the Kalman regression's step: compiled here, in C++, and in plain Python, over the same observations.

What is protected: filtering in a strategy costs what it would cost in C++. The baseline is `by_hand/kalman.cpp`,
compiled by ``g++ -O3`` in this run; it does the same arithmetic on the same layout and writes the same rows, which is
checked. All three filter arrays, in turns; times are processor time of the thread. One JSON object on stdout.

::

    python benchmarks/kalman.py [--steps 1000000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import median

from bt_framework.stats.kalman import KALMAN, KALMAN_STEP, KalmanHedge

SOURCE = Path(__file__).with_name("by_hand") / "kalman.cpp"
CPP_GOAL, PYTHON_GOAL = 1.2, 20.0
NOISE = {"q_intercept": 1e-8, "q_slope": 1e-8, "r": 1e-4}
PLAIN_STEPS = 20_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of the Kalman regression's step.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    x, y = observations(arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        in_cpp = compiled_cpp(Path(folder))
        check(in_cpp, x, y)
        few = x[:PLAIN_STEPS], y[:PLAIN_STEPS]
        rounds = [
            (timed(compiled, x, y), timed(in_cpp, x, y), timed(plain, *few)) for _ in range(arguments.rounds)
        ]
    ours, theirs, python = ([times[i] for times in rounds] for i in range(3))
    result = {
        "steps": arguments.steps,
        "step_ns": median(ours) * 1e9,
        "cpp_step_ns": median(theirs) * 1e9,
        "python_step_ns": median(python) * 1e9,
        "over_cpp": median(a / b for a, b in zip(ours, theirs, strict=True)),
        "cpp_goal": CPP_GOAL,
        "python_over_compiled": median(b / a for a, b in zip(ours, python, strict=True)),
        "python_goal": PYTHON_GOAL,
    }
    print(json.dumps(result, indent=1))


def observations(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair of log prices whose hedge ratio wanders."""
    rng = np.random.default_rng(1)
    x = 4.0 + np.cumsum(rng.normal(0.0, 1e-4, n))
    y = 0.5 + (1.2 + np.cumsum(rng.normal(0.0, 1e-4, n))) * x + rng.normal(0.0, 1e-2, n)
    return x, y


def compiled(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Filter with the kernel."""
    return KalmanHedge(**NOISE).filter(x, y)


def plain(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Filter in plain Python."""
    return KalmanHedge(**NOISE, compiled=False).filter(x, y)


def compiled_cpp(folder: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Compile the baseline and return it as a function of the observations."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise SystemExit("g++ was not found; install a C++ compiler to measure against one")
    library = folder / "kalman.so"
    command = [compiler, "-O3", "-std=c++17", "-shared", "-fPIC", str(SOURCE), "-o", str(library)]
    subprocess.run(command, check=True)
    kalman_filter = ctypes.CDLL(str(library)).kalman_filter
    kalman_filter.restype = None
    kalman_filter.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int64]

    def filter_arrays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        state, noise = np.zeros(1, KALMAN), np.array(list(NOISE.values()))
        state["p00"] = state["p11"] = 1.0
        steps = np.zeros(len(x), KALMAN_STEP)
        arrays: list[Any] = [state, noise, x, y, steps]
        kalman_filter(*(array.ctypes.data for array in arrays), len(x))
        return steps

    return filter_arrays


def check(in_cpp: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray) -> None:
    """Stop unless all three find the same; this also compiles ours before it is timed."""
    few = x[:PLAIN_STEPS], y[:PLAIN_STEPS]
    ours = np.asarray(compiled(*few)).view("f8")
    for other in (in_cpp(*few), plain(*few)):
        np.testing.assert_allclose(np.asarray(other).view("f8"), ours, rtol=1e-9, atol=1e-15)


def timed(run: Callable[[np.ndarray, np.ndarray], Any], x: np.ndarray, y: np.ndarray) -> float:
    """Seconds per step."""
    began = time.thread_time()
    run(x, y)
    return (time.thread_time() - began) / len(x)


if __name__ == "__main__":
    main()
