"""What `bt data check` prints of feeds that were examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import number, print_table, utc

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.data._stream import Examined
    from bt_framework.data.finding import Finding

Checked = tuple["Examined", "pa.Table | None"]
"""One feed, and the table of changes to it; None if there were none."""

_FINDING_COLUMNS = ("symbol", "severity", "check", "count", "first row", "what it is")
_REPAIR_COLUMNS = ("symbol", "repaired", "action", "field", "count", "first row", "before", "after")


def to_json(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """One object per feed, and one for each pair or feed about which there is more to say when they are together."""
    from bt_framework.data.fidelity import judge
    from bt_framework.data.finding import grade

    listed: list[dict[str, Any]] = []
    for seen, repairs in checked:
        fidelity = judge(seen.doctor.book_level(), seen.findings)
        listed.append(
            {
                "symbol": seen.symbol,
                "events": int(seen.doctor.stats.rows),
                "grade": grade(seen.findings),
                "book_level": seen.doctor.book_level(),
                "fidelity": fidelity.grade,
                "reasons": list(fidelity.reasons),
                "findings": [vars(finding) for finding in seen.findings],
                "repairs": repairs.to_pylist() if repairs is not None else [],
            }
        )
    for symbols, finding in _together(checked):
        listed.append({"symbol": symbols, "grade": grade([finding]), "findings": [vars(finding)]})
    return listed


def print_checked(checked: Sequence[Checked]) -> None:
    """Print the changes, the findings, and a line for each feed with what lowers its fidelity."""
    from bt_framework.data.fidelity import judge_run

    repairs = [
        row for seen, table in checked if table is not None for row in _repair_rows(seen.symbol, table)
    ]
    if repairs:
        print_table(_REPAIR_COLUMNS, repairs, right=("count", "first row", "before", "after"))
    together = _together(checked)
    findings = [(seen.symbol, f) for seen, _ in checked for f in seen.findings] + together
    if findings:
        print_table(
            _FINDING_COLUMNS, [_finding_row(*found) for found in findings], right=("count", "first row")
        )
    for seen, _ in checked:
        click.echo(_summary(seen))
    levels = {seen.symbol: (seen.doctor.book_level(), seen.findings) for seen, _ in checked}
    fidelity = judge_run(levels, together)
    click.echo(f"fidelity {fidelity.grade}")
    for reason in fidelity.reasons:
        click.echo(f"  {reason}")


def _together(checked: Sequence[Checked]) -> list[tuple[str, Finding]]:
    from bt_framework.data.timing import check_together

    return check_together(
        [seen.doctor.timing(seen.symbol) for seen, _ in checked if seen.doctor.stats.local_rows]
    )


def _finding_row(symbol: str, f: Finding) -> list[str]:
    return [symbol, f.severity, f.check, f"{f.count:,}", _place(f.first_index), f.detail]


def _repair_rows(symbol: str, table: pa.Table) -> list[list[str]]:
    """Changes by check, action and field, each with its first one."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for change in table.to_pylist():
        groups.setdefault((change["check"], change["action"], change["field"]), []).append(change)
    return [
        [
            symbol,
            *group,
            f"{len(changes):,}",
            f"{changes[0]['row']:,}",
            changes[0]["before"],
            changes[0]["after"],
        ]
        for group, changes in groups.items()
    ]


def _summary(seen: Examined) -> str:
    from bt_framework.data.finding import line

    stats = seen.doctor.stats
    text = line(seen.symbol, seen.findings)
    if not stats.local_rows or seen.spec is None:
        return text
    sizes = f"tick {number(seen.spec.instrument.tick_size)}, lot {number(seen.spec.instrument.lot_size)}"
    span = f"{utc(int(stats.first_local_ts))} to {utc(int(stats.last_local_ts))} UTC"
    return f"{text}; {int(stats.rows):,} events, {span}, {sizes}, book {seen.doctor.book_level()}"


def _place(first_index: int) -> str:
    return f"{first_index:,}" if first_index >= 0 else ""
