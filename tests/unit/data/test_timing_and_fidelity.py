"""Clocks that go apart, instruments of which a part is missing, and the grade that all findings add up to."""

from __future__ import annotations

import numpy as np
import pytest

from bt_framework.data.doctor import Doctor
from bt_framework.data.fidelity import judge, judge_run
from bt_framework.data.finding import Finding, Severity
from bt_framework.data.specs import KnownSizes
from bt_framework.data.timing import Timing, check_together
from bt_framework.testing.feeds import clean_events
from bt_framework.units import NS_PER_MS, NS_PER_S

CONFIGURED = KnownSizes(0.1, 0.001, 1.0, "config", "config")
HOUR_NS = 3_600 * NS_PER_S


def timing(symbol: str, events: np.ndarray) -> Timing:
    doctor = Doctor(CONFIGURED)
    doctor.examine(events)
    doctor.finish()
    return doctor.timing(symbol)


def hour(seed: int, seconds: int = 600) -> np.ndarray:
    return clean_events(seconds * 10, seed=seed, step_ns=100 * NS_PER_MS)


def clock_runs_away(events: np.ndarray, ppm: float) -> None:
    """The receiver's clock."""
    since = events["local_ts"] - events["local_ts"][0]
    events["local_ts"] += (since * ppm * 1e-6).astype(np.int64)


def test_clocks_that_go_alike_and_whole_days_are_clean():
    assert check_together([timing("A", hour(1)), timing("B", hour(2))]) == []


@pytest.mark.parametrize("ppm", [20.0, 10.5])
def test_a_clock_that_drifts_is_found_in_its_feed_and_against_the_other(ppm):
    drifting = hour(1)
    clock_runs_away(drifting, ppm)
    found = check_together([timing("A", drifting), timing("B", hour(2))])
    assert [(symbols, f.check, f.severity) for symbols, f in found] == [
        ("A", "clock drift", "warn"),
        ("A/B", "clock drift", "warn"),
    ]
    told = float(found[1][1].detail.rpartition(",")[2].removesuffix(" ppm"))
    assert told == pytest.approx(ppm, rel=0.1)


def test_two_feeds_on_one_drifting_receiver_do_not_drift_against_each_other():
    one, other = hour(1), hour(2)
    clock_runs_away(one, 20.0)
    clock_runs_away(other, 20.0)
    assert [symbols for symbols, _ in check_together([timing("A", one), timing("B", other)])] == ["A", "B"]


def test_feeds_of_one_clock_cannot_drift():
    events = hour(1)
    events["local_ts"] = events["exch_ts"]
    assert timing("A", events).least_latency_ns == ()


def test_the_course_of_latencies_stays_short_and_keeps_the_least():
    events = clean_events(3_000, step_ns=NS_PER_S)
    least = timing("A", events)
    assert least.span_ns == 8 * NS_PER_S
    assert len(least.least_latency_ns) <= 512
    latency_ns = events["local_ts"] - events["exch_ts"]
    spans = events["local_ts"] // least.span_ns * least.span_ns
    for start, ns in least.least_latency_ns:
        assert start % least.span_ns == 0
        assert ns == latency_ns[spans == start].min()


def test_an_instrument_that_ends_long_before_the_others_is_truncated():
    whole, part = hour(1), hour(2)
    found = check_together([timing("A", whole), timing("B", part[: len(part) // 2])])
    ((symbol, finding),) = found
    assert (symbol, finding.check, finding.severity, finding.count) == ("B", "truncated day", "warn", 1)
    assert finding.detail.startswith("ends 2")
    assert finding.detail.endswith("s earlier than others")
    late = part[len(part) // 2 :]
    ((symbol, finding),) = check_together([timing("A", whole), timing("B", late)])
    assert (symbol, finding.detail[:8]) == ("B", "starts 3")


WARN = Finding("sequence gaps", "warn", 3, -1, "3 are missing")
CLOCK = Finding("one clock", "info", 1, -1, "no latency")
FATAL = Finding("invalid values", "fatal", 1, 0, "NaN")
INFO = Finding("dropped rows", "info", 9, -1, "bookTicker")


@pytest.mark.parametrize(
    ("book_level", "findings", "grade"),
    [
        ("l3", [], "A"),
        ("l2", [INFO], "A"),
        ("l2", [WARN], "B"),
        ("l2", [Finding("gaps", "warn", 1, 0, "", frac=0.049)], "B"),
        ("l2", [Finding("gaps", "warn", 1, 0, "", frac=0.05)], "D"),
        ("l2", [Finding("truncated day", "warn", 1, 0, "", frac=0.9)], "B"),
        ("l1", [], "C"),
        ("l3", [CLOCK], "C"),
        ("l2", [Finding("repaired", "info", 7, -1, "")], "C"),
        ("l2", [Finding("clock of whole seconds", "info", 1, -1, "")], "D"),
        ("l2", [Finding("synthetic clock", "info", 1, -1, "")], "D"),
        ("none", [], "D"),
        ("l2", [FATAL], "D"),
    ],
)
def test_each_finding_costs_what_the_table_says(book_level, findings, grade):
    fidelity = judge(book_level, findings)
    assert fidelity.grade == grade
    assert (fidelity.reasons == ()) == (grade == "A")
    assert all(reason.startswith(("B: ", "C: ", "D: ")) for reason in fidelity.reasons)


def test_the_reasons_come_worst_first():
    assert judge("l1", [WARN, CLOCK, FATAL]).reasons == (
        "D: invalid values: NaN",
        "C: top of book only: queues and larger orders are guesses",
        "C: one clock: no latency",
        "B: sequence gaps: 3 are missing",
    )


def test_a_run_has_the_grade_of_its_worst_instrument_and_what_they_are_together():
    drift = Finding("clock drift", Severity.WARN, 1, -1, "20 ppm")
    assert judge_run({"A": ("l2", []), "B": ("l3", [])}, []).grade == "A"
    assert judge_run({"A": ("l2", []), "B": ("l3", [])}, [("A/B", drift)]).reasons == (
        "B: A/B: clock drift: 20 ppm",
    )
    run = judge_run({"A": ("l2", [WARN]), "B": ("l1", [])}, [("A/B", drift)])
    assert run.grade == "C"
    assert run.reasons[1:] == ("B: A: sequence gaps: 3 are missing", "B: A/B: clock drift: 20 ppm")


def test_the_record_of_a_run_has_the_grade_its_reasons_and_what_the_instruments_are_together(tmp_path):
    from bt_framework.assembly import _grade
    from bt_framework.data.store import EventStore
    from bt_framework.testing.feeds import ArrayFeed

    drifting, part = hour(1), hour(2)
    clock_runs_away(drifting, 20.0)
    feeds = [ArrayFeed(drifting, "A"), ArrayFeed(part[: len(part) // 2], "B", report={"gaps": 1})]
    data_grade = _grade(EventStore(tmp_path).load_all(feeds))
    assert (data_grade["grade"], data_grade["fidelity"]) == ("warn", "B")
    assert data_grade["line"] == (
        "fidelity B; A: ok; B: warn (sequence gaps 1); A: warn (clock drift 1); A/B: warn (clock drift 1);"
        " B: warn (truncated day 1)"
    )
    assert [reason[:22] for reason in data_grade["reasons"]] == [
        "B: B: sequence gaps: 0",
        "B: A: clock drift: lea",
        "B: A/B: clock drift: l",
        "B: B: truncated day: e",
    ]
    assert {(f["symbol"], f["check"]) for f in data_grade["findings"]} >= {("A/B", "clock drift")}


def test_every_check_and_every_rule_of_repair_is_documented():
    import re
    from pathlib import Path

    from bt_framework.data import _repair, _verdict, doctor, fidelity, timing

    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    sources = "".join(
        Path(module.__file__).read_text(encoding="utf-8") for module in (_verdict, doctor, timing)
    )
    checks = set(re.findall(r'(?:_found|Finding)\(\s*"([^"]+)"', sources))
    checks |= set(re.findall(r'^        \((?:[A-Z_]+, )?"([a-z -]+)", ', sources, re.M))
    assert {"gaps", "crossed book", "zero sizes", "clock drift", "zero events", "truncated day"} <= checks
    checks -= {"exchange", "local", "tick", "lot"}  # parts of names that are put together
    assert [check for check in checks if f"`{check}`" not in page] == []
    repair = page.partition("## Repair")[2]
    assert [c for c in _repair.CHECKS if f"`{c}`" not in repair] == []
    graded = page.partition("## Fidelity")[2].partition("## Repair")[0]
    assert [c for c in (*fidelity.CHECKS, *fidelity.HEAVY_FRAC) if f"`{c}`" not in graded] == []
