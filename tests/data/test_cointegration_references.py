"""Unit roots and cointegration against numbers published by others: Stata, tsDyn, urca, EViews, Chan."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.tsa.stattools import coint

from bt_framework.stats._johansen_tables import max_p, max_quantiles, trace_p, trace_quantiles
from bt_framework.stats.cointegration import engle_granger, engle_granger_pairs
from bt_framework.stats.johansen import JohansenCase, johansen, mhm_critical_values
from bt_framework.stats.mean_reversion import half_life
from bt_framework.stats.multiple_testing import benjamini_hochberg, storey
from bt_framework.stats.pair_statistics import PairStatus, pair_statistics
from bt_framework.stats.unit_root import adf

SHORT = {"nc": 0, "rc": 1, "uc": 2, "rt": 3, "ut": 4}
# What tsDyn calls the terms, as the case whose trace it prints, and as the case of its p-values.
TSDYN = {"no": 0, "LRco": 1, "co": 2, "LRtr": 3, "bo": 4}
TSDYN_P = TSDYN | {"tr": 0, "coAsExo": 0, "LRc": 1}


@pytest.fixture(scope="module")
def references(shared_dir: Path) -> Path:
    return shared_dir / "references"


@pytest.fixture(scope="module")
def numbers(references: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((references / "cointegration_refs.json").read_text())
    return found


def closes(shared_dir: Path, name: str) -> np.ndarray:
    table = np.genfromtxt(shared_dir / f"data/bars/inputData_{name}.csv", delimiter=",", skip_header=1)
    return table[:, 1:]


def printed(text: str) -> tuple[float, float]:
    """A p-value as printed, and how far from it a right one may be."""
    if text.startswith("<"):
        return 0.0, float(text[1:])
    return float(text), 1e-4


def test_adf_is_statas(references, numbers):
    table = np.genfromtxt(references / "macrodata_statsmodels.csv", delimiter=",", names=True)
    rows = numbers["adf_macrodata_stata"]["rows"]
    assert len(rows) == 6
    for row in rows:
        found = adf(table[row["series"]], row["regression"], row["lags"])
        assert found.statistic == pytest.approx(row["stata_stat"], abs=1e-5)
        if row["regression"] != "n":  # those p-values are not Stata's
            assert found.p_value == pytest.approx(row["stata_p"], abs=1e-5)
            assert list(found.critical_values.values()) == pytest.approx(row["stata_cv_1_5_10"], abs=0.02)


def test_engle_granger_is_statas(references, numbers):
    table = np.genfromtxt(references / "egranger_y.csv", delimiter=",", skip_header=1)
    values = numbers["engle_granger_stata_egranger"]["values"]
    assert len(values) == 12
    for name, row in values.items():
        regression, _, listed = name.partition("_")
        found = engle_granger(table[:, 0], table[:, json.loads(listed)], regression, 4)
        assert found.statistic == pytest.approx(row["stata"][0], rel=1e-9)
        assert found.p_value == pytest.approx(row["statsmodels_p"], rel=1e-6)
        assert list(found.critical_values.values()) == pytest.approx(row["stata"][1:], abs=2e-5)


def test_johansen_is_tsdyns_in_all_five_cases(references, numbers):
    barry = np.loadtxt(references / "barry_tsDyn.csv", delimiter=",", skiprows=1)
    compared = set()
    for name, table in numbers["tsDyn_rank_test_tables"]["tables"].items():
        lags, terms = int(name.split("_")[2][1:]), "_".join(name.split("_")[3:])
        if terms not in TSDYN or (lags, terms) == (0, "LRtr"):  # that one is without the constant
            continue
        found = johansen(barry, JohansenCase(TSDYN[terms]), lags)
        digits = max(len(row[1].partition(".")[2]) for row in table["rows"])
        for r, row in enumerate(table["rows"]):
            assert found.trace[r] == pytest.approx(float(row[1]), abs=1.01 * 10.0**-digits), name
            assert found.max_eigenvalue[r] == pytest.approx(float(row[4]), abs=1.01 * 10.0**-digits), name
            for p_value, text in ((found.trace_p[r], row[2]), (found.max_p[r], row[5])):
                value, tolerance = printed(text)
                assert p_value == pytest.approx(value, abs=tolerance), name
        compared.add(found.case)
    assert compared == set(JohansenCase)


def test_johansen_p_values_are_tsdyns(numbers):
    compared = 0
    for name, table in numbers["tsDyn_rank_test_tables"]["tables"].items():
        case = JohansenCase(TSDYN_P[name.split("_")[3]])
        for row in table["rows"]:
            trends = 3 - int(row[0])
            pairs = ((trace_p, row[1], row[2]), (max_p, row[4], row[5]))
            for law, statistic, text in pairs:
                value, tolerance = printed(text)
                (found,) = law(np.array([float(statistic)]), trends, case)
                assert found == pytest.approx(value, abs=tolerance), (name, row)
                compared += 1
    assert compared == 102  # 17 tables of three ranks and two statistics


def test_johansen_p_values_are_near_those_eviews_prints(references):
    rows = np.genfromtxt(
        references / "johansen_eviews_mhm_pvalues.csv",
        delimiter=",",
        names=True,
        dtype=None,
        encoding="utf-8",
    )
    assert len(rows) == 36
    for row in rows:
        law = trace_p if row["kind"] == "trace" else max_p
        (found,) = law(np.array([row["stat"]]), int(row["n_minus_r"]), SHORT[row["case"]])
        assert found == pytest.approx(row["eviews_mhm_p"], abs=0.015)
        if row["eviews_mhm_p"] < 0.1:
            assert found == pytest.approx(row["eviews_mhm_p"], abs=0.003)


def test_johansen_critical_values_are_mackinnon_haug_and_micheliss(references):
    rows = np.genfromtxt(
        references / "johansen_cv_mhm_vs_doornik.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    assert len(rows) == 108
    for row in rows:
        case, trends = SHORT[row["case"]], np.array([row["n_minus_r"]])
        level = np.array([row["q"]])
        column = [0.90, 0.95, 0.99].index(round(float(row["q"]), 2))
        trace, largest = (
            values[0, column] for values in mhm_critical_values(int(trends[0]), JohansenCase(case))
        )
        assert (trace, largest) == pytest.approx((row["mhm_trace"], row["mhm_max"]), abs=1e-4)
        assert trace_quantiles(level, trends, case).item() == pytest.approx(row["doornik_trace"], abs=1e-5)
        assert max_quantiles(level, trends, case).item() == pytest.approx(row["doornik_max"], abs=1e-5)
        for law, value in ((trace_p, trace), (max_p, largest)):
            assert law(np.array([value]), trends, case).item() == pytest.approx(1.0 - row["q"], abs=0.0051)


def test_danish_money_demand_is_urcas(references, numbers):
    row = numbers["denmark_restricted_const_K2_season4"]
    table = np.genfromtxt(references / "denmark_urca.csv", delimiter=",", names=True, usecols=(1, 2, 4, 5))
    values = np.column_stack([table[name] for name in ("LRM", "LRY", "IBO", "IDE")])
    season = np.zeros((len(values), 3))
    for quarter in range(3):
        season[quarter::4, quarter] = 1.0
    found = johansen(values, JohansenCase.RESTRICTED_CONSTANT, 1, season - 0.25)
    published, computed = row["published"], row["computed_numpy"]
    assert found.n == computed["T"]
    assert found.eigenvalues == pytest.approx(published["eig"], abs=6e-8)
    assert found.max_eigenvalue == pytest.approx(published["lmax"], abs=0.006)
    assert found.trace == pytest.approx(computed["trace"], rel=1e-9)
    first = np.append(found.vectors[:, 0], found.deterministic[0]) / found.vectors[0, 0]
    assert first == pytest.approx(published["beta1"], abs=1e-6)
    assert found.trace_p == pytest.approx(computed["p_trace_doornik"], abs=1e-8)
    assert found.max_p == pytest.approx(computed["p_lmax_doornik"], abs=1e-8)
    for order, case in ((-1, JohansenCase.NONE), (0, JohansenCase.UNRESTRICTED_CONSTANT)):
        theirs = numbers[f"denmark_statsmodels_det{order}_kdiff1"]
        assert johansen(values, case).trace == pytest.approx(theirs["trace"], rel=1e-9)
        assert johansen(values, case).eigenvalues == pytest.approx(theirs["eig"], rel=1e-9)
    trap = numbers["denmark_statsmodels_det1_kdiff1"]
    ours = johansen(values, JohansenCase.UNRESTRICTED_TREND).trace
    assert ours == pytest.approx(trap["numpy_trace"], rel=1e-9)
    assert ours[0] - trap["trace"][0] == pytest.approx(1.51, abs=0.005)


def test_chans_pair_and_triple_are_cointegrated_as_he_prints(shared_dir):
    pair, triple = closes(shared_dir, "EWA_EWC"), closes(shared_dir, "EWA_EWC_IGE")
    assert johansen(pair).trace.round(3).tolist() == [19.983, 3.983]
    found = johansen(triple)
    assert found.trace.round(3).tolist() == [34.429, 17.532, 4.471]
    assert found.eigenvalues.round(4).tolist() == [0.0112, 0.0087, 0.0030]
    assert half_life(triple @ found.vectors[:, 0]) == pytest.approx(22.662578, abs=5e-7)
    assert engle_granger(pair[:, 1], pair[:, 0]).statistic == pytest.approx(-3.6435, abs=5e-5)


def test_a_universe_of_funds_is_screened_as_statsmodels_would_one_by_one(shared_dir):
    table = np.genfromtxt(shared_dir / "data/bars/inputData_ETF_cl.csv", delimiter=",")
    prices = table[1:, -67:]
    assert prices.shape == (1_500, 67)
    pairs = np.array(list(combinations(range(67), 2)))
    found = pair_statistics(prices, pairs)
    assert len(found) == 2_211
    assert (found.status == PairStatus.OK).all()
    for i in np.random.default_rng(1).choice(2_211, 25, replace=False):
        both = prices[:, pairs[i]]
        both = both[np.isfinite(both).all(axis=1)]
        for y, x, name in ((0, 1, "first"), (1, 0, "second")):
            theirs = coint(both[:, y], both[:, x], maxlag=1, autolag=None)
            assert found[f"t_{name}"][i] == pytest.approx(theirs[0], rel=1e-10)
            assert found[f"p_{name}"][i] == pytest.approx(theirs[1], rel=1e-9, abs=1e-14)
    whole = np.flatnonzero(np.isfinite(prices[:, pairs]).all(axis=(0, 2)))
    many = engle_granger_pairs(prices, pairs[whole])
    np.testing.assert_array_equal(many.statistic, found.t_first[whole])
    adjusted, (q, pi0) = benjamini_hochberg(found.p_first), storey(found.p_first)
    assert (q <= adjusted).all()
    assert 0.0 < pi0 < 1.0
    assert found.p_first.min() < 0.001  # before all 2,211 are taken into account
