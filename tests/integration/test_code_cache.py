"""Compiled code is found again exactly if nothing that decides it has changed: each run is a process of its own."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from numba import float64

from bt_framework import assembly
from bt_framework.config.compose import compose

PLUGIN = {
    "wheel_plugin.py": """
        from dataclasses import dataclass
        import numpy as np
        from bt_framework.config.schema import ComponentConfig, Duration, param
        from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
        from bt_framework.engine.strategy import Kernels, Strategy, params_record
        from bt_framework.hookspecs import hookimpl

        @dataclass
        class Wheel(ComponentConfig):
            \"\"\"Logs one number per wake-up.\"\"\"
            name: str = param("wheel", "registry name")
            factor: float = param(1.0, "a run-time value")

        class WheelStrategy(Strategy):
            kernels = Kernels(on_timer="wheel_kernels:on_timer")
            timer_ns = 100_000_000
            def __init__(self, config):
                self.config = config
            def params(self, instruments):
                return params_record(self.config)
            def state(self, instruments):
                return np.zeros(1, np.dtype([("unused", "i8")])).view(np.recarray)[0]

        @dataclass
        class Gate(RiskRuleConfig):
            \"\"\"Lets everything through.\"\"\"
            name: str = param("gate", "registry name")

        class GateRule(RiskRule):
            kernels = RuleKernels(allow="wheel_kernels:allow")

        @hookimpl
        def register_strategies(register):
            register(Wheel, WheelStrategy)

        @hookimpl
        def register_risk_rules(register):
            register(Gate, GateRule)

        @hookimpl
        def config_search_path():
            return "pkg://wheel_conf"
        """,
    "wheel_conf/__init__.py": "",
    "wheel_conf/strategy/wheel.yaml": "defaults: [/schema/strategy/wheel@_here_, _self_]",
    "wheel_conf/risk/gate.yaml": """
        # @package risk.gate
        defaults: [/schema/risk/gate@_here_, _self_]
        """,
    "wheel_kernels.py": """
        from bt_framework.jit import kernel
        from wheel_near import spoke

        @kernel
        def on_timer(market, account, out, p, s, w):
            out.signal(1, 1, spoke(p.factor), 0.0, 0.0, 0.0)

        @kernel
        def allow(market, account, intent, p, s):
            return True
        """,
    "wheel_near.py": """
        from bt_framework.jit import kernel
        import wheel_far

        @kernel
        def spoke(factor):
            return wheel_far.hub(factor) + wheel_far.OFFSET
        """,
    "wheel_far.py": """
        from bt_framework.jit import kernel
        OFFSET = 100.0

        @kernel
        def hub(factor):
            return 7.0 * factor
        """,
}


@dataclass
class Bench:
    """An installed package, a code cache, and `bt` in processes of their own."""

    site: Path
    cache: Path
    store: Path
    work: Path

    def start(self, *arguments: str, patch: str = "", **environment: str) -> subprocess.Popen[str]:
        """Start a run of the package's strategy; `patch` is code that runs before."""
        code = f"import sys; {patch}\nfrom bt_framework.cli.main import main\nsys.exit(main(sys.argv[1:]))"
        own = {"PYTHONPATH": str(self.site), "BT_CACHE_DIR": str(self.cache), "BT_STORE_DIR": str(self.store)}
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                "+strategy=wheel",
                "risk=[]",
                "data.duration_ns=1s",
                "console=json",
                *arguments,
            ],
            cwd=self.work,
            env=os.environ | own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **options: str) -> tuple[str, float]:
        """(hit or miss, the number that the kernel logged)."""
        return self.result(self.start(*arguments, **options))

    def result(self, process: subprocess.Popen[str]) -> tuple[str, float]:
        """Wait for a run and return the same."""
        import pyarrow.parquet as pq

        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        record: dict[str, Any] = json.loads(out.splitlines()[-1])
        z = pq.read_table(Path(record["run_dir"]) / "signals.parquet")["z"].to_pylist()
        assert len(set(z)) == 1
        return record["jit"], z[0]

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a file of the package."""
        path = self.site / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A package that has run once."""
    import textwrap

    root = tmp_path_factory.mktemp("bench")
    bench = Bench(root / "site", root / "cache", root / "store", root / "work")
    info = bench.site / "wheel-1.0.dist-info"
    for folder in (info, bench.cache, bench.store, bench.work):
        folder.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wheel-works\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bt_framework]\nmain = wheel_plugin\n")
    for name, source in PLUGIN.items():
        (bench.site / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.site / name).write_text(textwrap.dedent(source).lstrip())
    assert bench.run() == ("miss", 107.0)
    return bench


def test_an_edit_two_imports_away_from_the_kernel_changes_the_next_run(warm: Bench) -> None:
    warm.edit("wheel_far.py", "7.0 * factor", "8.0 * factor")
    assert warm.run() == ("miss", 108.0)
    warm.edit("wheel_far.py", "8.0 * factor", "7.0 * factor")
    assert warm.run() == ("hit", 107.0)


def test_touching_a_file_without_a_change_hits_the_cache(warm: Bench) -> None:
    for name in PLUGIN:
        (warm.site / name).touch()
    assert warm.run() == ("hit", 107.0)


def test_a_changed_value_of_a_parameter_hits_the_cache_and_is_seen(warm: Bench) -> None:
    assert warm.run("strategy.factor=2") == ("hit", 114.0)


def test_other_rules_or_another_order_of_them_are_other_loops() -> None:
    def loop(*rules: str) -> Path:
        parts = assembly.Parts.of(compose(["+strategy=market_maker", f"risk=[{','.join(rules)}]"]))
        return assembly.build_program(parts).path

    chosen = [(), ("max_position",), ("max_position", "daily_loss"), ("daily_loss", "max_position")]
    assert len({loop(*rules) for rules in chosen}) == len(chosen)
    assert loop(*chosen[-1]) == loop(*chosen[-1])


@pytest.mark.long
def test_loops_of_other_rules_or_another_order_of_them_are_compiled_and_kept(warm: Bench) -> None:
    loops = warm.cache / "jit/loops"
    before = len(list(loops.glob("*.py")))
    assert warm.run("risk=[gate,max_position]")[0] == "miss"
    assert warm.run("risk=[max_position,gate]")[0] == "miss"
    assert warm.run("risk=[gate,max_position]")[0] == "hit"
    assert len(list(loops.glob("*.py"))) == before + 2


@pytest.mark.long
def test_two_processes_that_compile_a_loop_at_once_are_both_right(warm: Bench, tmp_path: Path) -> None:
    fresh = Bench(warm.site, tmp_path / "cache", warm.store, warm.work)
    both = [fresh.start() for _ in range(2)]
    assert [fresh.result(p)[1] for p in both] == [107.0, 107.0]
    assert fresh.run() == ("hit", 107.0)


def damage(files: list[Path], how: str) -> None:
    """Spoil files of compiled code."""
    assert files
    for path in files:
        content = path.read_bytes()
        spoilt = {"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"x" * len(content)}
        path.write_bytes(spoilt[how])


SMALL = """
from bt_framework.jit import cached_kernel, kernel
import small_far

@kernel
def inner(x):
    return small_far.hub(x) + small_far.OFFSET

@cached_kernel
def outer(x):
    return inner(x) + 1.0
"""
SMALL_FAR = """
from bt_framework.jit import kernel
OFFSET = 0.0

@kernel
def hub(x):
    return 2.0 * x
"""
ASK = """
import small
value = small.outer(3.0)
print("hit" if sum(small.outer.stats.cache_hits.values()) else "miss", value)
"""


@dataclass
class SmallBench:
    """A kernel that is kept as loops are, and compiled in a moment; each call is a process of its own.

    Python keeps no bytecode there: it takes an edit within the second that keeps the size for none, and
    half a file, written without room, for a whole one.
    """

    site: Path
    cache: Path

    def call(self, *, patch: str = "", **environment: str) -> tuple[str, float]:
        """(hit or miss, what the kernel returned for 3); `patch` is code that runs before."""
        own = {"PYTHONPATH": str(self.site), "BT_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", f"{patch}\n{ASK}"],
            env=os.environ | own | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found, value = done.stdout.split()
        return found, float(value)


@pytest.fixture
def small(tmp_path: Path) -> SmallBench:
    """A kernel that nobody has called yet."""
    bench = SmallBench(tmp_path / "site", tmp_path / "cache")
    bench.site.mkdir()
    (bench.site / "small.py").write_text(SMALL)
    (bench.site / "small_far.py").write_text(SMALL_FAR)
    return bench


def test_an_edit_of_a_constant_is_seen_as_one_of_a_function_is(small: SmallBench) -> None:
    far = small.site / "small_far.py"
    assert small.call() == ("miss", 7.0)
    far.write_text(SMALL_FAR.replace("OFFSET = 0.0", "OFFSET = 5.0"))
    assert small.call() == ("miss", 12.0)
    far.write_text(SMALL_FAR)
    assert small.call() == ("hit", 7.0)


def test_processes_that_compile_at_once_are_all_right(small: SmallBench) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert [value for _, value in pool.map(lambda _: small.call(), range(3))] == [7.0] * 3
    assert small.call() == ("hit", 7.0)


def test_other_versions_do_not_find_the_code(small: SmallBench) -> None:
    newer = (
        "import importlib.metadata as m; v = m.version; m.version = lambda n: '9.9' if n == 'numba' else v(n)"
    )
    assert [small.call() for _ in range(2)] == [("miss", 7.0), ("hit", 7.0)]
    assert small.call(patch=newer) == ("miss", 7.0)
    assert small.call(patch=newer) == ("hit", 7.0)
    assert small.call() == ("hit", 7.0)


def test_bounds_checks_are_other_code(small: SmallBench) -> None:
    assert small.call() == ("miss", 7.0)
    assert small.call(NUMBA_BOUNDSCHECK="1") == ("miss", 7.0)
    assert small.call() == ("hit", 7.0)


def test_a_source_that_is_edited_after_it_was_imported_is_not_kept_for_others(small: SmallBench) -> None:
    """The process goes on with what it has imported; nobody else may take its code for that of the new file."""
    far = small.site / "small_far.py"
    edit = (
        "import bt_framework.jit, small_far, time; time.sleep(0.02); from pathlib import Path; "
        f"p = Path({str(far)!r}); p.write_text(p.read_text().replace('2.0', '4.0'))"
    )
    assert small.call(patch=edit) == ("miss", 7.0)
    assert small.call() == ("miss", 13.0)
    assert small.call() == ("hit", 13.0)


def test_code_that_cannot_be_kept_costs_the_compilation_only(small: SmallBench) -> None:
    no_room = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    assert small.call(patch=no_room) == ("miss", 7.0)
    assert small.call() == ("miss", 7.0)


@pytest.mark.parametrize("suffix", ["nbc", "nbi"])
@pytest.mark.parametrize("how", ["truncated", "empty", "garbage"])
def test_damaged_code_of_a_kernel_is_compiled_again(
    small: SmallBench, monkeypatch: pytest.MonkeyPatch, suffix: str, how: str
) -> None:
    monkeypatch.setenv("BT_CACHE_DIR", str(small.cache))
    monkeypatch.setattr("bt_framework.jit._sources._STARTED_AT_NS", time.time_ns())  # this process is older
    source = small.site / "small.py"
    monkeypatch.syspath_prepend(small.site)

    def loaded_from_disk() -> int:
        outer = runpy.run_path(str(source))["outer"]
        assert outer(3.0) == 7.0
        return int(outer.stats.cache_hits[(float64,)])

    assert [loaded_from_disk() for _ in range(2)] == [0, 1]
    damage(list(small.cache.glob(f"jit/*/*outer*.{suffix}")), how)
    assert [loaded_from_disk() for _ in range(2)] == [0, 1]


@pytest.mark.long
def test_damaged_code_of_a_loop_is_compiled_again(warm: Bench) -> None:
    damage(list(warm.cache.glob("jit/*/*run_slice*.nbc")), "truncated")
    assert warm.run()[1] == 107.0
    assert warm.run() == ("hit", 107.0)


def test_a_cache_folder_that_cannot_be_made_is_one_message(warm: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    process = warm.start(BT_CACHE_DIR=str(tmp_path / "file"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"bt: error: the cache folder {tmp_path}/file/jit/loops cannot be written: " in err
    assert "Set BT_CACHE_DIR." in err
    assert "Traceback" not in err
