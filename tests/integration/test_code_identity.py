"""Which sources the code hash of a run follows."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bt_framework import assembly
from bt_framework.config.compose import compose
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
