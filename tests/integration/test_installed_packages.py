"""Wheels: ours holds everything and runs, and a package of somebody else runs beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
SUFFIXES = {".py", ".yaml", ".json", ".sql", ".typed"}


def build_wheel(source: Path, folder: Path) -> Path:
    """Build a wheel of a copy of `source`, so that nothing is written into the working tree."""
    copy = folder / "source"
    unwanted = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "runs", "tests", "docs", "notebooks"
    )
    shutil.copytree(source, copy, ignore=unwanted)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, site: Path) -> None:
    """Install `wheel` into a folder of its own, leaving the environment as it is."""
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def bt(site: Path, work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(site), "BT_STORE_DIR": str(work / "store")}
    command = [sys.executable, "-m", "bt_framework", *arguments]
    return subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def our_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("ours"))


def test_the_wheel_holds_every_module_option_and_query(our_wheel: Path) -> None:
    with zipfile.ZipFile(our_wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    by_depth = sorted(FOLDERS.items(), key=lambda item: len(item[1]))  # the nearest folder counts
    wanted = {
        file: str(Path(*package.split(".")) / file.relative_to(ROOT / folder))
        for package, folder in by_depth
        for file in (ROOT / folder).rglob("*")
        if file.suffix in SUFFIXES and "__pycache__" not in file.parts
    }
    assert held == set(wanted.values())


def test_the_wheel_runs_without_the_source_tree(our_wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(our_wheel, site)
    where = (
        "import bt_framework, bt_plugins, bt_conf, bt_sql as s; print(bt_framework, bt_plugins, bt_conf, s)"
    )
    env = os.environ | {"PYTHONPATH": str(site)}
    shown = subprocess.run(
        [sys.executable, "-c", where], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout.count(str(site)) == 4
    done = bt(site, tmp_path, "+strategy=market_maker", "data.duration_ns=2s", "console=json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "completed"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the package of somebody else is installed in."""
    folder = tmp_path_factory.mktemp("momentum")
    install(build_wheel(ROOT / "tests/packages/momentum", folder), folder / "site")
    return folder / "site"


class TestMomentum:
    """The package under tests/packages/momentum, installed as its users would."""

    def test_its_strategy_and_its_rule_run_beside_the_built_in_ones(self, site: Path, tmp_path: Path) -> None:
        run = ["+strategy=momentum", "data.duration_ns=2min", "console=json"]
        done = bt(site, tmp_path, *run, "risk=[max_position,max_spread]")
        assert done.returncode == 0, done.stderr
        record = json.loads(done.stdout)
        assert (record["status"], record["counts"]["refusals"]) == ("completed", 0)
        assert record["counts"]["fills"] > 0
        config = (Path(record["run_dir"]) / "config.yaml").read_text()
        assert config.index("max_position:") < config.index("max_spread:")

        refused = bt(site, tmp_path, *run, "risk=[max_position,max_spread]", "risk.max_spread.limit_bps=0")
        counts = json.loads(refused.stdout)["counts"]
        assert (counts["fills"], counts["orders"]) == (0, 0)
        assert counts["refusals"] > 0

    def test_its_rule_breaks_circuits_as_the_built_in_ones_do(self, site: Path, tmp_path: Path) -> None:
        run = ["+strategy=momentum", "data.duration_ns=2min", "console=json", "risk=[max_spread]"]
        done = bt(site, tmp_path, *run, "risk.max_spread.limit_bps=0", "risk.max_spread.action=HALT_FOR_DAY")
        counts = json.loads(done.stdout)["counts"]
        assert (counts["orders"], counts["risk_events"]) == (0, 1)
        assert counts["refusals"] > 1

    def test_it_is_listed_with_its_package_version_and_keys(self, site: Path, tmp_path: Path) -> None:
        listed = bt(site, tmp_path, "plugins", "risk").stdout.splitlines()
        at = listed.index(
            "risk  max_spread  bt-momentum 0.3.0  Refuse orders while the spread is wider than a limit."
        )
        keys = [line.split() for line in listed[at + 1 : at + 5]]
        assert [key[0] for key in keys] == ["action", "resume_after_ns", "time_zone", "limit_bps"]
        assert keys[-1] == [
            "limit_bps",
            "float",
            "5.0",
            "bps",
            "widest",
            "spread",
            "to",
            "trade",
            "in",
        ]

    def test_its_mistakes_are_explained_like_ours(self, site: Path, tmp_path: Path) -> None:
        done = bt(site, tmp_path, "+strategy=momentum", "strategy.fast_samples=100")
        assert done.returncode == 2
        assert done.stderr == (
            "bt: error: strategy.fast_samples must be >= 1 and < slow_samples (100.0), was 100.0 "
            "(override strategy.fast_samples=100).\n"
        )

    def test_without_it_the_name_is_unknown(self, tmp_path: Path) -> None:
        done = bt(tmp_path, tmp_path, "+strategy=momentum")
        assert done.returncode == 2
        built_in = "basis, bollinger_pairs, imbalance, johansen_basket, market_maker, ou_pairs"
        assert done.stderr == f"bt: error: strategy must be one of {built_in}, was 'momentum'.\n"
