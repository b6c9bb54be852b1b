"""How far a run on some data can be trusted to be what would have happened: a grade from A to D, with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bt_framework.data.finding import Finding, Severity

LEVELS: Mapping[str, tuple[str, str]] = {
    "l1": ("C", "top of book only: queues and larger orders are guesses"),
    "none": ("D", "no book: fills are guesses"),
}
"""What a book of that level costs."""

CHECKS: Mapping[str, str] = {
    "bars": "D",
    "one clock": "C",
    "repaired": "C",
    "clock of whole seconds": "D",
    "synthetic clock": "D",
}
"""What findings that are no defects cost."""

HEAVY_FRAC: Mapping[str, float] = {
    "crossed book": 0.005,
    "gaps": 0.05,
    "implausible feed latency": 0.01,
    "negative feed latency": 0.01,
    "trade price spikes": 0.01,
    "mid price spikes": 0.01,
    "prices off tick": 0.01,
    "quantities off lot": 0.05,
    "zero sizes": 0.01,
    "half-empty book": 0.05,
    "locked book": 0.25,
}
"""Part of the rows, or of the time, from which a defect that otherwise costs a B costs a D."""


@dataclass(frozen=True)
class Fidelity:
    """A: L2 or L3 with two clocks and no defect. B: minor defects. C: top of book, one clock, or repaired. D: no book,
    bars, made-up times, or heavy defects.

    Attributes
    ----------
    reasons : tuple of str
        What keeps it from an A, the worst first; each begins with the grade that it costs.
    """

    grade: str
    reasons: tuple[str, ...]


def judge(book_level: str, findings: Iterable[Finding]) -> Fidelity:
    """Grade one instrument's events.

    >>> judge("l2", [])
    Fidelity(grade='A', reasons=())
    >>> judge("l1", []).reasons
    ('C: top of book only: queues and larger orders are guesses',)
    """
    costs = [LEVELS[book_level]] if book_level in LEVELS else []
    for finding in findings:
        grade = _cost(finding)
        if grade:
            costs.append((grade, f"{finding.check}: {finding.detail}"))
    return _worst(costs)


def _cost(finding: Finding) -> str:
    if finding.severity == Severity.FATAL:
        return "D"
    if finding.severity == Severity.WARN:
        return "D" if finding.frac >= HEAVY_FRAC.get(finding.check, 2.0) else "B"
    return CHECKS.get(finding.check, "")


def judge_run(
    feeds: Mapping[str, tuple[str, Sequence[Finding]]], together: Iterable[tuple[str, Finding]]
) -> Fidelity:
    """Grade all instruments of a run: the worst counts.

    Parameters
    ----------
    feeds : mapping of symbol to (book level, findings)
    together : iterable of (symbols, Finding)
        What `bt_framework.data.timing.check_together` found.
    """
    costs = []
    for symbol, (book_level, findings) in feeds.items():
        for reason in judge(book_level, findings).reasons:
            grade, _, text = reason.partition(": ")
            costs.append((grade, f"{symbol}: {text}"))
    costs += [(_cost(f), f"{symbols}: {f.check}: {f.detail}") for symbols, f in together if _cost(f)]
    return _worst(costs)


def _worst(costs: Sequence[tuple[str, str]]) -> Fidelity:
    ordered = sorted(costs, key=lambda cost: cost[0], reverse=True)
    return Fidelity(ordered[0][0] if ordered else "A", tuple(f"{grade}: {text}" for grade, text in ordered))
