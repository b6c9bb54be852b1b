"""Screening: what is tested and decided, in whatever parts it is done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from screens import all_pairs, screening, silent, universe

from bt_framework.errors import DataError, RunStopped, StorageError
from bt_framework.research import _results, screen
from bt_framework.research._chunks import Chunks
from bt_framework.research.decisions import combined_p, decide
from bt_framework.research.settings import Method
from bt_framework.stats.johansen import JohansenCase
from bt_framework.stats.multiple_testing import benjamini_hochberg, storey
from bt_framework.stats.pair_statistics import PairOptions, pair_statistics
from bt_framework.stores.relational.tables import RESULT_NUMBERS


def rows_of(done, **other):
    rows = done.store.results(done.screen_id, **other)
    return sorted(rows, key=lambda row: (row["window_end"], row["pair_id"]))


def test_every_pair_is_tested_on_every_test_date(tmp_path):
    work = screening(tmp_path, window=150, step=75)
    found = work.run(silent)
    rows = rows_of(work)
    assert found.summary["tested"] == len(rows) == 15 * 3
    assert found.summary["windows"] == 3
    assert {row["observations"] for row in rows} == {150}
    assert found.summary["first_test_date"] == "2020-05-30T00:00:00+00:00"
    assert {f"{row['as_of'] - row['window_end']}" for row in rows} == {"1 day, 0:00:00"}


def test_the_numbers_are_those_of_the_tests_on_the_window_by_itself(tmp_path):
    work = screening(tmp_path, window=150, step=75, lags=2)
    work.run(silent)
    options = PairOptions(lags=2, johansen_lags=2, min_observations=100)
    prices = work.universe.prices[75:225]
    expected = pair_statistics(prices, all_pairs(6), options)
    with_trend = replace(options, johansen_case=JohansenCase.RESTRICTED_TREND)
    trend = pair_statistics(prices, all_pairs(6), with_trend)
    end = work.windows[1]
    found = rows_of(work, window_end=screen.instant(end.end_ts))
    ids = [_results.pair_id_of(work.universe, row) for row in expected]
    by_id = {row["pair_id"]: row for row in found}
    for pair_id, row in zip(ids, expected, strict=True):
        for column in set(_results.COLUMNS) - {"trend_trace_0", "trend_trace_p_0"}:
            value = float(row[_results.COLUMNS[column]])
            assert by_id[pair_id][column] == (value if np.isfinite(value) else None), (pair_id, column)
    for pair_id, row in zip(ids, trend, strict=True):
        assert by_id[pair_id]["trend_trace_0"] == row["trace_0"]
        assert by_id[pair_id]["trend_trace_p_0"] == row["trace_p_0"]


def test_every_column_of_numbers_is_filled():
    assert {*_results.COLUMNS, "p_value", "p_bh", "q_storey"} == set(RESULT_NUMBERS)
    assert set(_results.COLUMNS.values()) <= set(_results.ROW.names)


def test_false_discoveries_are_controlled_over_all_that_was_tested(tmp_path):
    work = screening(tmp_path, window=150, step=75)
    found = work.run(silent)
    rows = rows_of(work)
    p = np.array([row["p_value"] for row in rows])
    tests = [[row["ab_p"], row["ba_p"], row["trend_trace_p_0"]] for row in rows]
    np.testing.assert_array_equal(p, combined_p(np.array(tests)))
    np.testing.assert_array_equal([row["p_bh"] for row in rows], benjamini_hochberg(p))
    q, pi0 = storey(p, 0.5)
    np.testing.assert_array_equal([row["q_storey"] for row in rows], q)
    assert found.summary["pi0_lowest"] == found.summary["pi0_highest"] == pi0
    assert found.summary["found_bh"] == sum(row["found_bh"] for row in rows) > 0


def test_each_window_may_be_a_family_of_its_own(tmp_path):
    work = screening(tmp_path, window=150, step=75, family="window")
    work.run(silent)
    rows = rows_of(work)
    for window in work.windows:
        part = [row for row in rows if row["window_end"] == screen.instant(window.end_ts)]
        np.testing.assert_array_equal(
            [row["p_bh"] for row in part], benjamini_hochberg([row["p_value"] for row in part])
        )


def test_the_tests_that_decide_are_those_asked_for(tmp_path):
    work = screening(tmp_path, methods=[Method.johansen])
    work.run(silent)
    assert all(row["p_value"] == row["trend_trace_p_0"] for row in rows_of(work))


def test_the_true_pair_is_found_with_its_hedge_ratio(tmp_path):
    work = screening(tmp_path)
    work.run(silent)
    (row,) = rows_of(work, found_only=True)
    assert row["pair_id"] == "P0A_P0B"
    assert row["ab_hedge_ratio"] == pytest.approx(0.7, abs=0.05)
    assert row["ab_half_life_bars"] == pytest.approx(3.0, abs=1.0)


@pytest.mark.parametrize("drift", [0.0, 0.003])
def test_independent_walks_are_found_no_more_often_than_they_may_be(drift):
    rng = np.random.default_rng(5)
    walks = rng.normal(drift, 0.01, (400, 4_000)).cumsum(axis=0)
    rows = _results.tested(walks, np.arange(4_000).reshape(-1, 2), lags=1, min_observations=100)
    for methods in ([Method.engle_granger], [Method.johansen], [Method.engle_granger, Method.johansen]):
        p = combined_p(_results.deciding_p(rows, methods))
        # Of 2,000 pairs; three standard errors are 0.015 and 0.007.
        assert 0.030 < (p < 0.05).mean() < 0.070, methods
        assert (p < 0.01).mean() < 0.020, methods


def test_true_pairs_are_found_and_the_share_of_false_ones_stays_small():
    # 20 universes of 4 true pairs among 32 symbols: 496 tests each, of which 492 are of series without a relation.
    both = [Method.engle_granger, Method.johansen]
    false_share, found_true = {"bh": [], "storey": []}, []
    for seed in range(20):
        prices = universe(seed=seed, n=400, pairs=4, walks=24)
        pairs = all_pairs(32)
        truth = (pairs[:, 1] == pairs[:, 0] + 1) & (pairs[:, 0] < 8) & (pairs[:, 0] % 2 == 0)
        rows = _results.tested(prices.prices, pairs, lags=1, min_observations=100)
        decided = decide(combined_p(_results.deciding_p(rows, both)), np.zeros(len(pairs), int))
        for how, adjusted in (("bh", decided.p_bh), ("storey", decided.q_storey)):
            found = adjusted <= 0.05
            false_share[how].append((found & ~truth).sum() / max(1, found.sum()))
        found_true.append((decided.p_bh <= 0.05)[truth].mean())
    # At a rate of 0.05, with fixed seeds; the standard error of a mean share is about 0.02.
    assert np.mean(false_share["bh"]) < 0.09, false_share
    assert np.mean(false_share["storey"]) < 0.09, false_share
    assert np.mean(found_true) > 0.99


def test_parts_and_threads_change_nothing(tmp_path, monkeypatch):
    whole = screening(tmp_path / "whole", window=100, step=50, workers=1)
    whole.run(silent)
    monkeypatch.setattr(screen, "_CELLS_PER_CHUNK", 400)
    parts = screening(tmp_path / "parts", window=100, step=50, workers=3)
    parts.run(silent)
    assert len(list(parts._all_chunks())) == 20
    assert rows_of(whole) == rows_of(parts)


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_a_screening_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(screen, "_CELLS_PER_CHUNK", 400)
    whole = screening(tmp_path / "whole", window=100, step=50)
    whole.run(silent)
    computed, stopped = [], screening(tmp_path / "stopped", window=100, step=50, workers=1)
    compute = _results.tested

    def counting(*arguments, **options):
        computed.append(1)
        if len(computed) == kept + 1:
            raise RunStopped("stopped by Ctrl-C.", signal_number=2)
        return compute(*arguments, **options)

    monkeypatch.setattr(_results, "tested", counting)
    with pytest.raises(
        RunStopped, match=r"stopped by Ctrl-C after .* of 75 tests\. They are kept; the same command"
    ):
        stopped.run(silent)
    assert stopped.store.screens() == []
    there = len(list(stopped._chunks.folder.glob("*.npy")))
    computed.clear()
    monkeypatch.setattr(_results, "tested", lambda *a, **o: (computed.append(1), compute(*a, **o))[1])
    again = screening(tmp_path / "stopped", window=100, step=50)
    again.run(silent)
    assert there >= kept
    assert len(computed) == 20 - there
    assert rows_of(again) == rows_of(whole)
    assert not again._chunks.folder.exists()


def test_a_finished_screening_is_not_done_again(tmp_path, monkeypatch):
    first = screening(tmp_path).run(silent)
    monkeypatch.setattr(_results, "tested", None)
    assert screening(tmp_path).run(silent) == first


def test_another_rate_is_another_screening_and_another_number_of_threads_is_not(tmp_path):
    ids = {key: screening(tmp_path, **{key: value}).screen_id for key, value in OTHER.items()}
    plain = screening(tmp_path).screen_id
    same = {"workers", "top", "follow", "spreads", "hedge_window"}
    assert {key for key, found in ids.items() if found == plain} == same
    assert len({*ids.values()}) == len(ids) - len(same) + 1


OTHER = {
    "workers": 1,
    "top": 3,
    "follow": "all",
    "spreads": "ols",
    "hedge_window": 99,
    "fdr": 0.1,
    "lags": 3,
    "window": 150,
    "min_observations": 99,
    "family": "window",
    "methods": [Method.johansen],
}


def test_other_bars_are_another_screening(tmp_path):
    prices = universe()
    shifted = prices.prices.copy()
    shifted[7, 0] += 1e-9
    other = replace(prices, prices=shifted)
    assert screening(tmp_path, prices).screen_id != screening(tmp_path, other).screen_id


def test_pairs_that_cannot_be_tested_are_recorded_with_the_reason(tmp_path):
    prices = universe(walks=1)
    n = len(prices.times_ns)
    column = prices.prices[:, 2]
    early, late = column.copy(), column.copy()
    early[n // 2 :] = np.nan
    late[: n // 2] = np.nan
    gappy = np.where(np.arange(n) % 5 == 0, column, np.nan)
    table = np.column_stack([column, early, late, gappy, 2.0 * column + 1.0, np.full(n, 3.0)])
    names = ("a", "early", "late", "gappy", "double", "still")
    work = screening(tmp_path, replace(prices, symbols=names, prices=table))
    found = work.run(silent)
    status = {row["pair_id"]: row["status"] for row in rows_of(work)}
    assert status["early_late"] == "no_overlap"
    assert status["a_gappy"] == "too_few"
    assert status["a_double"] == "collinear"
    assert status["a_still"] == "constant"
    assert found.summary["refused"] == {
        reason: list(status.values()).count(reason) for reason in sorted({*status.values()} - {"ok"})
    }
    refused = [row for row in rows_of(work) if row["status"] != "ok"]
    assert all(row["p_value"] is None and not row["found_bh"] and row["ab_t"] is None for row in refused)


def test_where_no_pair_can_be_tested_nothing_is_found(tmp_path):
    prices = universe(n=60)
    found = screening(tmp_path, prices).run(silent)
    assert found.summary["tested"] == 0
    assert found.summary["refused"] == {"too_few": 15}
    assert found.summary["pi0_lowest"] is None


def test_gaps_are_left_out_pair_by_pair(tmp_path):
    prices = universe()
    table = prices.prices.copy()
    table[40:90, 0] = np.nan
    work = screening(tmp_path, replace(prices, prices=table))
    work.run(silent)
    counts = {row["pair_id"]: row["observations"] for row in rows_of(work)}
    assert {n for pair, n in counts.items() if pair.startswith("P0A")} == {250}
    assert {n for pair, n in counts.items() if not pair.startswith("P0A")} == {300}


def test_progress_reaches_the_end_and_never_goes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(screen, "_CELLS_PER_CHUNK", 400)
    seen = []
    screening(tmp_path, window=100, step=50).run(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (75, 75)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_damaged_part_is_computed_again(tmp_path):
    chunks = Chunks(tmp_path / "parts")
    array = np.arange(5.0)
    chunks.put(3, array)
    assert chunks.get(3, 5, array.dtype).tolist() == array.tolist()
    assert chunks.get(3, 4, array.dtype) is None
    assert chunks.get(3, 5, np.dtype("i8")) is None
    assert chunks.get(4, 5, array.dtype) is None
    path = chunks._path(3)
    content = path.read_bytes()
    for damaged in (b"", content[:-8], b"x" * len(content)):
        path.write_bytes(damaged)
        assert chunks.get(3, 5, array.dtype) is None
    chunks.remove()
    assert not (tmp_path / "parts").exists()


def test_a_part_that_cannot_be_kept_is_an_error_that_names_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"keeping a part in .*file/parts failed"):
        Chunks(tmp_path / "file" / "parts").put(0, np.zeros(1))


def test_two_pairs_of_one_id_are_refused_before_anything_is_computed(tmp_path):
    prices = replace(universe(walks=2), symbols=("A", "A_B", "B_C", "C"))
    with pytest.raises(
        DataError, match="the pair id 'A_B_C' must name one pair, was that of A and B_C and of A_B and C"
    ):
        screening(tmp_path, prices)
