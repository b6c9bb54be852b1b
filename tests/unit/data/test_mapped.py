"""Events are mapped once per process."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bt_framework.data import _mapped
from bt_framework.data._mapped import mapped


def saved(path: Path, value: int) -> Path:
    np.save(path.with_name("draft.npy"), np.full(1_000, value))
    os.replace(path.with_name("draft.npy"), path)
    return path


def test_threads_share_the_mapping_of_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "events.npy", 1)
    with ThreadPoolExecutor(8) as pool:
        arrays = list(pool.map(lambda _: mapped(path), range(64)))
    assert len({id(array) for array in arrays}) == 1
    assert arrays[0].tolist() == [1] * 1_000
    assert not arrays[0].flags.writeable


def test_a_file_that_takes_the_place_of_another_is_mapped_anew(tmp_path: Path) -> None:
    path = saved(tmp_path / "events.npy", 1)
    first = mapped(path)
    second = mapped(saved(path, 2))
    assert (first[0], second[0]) == (1, 2)


def test_a_mapping_goes_with_its_last_reader_but_for_the_last_small_ones(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{number}.npy", number) for number in range(9)]
    reader = mapped(paths[0])
    for path in paths:
        mapped(path)
    gc.collect()
    mine = {key[0] for key in _mapped._mappings if str(tmp_path) in key[0]}
    assert mine == {str(path) for path in (paths[0], *paths[-4:])}
    assert mapped(paths[0]) is reader


def test_a_large_mapping_goes_with_its_last_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mapped, "_SMALL_BYTES", 1_000)
    path = saved(tmp_path / "events.npy", 1)
    rows = mapped(path)[5:]
    gc.collect()
    assert mapped(path).base is rows.base.base
    del rows
    gc.collect()
    assert str(path) not in [key[0] for key in _mapped._mappings]
