"""A book that snapshots replace, and two streams that become one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.data import _level_book, _merging, level_book
from bt_framework.data.level_book import LevelBook
from bt_framework.data.merging import merged_by_local_ts
from bt_framework.records import EVENT, EventFlag, EventKind

BUY, SELL = EventFlag.BUY, EventFlag.SELL
DEPTH, SNAPSHOT = EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT

Levels = dict[tuple[int, float], float]
LEVELS = st.dictionaries(
    st.tuples(st.sampled_from([int(BUY), int(SELL)]), st.integers(1, 40).map(lambda k: k * 0.1)),
    st.integers(0, 3).map(float),
    max_size=30,
)


def rows_of(levels: Levels, kind: int = DEPTH) -> np.ndarray:
    rows = np.zeros(len(levels), EVENT)
    for row, ((side, px), qty) in zip(rows, levels.items(), strict=True):
        row["ev"], row["px"], row["qty"] = side | kind, px, qty
    return rows


def replayed(rows: np.ndarray, book: Levels) -> Levels:
    for row in rows:
        key = (int(row["ev"]) & (BUY | SELL), float(row["px"]))
        book[key] = float(row["qty"])
        if not book[key]:
            del book[key]
    return book


@given(st.lists(st.tuples(st.booleans(), LEVELS), max_size=12))
def test_a_replay_of_all_rows_is_the_book_and_no_level_is_emptied_in_vain(
    steps: list[tuple[bool, Levels]],
) -> None:
    book, truth, seen = LevelBook(), Levels(), Levels()
    for is_snapshot, levels in steps:
        filled = {key: qty for key, qty in levels.items() if qty}
        if is_snapshot and filled:
            out = book.replace(rows_of(filled, SNAPSHOT))
            gone = out[: len(out) - len(filled)]
            assert set(zip(gone["ev"].tolist(), gone["px"].tolist(), strict=True)) == {
                (side | DEPTH, px) for side, px in truth.keys() - filled.keys()
            }
            assert not gone["qty"].any()
            replayed(out, seen)
            truth = dict(filled)
        else:
            book.apply(rows_of(levels))
            replayed(rows_of(levels), truth)
            replayed(rows_of(levels), seen)
        assert seen == truth


def test_a_book_grows_past_its_first_table_and_forgets_empty_levels() -> None:
    book = LevelBook()
    n = level_book._FIRST_PLACES
    kept = {(int(SELL), 1e9 + k): 3.0 for k in range(100)}
    book.apply(rows_of(kept))
    for start in range(0, 6 * n, n):  # each batch empties the one before
        new = {(int(BUY), start + k + 1.0): 1.0 for k in range(n)}
        old = {(int(BUY), start - n + k + 1.0): 0.0 for k in range(n if start else 0)}
        book.apply(rows_of(old | new))
    last = {(int(BUY), 6.0 * n): 2.0}
    out = book.replace(rows_of(last, SNAPSHOT))
    assert len(out) == 100 + n
    gone = {(int(row["ev"]) & (BUY | SELL), float(row["px"])) for row in out[:-1]}
    assert gone == kept.keys() | {(int(BUY), 5 * n + k + 1.0) for k in range(n - 1)}
    assert book._levels.shape[1] < 20 * n


def test_vanished_levels_have_the_times_of_the_snapshot() -> None:
    book = LevelBook()
    book.apply(rows_of({(int(SELL), 5.0): 1.0}))
    rows = rows_of({(int(SELL), 6.0): 1.0, (int(SELL), 7.0): 1.0}, SNAPSHOT)
    rows["exch_ts"], rows["local_ts"] = [10, 11], [20, 21]
    assert book.replace(rows)[["exch_ts", "local_ts"]].tolist() == [(10, 20), (10, 20), (11, 21)]


@given(LEVELS, LEVELS)
def test_kernels_agree_with_their_plain_form(levels: Levels, marked: Levels) -> None:
    results = []
    for set_levels, take in (
        (_level_book.set_levels, _level_book.take_unmarked),
        (_level_book.set_levels.py_func, _level_book.take_unmarked.py_func),
    ):
        table, used, out = np.zeros((2, 101), _level_book.LEVEL), np.zeros(2, np.int64), np.zeros(99, EVENT)
        set_levels(rows_of(levels), table, used, 0)
        set_levels(rows_of(marked), table, used, 1)
        results.append((take(table, 1, out), table.tobytes(), used.tolist(), out.tobytes()))
    assert results[0] == results[1]


def stream(times: list[int], tag: int) -> np.ndarray:
    rows = np.zeros(len(times), EVENT)
    rows["local_ts"], rows["order_id"], rows["ival"] = times, tag, np.arange(len(times))
    return rows


TIMES = st.lists(st.integers(0, 30), max_size=40).map(sorted)


@given(TIMES, TIMES, st.integers(1, 9), st.integers(1, 9))
def test_streams_merge_in_time_order_and_the_first_one_wins_ties(
    a: list[int], b: list[int], a_rows: int, b_rows: int
) -> None:
    first, second = stream(a, 1), stream(b, 2)
    merged = [
        chunk.copy()
        for chunk in merged_by_local_ts(
            iter([first[i : i + a_rows] for i in range(0, len(first), a_rows)]),
            iter(
                [second[i : i + b_rows] for i in range(0, len(second) + 1, b_rows)]
            ),  # the last may be empty
        )
    ]
    out = np.concatenate([np.zeros(0, EVENT), *merged])
    together = np.concatenate([first, second])
    assert out.tobytes() == together[np.argsort(together["local_ts"], kind="stable")].tobytes()


def test_the_merge_kernel_agrees_with_its_plain_form() -> None:
    first, second = stream([1, 4, 4, 9], 1), stream([2, 4, 5], 2)
    results = []
    for function in (_merging.merge_rows, _merging.merge_rows.py_func):
        out, done = np.zeros(6, EVENT), np.zeros(2, np.int64)
        results.append((function(first, second, done, out, 1), out.tobytes(), done.tolist()))
    assert results[0] == results[1]
    assert results[0][2] == [3, 2]
