"""Stores are told of a sweep when it starts and when it ends."""

from __future__ import annotations

import dataclasses

import pytest
from sweep_folders import planned

from bt_framework.config.variants import VariantComposer
from bt_framework.plugin_manager import discover
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.recording import create_recorded, recorded


def test_a_sweep_that_ends_before_it_has_a_table_warns_of_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan, jobs = planned({"seed": ["1", "2"]})
    plan = dataclasses.replace(plan, fixed=("+strategy=market_maker",))
    folder = SweepFolder(tmp_path / "sweeps" / plan.sweep_id)
    composer = VariantComposer(discover())
    create_recorded(folder, plan, jobs, composer)
    with pytest.raises(RuntimeError, match="no disk"), recorded(folder, composer):
        raise RuntimeError("no disk")
    assert capsys.readouterr().err == ""
