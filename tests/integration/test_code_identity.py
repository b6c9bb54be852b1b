"""Which sources the code hash of a run follows."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bt_framework import assembly
from bt_framework.config.compose import compose
from bt_framework.jit import plain_key
from bt_framework.registry import Kind

FEES_MODULE = """
from bt_framework.engine.models import FeeSchedule


def build(config):
    return FeeSchedule(taker_value_frac={taker_frac})
"""


def test_an_edit_of_what_builds_the_fees_is_another_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "fees_of_mine.py"
    source.write_text(FEES_MODULE.format(taker_frac=1e-4))
    monkeypatch.syspath_prepend(tmp_path)
    composition = compose(["+strategy=imbalance"])
    chosen = composition.one(Kind.FEES)
    try:
        build = importlib.import_module("fees_of_mine").build
        other = chosen._replace(component=replace(chosen.component, build=build))
        parts = assembly.Parts.of(replace(composition, choices={**composition.choices, Kind.FEES: (other,)}))
        program = assembly.build_program(parts)
        first = assembly._sources_hash(program, parts)
        assert assembly._sources_hash(program, parts) == first
        source.write_text(FEES_MODULE.format(taker_frac=2e-4))
        assert assembly._sources_hash(program, parts) == first, "what is in memory is as it was"
        importlib.reload(sys.modules["fees_of_mine"])
        assert assembly._sources_hash(program, parts) != first
    finally:
        del sys.modules["fees_of_mine"]


def test_the_identity_follows_every_component_but_the_data() -> None:
    composition = compose(["+strategy=imbalance", "risk=[max_position]"])
    modules = assembly.Parts.of(composition).modules
    chosen = [choice for kind in Kind for choice in composition.many(kind)]
    decide = [c for c in chosen if c.component.kind not in (Kind.DATA, Kind.WRITER, Kind.STORE, Kind.CONSOLE)]
    assert len(decide) >= 10
    assert {c.component.config_class.__module__ for c in decide} <= set(modules)
    assert not any(module.startswith("bt_plugins.data") for module in modules)


LAYOUTS = {
    "a folder that is no package": {
        "strategy.py": "def on_timer():\n    import {name}.folder.module\n",
        "{name}/__init__.py": "",
        "{name}/folder/module.py": "",
    },
    "an import from a folder that is no package": {
        "strategy.py": "def on_timer():\n    from {name}.folder import module\n",
        "{name}/__init__.py": "",
        "{name}/folder/module.py": "",
    },
    "an import relative to a package": {
        "strategy.py": "def on_timer():\n    import {name}.inner\n",
        "{name}/__init__.py": "",
        "{name}/inner/__init__.py": "from ._module import go\n",
        "{name}/inner/_module.py": "",
    },
    "a package whose folder is called otherwise": {
        "strategy.py": "def on_timer():\n    import {name}.inner\n",
        "{name}/__init__.py": "__path__.append(__path__[0] + '/../elsewhere')\n",
        "elsewhere/inner/__init__.py": "from .module import go\n",
        "elsewhere/inner/module.py": "",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_key_of_plain_code_follows_what_it_imports_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    name = f"layout_{list(LAYOUTS).index(layout)}"
    files = {tmp_path / file.format(name=name): text for file, text in LAYOUTS[layout].items()}
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    strategy, *_, imported = files
    try:
        first = plain_key([strategy])
        assert plain_key([strategy]) == first
        imported.write_text("def go(): ...\n")
        assert plain_key([strategy]) != first
    finally:
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]
