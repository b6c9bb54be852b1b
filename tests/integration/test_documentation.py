"""What the pages in docs/ show works: every command, and the smallest example of every kind in one run."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import shown_apart, shown_by
from documentation import commands, example_modules, fences

from bt_framework.plugin_manager import KIND_OF_HOOK
from bt_framework.results.folder import RunFolder

_PLUGIN = """
import importlib
from bt_framework.hookspecs import hookimpl

MODULES = {modules!r}


def registered(register, kind):
    for name, its_kind in MODULES.items():
        if its_kind == kind:
            module = importlib.import_module(name)
            classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == name]
            register(next(c for c in classes if hasattr(c, "__dataclass_fields__")), module.build)

@hookimpl
def config_search_path():
    return "pkg://examples_conf"

"""
_HOOK = """
@hookimpl
def {hook}(register):
    registered(register, {kind!r})
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    return {"BT_STORE_DIR": str(tmp_path_factory.mktemp("store"))}


def install(folder: Path, name: str, entry_point: str) -> None:
    """Make `folder` hold a distribution with a plugin."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bt_framework]\n{name} = {entry_point}\n")


def write_options(folder: Path, modules: dict[str, str]) -> None:
    """Write the YAML option of each module, which is called like its component."""
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, kind in modules.items():
        place = f"# @package {kind}.{name}\n" if kind in ("risk", "writer") else ""
        file = folder / kind / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{place}defaults:\n  - /schema/{kind}/{name}@_here_\n  - _self_\n")


@pytest.fixture(scope="module")
def validated() -> set[str]:
    """Commands that have put their bars into the store, which the commands of this file share."""
    return set()


@pytest.mark.parametrize("command", commands())
def test_documented_commands_run(command, environment, validated, tmp_path):
    *before, last = command.split(" && ")
    for part in [part for part in before if part not in validated] + [last]:
        shown_by(shlex.split(part, comments=True)[1:], tmp_path, environment)
        if part.startswith("bt validate "):
            validated.add(part)


def test_the_smallest_example_of_every_kind_runs_together_with_the_others(environment, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    modules = {name: kind for name, kind in example_modules(packages).items() if kind != "README"}
    write_options(packages / "examples_conf", modules)
    hooks = "".join(_HOOK.format(hook=hook, kind=str(kind)) for hook, kind in KIND_OF_HOOK.items())
    (packages / "examples.py").write_text(_PLUGIN.format(modules=modules) + hooks)
    install(packages, "examples", "examples")
    choice = {kind: name for name, kind in reversed(modules.items())}  # the first of each kind
    words = [f"{kind}={name}" for kind, name in choice.items() if kind not in ("strategy", "risk", "writer")]
    words += [
        f"+strategy={choice['strategy']}",
        f"risk=[{choice['risk']}]",
        f"writer=[parquet,{choice['writer']}]",
    ]
    shown = shown_apart(words, tmp_path, environment | {"PYTHONPATH": str(packages)})
    (folder,) = (tmp_path / "runs").iterdir()
    record = RunFolder(folder).record()
    fills = RunFolder(folder).table("fills")
    assert record.status == "completed"
    assert float(shown) == pytest.approx(record.metrics["pnl"], abs=0.01)
    assert fills.num_rows > 100
    assert (folder / "fill_count.txt").read_text() == f"{fills.num_rows}\n"
    assert set(fills["symbol"].to_pylist()) == {"SEESAW"}


def test_the_package_of_the_plugins_page_brings_its_option(environment, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    example_modules(packages)
    (toml,) = (tomllib.loads(body) for page, body in fences("toml") if page == "plugins/README.md")
    ((name, module),) = toml["project"]["entry-points"]["bt_framework"].items()
    install(packages, name, module)
    words = ["+strategy=market_maker", "fees=night", "data.duration_ns=10s", "--cfg", "job"]
    shown = shown_apart(words, tmp_path, environment | {"PYTHONPATH": str(packages)})
    assert "taker_bps: 2.5" in shown


def test_the_option_of_the_configuration_page_is_found_in_its_folder(environment, tmp_path):
    folder = tmp_path / "options"
    folder.mkdir()
    example_modules(folder)
    words = ["+strategy=market_maker", "latency=office", "--config-dir", str(folder), "--cfg", "job"]
    assert "entry_ns: 700us" in shown_apart(words, tmp_path, environment)


def test_the_python_of_the_databases_page_reads_a_run(environment, tmp_path, monkeypatch):
    (snippet,) = (body for page, body in fences("python") if page == "databases.md")
    shown_by(["+strategy=ou_pairs", "data.duration_ns=5min"], tmp_path, environment)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(snippet, found)
    run = found["run"]
    assert run.record.strategy == "ou_pairs"
    assert len(found["fills"]) == run.record.counts["fills"] > 10
    assert found["busy"].to_pylist() == [{"run_id": run.run_id, "count_fills": len(found["fills"])}]
