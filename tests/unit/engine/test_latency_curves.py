"""Outages over latencies: every nanosecond of small tables against the rules in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bt_framework.engine._latency_at import latencies_at
from bt_framework.engine.latency import LATENCY_ROW, Curve, Disturbed, Window, latency_rows

Spans = list[tuple[int, int]]
CONSTANT = latency_rows([1_000, 9_000], 30, 70)


def read(rows: np.ndarray, times: Any, *, compiled: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Entry and response latencies at `times`."""
    times = np.asarray(times, np.int64)
    entry_ns, response_ns = np.empty_like(times), np.empty_like(times)
    look = latencies_at if compiled else getattr(latencies_at, "py_func", latencies_at)
    look(rows if compiled else rows.view(np.recarray), times, entry_ns, response_ns)
    return entry_ns, response_ns


def laid(rows: np.ndarray, outages: Spans, windows: list[Window]) -> np.ndarray:
    """All rows, after a look at what the engine relies on."""
    laid = np.concatenate([p.copy() for p in Disturbed(Curve(rows), outages, windows).pieces()])
    assert laid.dtype == LATENCY_ROW
    assert np.all(np.diff(laid["req_ts"]) >= 0)
    assert np.all(laid["resp_ts"] >= laid["exch_ts"])
    through = laid[laid["exch_ts"] >= laid["req_ts"]]
    assert np.all(np.diff(through["exch_ts"]) >= 0)
    return laid


def given_rows(*rows: tuple[int, int, int]) -> np.ndarray:
    return np.array([(*row, 0) for row in rows], LATENCY_ROW)


def test_an_outage_over_constants_delays_to_its_end_to_the_nanosecond() -> None:
    rows = laid(CONSTANT, [(2_000, 2_500)], [Window(2_000, 2_500)])
    times = np.arange(900, 9_200)
    entry_ns, response_ns = read(rows, times)
    inside = (times >= 2_000) & (times < 2_500)
    np.testing.assert_array_equal(entry_ns, np.where(inside, 2_500 + 30 - times, 30))
    np.testing.assert_array_equal(response_ns, np.where(inside, 2_500 + 70 - times, 70))


def test_an_outage_that_rejects_takes_a_round_trip_to_say_so() -> None:
    rows = laid(CONSTANT, [(2_000, 2_500)], [Window(2_000, 2_500, ((2_000, 100),))])
    times = np.arange(900, 9_200)
    entry_ns, response_ns = read(rows, times)
    inside = (times >= 2_000) & (times < 2_500)
    np.testing.assert_array_equal(entry_ns, np.where(inside, -100, 30))
    np.testing.assert_array_equal(response_ns, np.where(inside, 2_500 + 70 - times, 70))


def test_rejections_change_no_response() -> None:
    window = Window(2_000, 2_500, ((2_000, 400), (2_100, 50)))
    entry_ns, response_ns = read(laid(CONSTANT, [], [window]), np.arange(1_000, 4_000))
    np.testing.assert_array_equal(response_ns, 70)
    assert entry_ns[[999, 1_000, 1_099, 1_100, 1_499, 1_500]].tolist() == [30, -400, -400, -50, -50, 30]


def test_an_outage_before_between_or_after_all_rows_is_one_like_others() -> None:
    spans = [(100, 200), (12_000, 12_500)]
    entry_ns, response_ns = read(laid(CONSTANT, spans, [Window(*s) for s in spans]), np.arange(50, 13_000))
    assert (entry_ns[50], entry_ns[149], entry_ns[150], entry_ns[11_950], entry_ns[12_450]) == (
        130,
        31,
        30,
        530,
        30,
    )
    assert (response_ns[50], response_ns[150], response_ns[11_950], response_ns[12_450]) == (170, 70, 570, 70)


@st.composite
def tables(draw: Any) -> np.ndarray:
    """Rows of accepted requests: no column falls."""
    count = draw(st.integers(1, 12))
    steps = draw(st.lists(st.integers(0, 90), min_size=count, max_size=count))
    entry = draw(st.lists(st.integers(0, 150), min_size=count, max_size=count))
    response = draw(st.lists(st.integers(0, 150), min_size=count, max_size=count))
    req_ts = 1_000 + np.cumsum(steps)
    exch_ts = np.maximum.accumulate(req_ts + entry)
    resp_ts = np.maximum.accumulate(exch_ts + response)
    rows = np.zeros(count, LATENCY_ROW)
    rows["req_ts"], rows["exch_ts"], rows["resp_ts"] = req_ts, exch_ts, resp_ts
    return rows


@st.composite
def spans(draw: Any) -> Spans:
    """Spans in order that do not touch, some of them close to each other."""
    edges = sorted(draw(st.sets(st.integers(900, 2_400), max_size=8)))
    return list(zip(edges[0::2], edges[1::2], strict=False))


@example(rows=given_rows((1_000, 1_000, 1_000)), outages=[(900, 904)], rejects=True)
@example(
    rows=given_rows((1_000, 1_000, 1_000), (1_001, 1_004, 1_011)), outages=[(1_001, 1_002)], rejects=True
)
@example(
    rows=given_rows((1_007, 1_007, 1_007), (1_007, 1_157, 1_157), (1_007, 1_157, 1_161)),
    outages=[(900, 1_157)],
    rejects=False,
)
@example(
    rows=given_rows((1_093, 1_093, 1_093), (1_183, 1_183, 1_183), (1_183, 1_184, 1_186)),
    outages=[(900, 1_183)],
    rejects=False,
)
@given(rows=tables(), outages=spans(), rejects=st.booleans())
def test_outages_over_any_table_keep_the_rules(rows: np.ndarray, outages: Spans, rejects: bool) -> None:
    curve = Curve(rows)
    notices = [((s, max(1, curve.response(curve.entry(s)) - s)),) if rejects else () for s, _ in outages]
    windows = [Window(*span, notice) for span, notice in zip(outages, notices, strict=True)]
    times = np.arange(800, 2_700)
    entry_ns, response_ns = read(laid(rows, outages, windows), times)
    assert response_ns.min() >= 0
    arrivals = (times + entry_ns)[entry_ns >= 0]
    assert np.all(np.diff(arrivals) >= -1)
    for ts, entry, response in zip(times.tolist(), entry_ns.tolist(), response_ns.tolist(), strict=True):
        inside = [(k, end) for k, (start, end) in enumerate(outages) if start <= ts < end]
        if inside and rejects:
            assert entry == -windows[inside[0][0]].notices[0][1]
        else:
            at = inside[0][1] if inside else ts
            # A row put in for responses may move requests of its nanosecond.
            assert curve.entry(at - 1) - 2 <= ts + entry <= curve.entry(at + 1) + 2
        back_ts = curve.response(inside[0][1] if inside else ts)
        assert abs(ts + response - back_ts) <= 2


@given(rows=tables(), rejected=spans(), notice_ns=st.integers(1, 500))
def test_rejections_over_any_table_keep_the_rules(rows: np.ndarray, rejected: Spans, notice_ns: int) -> None:
    windows = [Window(start, end, ((start, notice_ns),)) for start, end in rejected]
    times = np.arange(800, 2_700)
    entry_ns, response_ns = read(laid(rows, [], windows), times)
    assert response_ns.min() >= 0
    curve = Curve(rows)
    for ts, entry in zip(times.tolist(), entry_ns.tolist(), strict=True):
        if any(start <= ts < end for start, end in rejected):
            assert entry == -notice_ns
        else:
            assert abs(ts + entry - curve.entry(ts)) <= 1


@given(rows=tables(), outages=spans())
def test_compiled_and_plain_reading_agree(rows: np.ndarray, outages: Spans) -> None:
    laid_rows = laid(rows, outages, [Window(*span) for span in outages])
    times = np.arange(990, 2_300, 7)
    for compiled, plain in zip(read(laid_rows, times), read(laid_rows, times, compiled=False), strict=True):
        np.testing.assert_array_equal(compiled, plain)


def test_interpolation_is_the_engines_by_hand() -> None:
    rows = np.array([(1_000, 1_010, 1_110, 0), (1_300, 1_410, 1_440, 0)], LATENCY_ROW)
    # Entry from 10 to 110 over 300 ns: at 1,007 it is 10 + 7 / 3, rounded towards zero. Response from 100 to 30
    # over 400 ns: at 1,013 it is 100 - 3 * 70 / 400.
    entry_ns, response_ns = read(rows, [990, 1_000, 1_007, 1_013, 1_300, 1_409, 1_500])
    assert entry_ns.tolist() == [10, 10, 12, 14, 110, 110, 110]
    assert response_ns.tolist() == [100, 100, 100, 100, 50, 31, 30]


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 1_000])
def test_rows_do_not_depend_on_the_size_of_chunks(chunk_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from bt_framework.engine import latency

    rng = np.random.default_rng(3)
    rows = np.zeros(300, LATENCY_ROW)
    rows["req_ts"] = 1_000 + np.cumsum(rng.integers(0, 40, 300))
    rows["exch_ts"] = np.maximum.accumulate(rows["req_ts"] + rng.integers(0, 200, 300))
    rows["resp_ts"] = np.maximum.accumulate(rows["exch_ts"] + rng.integers(0, 200, 300))
    spans_ = [(1_500, 1_900), (1_901, 2_700), (5_000, 5_001)]
    windows = [Window(1_500, 1_900), Window(1_901, 2_700, ((1_901, 9),)), Window(5_000, 5_001)]
    whole = laid(rows, spans_, windows)
    monkeypatch.setattr(latency, "CHUNK_ROWS", chunk_rows)
    np.testing.assert_array_equal(laid(rows, spans_, windows), whole)
