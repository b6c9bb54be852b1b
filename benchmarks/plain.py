"""Wake-ups per second of a strategy in plain Python: ``python benchmarks/plain.py``.

Protects the goal of 50,000 wake-ups a second for ``imbalance`` on the synthetic pair, woken every millisecond and asked
about two instruments; the baseline of the same run is the loop with the compiled ``market_maker`` and its timers.
"""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import redirect_stdout

import bt_framework

DURATION_S = 120
TIMER_NS = 1_000_000


def main() -> None:
    """Print the figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"store_dir={folder}/store", f"runs_dir={folder}/runs", "console=json", "writer=[]"]
        data = ["data=synthetic_pair", f"data.duration_ns={DURATION_S}s"]
        plain = ["+strategy=imbalance", f"strategy.sample_ns={TIMER_NS}"]
        compiled = ["+strategy=market_maker", f"strategy.requote_ns={TIMER_NS}"]
        plain_s = _loop_s([*plain, *data, *places])
        compiled_s = _loop_s([*compiled, *data, *places])
    wakes = DURATION_S * 1_000_000_000 // TIMER_NS
    result = {
        "benchmark": "plain",
        "wakes": wakes,
        "plain_wakes_per_s": round(wakes / plain_s),
        "compiled_wakes_per_s": round(wakes / compiled_s),
        "goal_wakes_per_s": 50_000,
        "passed": wakes / plain_s >= 50_000,
    }
    print(json.dumps(result))


def _loop_s(overrides: list[str]) -> float:
    """Least time in the loop of three runs, after one that compiles."""
    with redirect_stdout(io.StringIO()):
        return min(bt_framework.run(overrides).record.kernel_s for _ in range(4))


if __name__ == "__main__":
    main()
