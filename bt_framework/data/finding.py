"""A defect of events as the doctor reports it, and what people are told of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bt_framework.errors import DataError


class Severity(StrEnum):
    """How bad a finding is: ``fatal`` stops a run, ``warn`` lowers the grade, ``info`` is for the record."""

    FATAL = "fatal"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One kind of defect in one instrument's events.

    Attributes
    ----------
    count : int
        Rows, or episodes, that have it.
    first_index : int
        Row of the stored events where it is first seen; -1 where it has no place.
    frac : float
        Part of the rows, or of the time, that has it; 0.0 where that says nothing.
    """

    check: str
    severity: str
    count: int
    first_index: int
    detail: str
    frac: float = 0.0


def grade(findings: Iterable[Finding]) -> str:
    """``"fatal"``, ``"warn"`` or ``"ok"``: the worst of `findings`."""
    severities = {f.severity for f in findings}
    if Severity.FATAL in severities:
        return "fatal"
    return "warn" if Severity.WARN in severities else "ok"


def line(symbol: str, findings: Sequence[Finding]) -> str:
    """One line for people: the grade, and what lowered it."""
    told = [f"{f.check} {f.count:,}" for f in findings if f.severity != Severity.INFO]
    return f"{symbol}: {grade(findings)}" + (f" ({', '.join(told)})" if told else "")


def refuse_fatal(symbol: str, findings: Sequence[Finding]) -> None:
    """Stop if anything is fatal.

    Raises
    ------
    DataError
        The message lists the fatal findings.
    """
    fatal = [f for f in findings if f.severity == Severity.FATAL]
    if fatal:
        listed = "".join(f"\n  {f.check}: {f.count:,}{_place(f)}, {f.detail}" for f in fatal)
        raise DataError(f"{symbol}: the events cannot be used:{listed}")


def _place(finding: Finding) -> str:
    return f" from row {finding.first_index:,}" if finding.first_index >= 0 else ""
