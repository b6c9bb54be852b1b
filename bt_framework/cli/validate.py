"""`bt validate`: bars into the bar store, with every check on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._tables import print_table, progress_bar, utc
from bt_framework.units import format_duration_ns

if TYPE_CHECKING:
    from bt_framework.research._symbol_bars import SymbolReport
    from bt_framework.research.pipeline import PipelineReport

_COLUMNS: dict[str, Callable[[SymbolReport], str]] = {
    "symbol": lambda r: r.symbol,
    "bars": lambda r: f"{r.bars:,}",
    "from (UTC)": lambda r: "" if r.problem else utc(r.first_us * 1_000),
    "to (UTC)": lambda r: "" if r.problem else utc(r.last_us * 1_000),
    "missing": lambda r: "?" if r.missing is None else f"{r.missing:,}",
    "filled": lambda r: f"{r.filled:,}",
    "longest gap": lambda r: format_duration_ns(r.longest_gap_ns) if r.longest_gap_ns else "",
    "no close": lambda r: f"{r.no_close:,}",
    "outliers": lambda r: f"{r.outliers:,}",
    "OHLC": lambda r: f"{r.inconsistent:,}",
    "<= 0": lambda r: f"{r.not_positive:,}",
    "unexpected": lambda r: f"{r.unexpected:,}",
    "actions": lambda r: f"{r.actions:,}",
    "raw again": lambda r: f"{r.recovery_error:.0e}" if r.recovery_error else "exact",
    "stored": lambda r: r.change or "no",
    "grade": lambda r: r.grade,
}
_LEFT = ("symbol", "from (UTC)", "to (UTC)", "raw again", "stored", "grade")


@click.command()
@click.argument("overrides", nargs=-1, metavar="bars=NAME [KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def validate(overrides: Sequence[str], as_json: bool) -> int:
    """Read bars, check and clean them, store them, and read them back.

    bars=NAME chooses the source; bt plugins bars lists its keys. The bars take the place of what their symbols had in
    the store (store_dir=FOLDER). If a symbol is refused, nothing is stored, and the exit code is 2.
    """
    from bt_framework.config.compose import compose
    from bt_framework.registry import Kind
    from bt_framework.research.pipeline import RefusedBars, ingest_bars

    composition = compose(list(overrides))
    source = composition.one(Kind.BARS).build()
    store_dir = Path(composition.settings.store_dir)
    began = time.perf_counter()
    try:
        with progress_bar("validating") as progress:
            report = ingest_bars(source, store_dir, progress)
    except RefusedBars as refused:
        _print(refused.report, as_json)
        raise
    _print(report, as_json)
    if not as_json:
        wall_s = time.perf_counter() - began
        bars = sum(row.bars for row in report.symbols)
        click.echo(f"{bars:,} bars in {wall_s:.2f} s, read back as written. store: {store_dir / 'bars'}")
    return 0


def _print(report: PipelineReport, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1))
        return
    rows = [[cell(row) for cell in _COLUMNS.values()] for row in report.symbols]
    print_table(list(_COLUMNS), rows, right=[name for name in _COLUMNS if name not in _LEFT])
    for line in _notes(report):
        click.echo(line)


def _notes(report: PipelineReport) -> list[str]:
    """What the table does not say."""
    lines = [f"source {report.source}: bars of {format_duration_ns(report.interval_ns)}"]
    if report.new_symbols:
        lines.append(f"new symbols: {', '.join(report.new_symbols)}")
    if report.kept_symbols:
        lines.append(f"{report.kept_symbols:,} other symbols of {report.source} stay as they were")
    lines += [f"{reason}: {count:,}" for reason, count in sorted(report.findings.items())]
    unjudged = sum(row.unjudged for row in report.symbols)
    if unjudged:
        lines.append(f"bars after a window without variation, not judged: {unjudged:,}")
    if any(row.missing is None and not row.problem for row in report.symbols):
        lines.append("?: nothing says which days are missing; bars.calendar does")
    return lines
