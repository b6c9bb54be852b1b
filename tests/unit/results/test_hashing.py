import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.results.hashing import HASHED_TABLES, ResultHash

places = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)


def hash_of(*slices):
    result = ResultHash()
    for tables in slices:
        result.update(tables)
    return result.hexdigest()


@given(seed=st.integers(0, 1_000), places=places)
def test_the_hash_does_not_depend_on_how_the_run_was_sliced(make_tables, cut, seed, places):
    tables = make_tables(seed)
    assert hash_of(*cut(tables, places)) == hash_of(tables)


def test_the_hash_is_sha256_over_the_sha256_of_each_table(make_tables):
    tables = make_tables(1)
    lines = [
        f"{name} {hashlib.sha256(tables[name].tobytes()).hexdigest()}"
        for name in ("orders", "fills", "equity")
    ]
    assert hash_of(tables) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("name", HASHED_TABLES)
def test_any_change_of_a_row_changes_the_hash(make_tables, name):
    tables = make_tables(2)
    before = hash_of(tables)
    for column in tables[name].dtype.names:
        changed = {**tables, name: tables[name].copy()}
        changed[name][column][-1] += 1
        assert hash_of(changed) != before


def test_rows_that_move_from_one_table_to_another_change_the_hash():
    rows = {name: np.zeros(1, "i8") for name in ("orders", "fills")}
    assert hash_of({"orders": rows["orders"]}) != hash_of({"fills": rows["fills"]})


def test_signals_and_refusals_are_not_part_of_the_result(make_tables):
    tables = make_tables(3)
    fewer = {**tables, "signals": tables["signals"][:1], "refusals": tables["refusals"][:1]}
    assert hash_of(fewer) == hash_of(tables)


def test_every_second_row_hashes_like_a_copy_of_them(make_tables):
    tables = make_tables(4)
    strided = {name: rows[::2] for name, rows in tables.items()}
    assert hash_of(strided) == hash_of({name: rows.copy() for name, rows in strided.items()})
