"""`bt screen`: which pairs of a universe are cointegrated."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import print_table, progress_bar

if TYPE_CHECKING:
    from bt_framework.research.follow import Followed
    from bt_framework.stores.research import Screen

_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "pair": lambda row: row["pair_id"],
    "test date": lambda row: f"{row['as_of']:%Y-%m-%d %H:%M}",
    "bars": lambda row: f"{row['observations']:,}",
    "t a~b": lambda row: _number(row["ab_t"], 2),
    "t b~a": lambda row: _number(row["ba_t"], 2),
    "trace": lambda row: _number(row["trend_trace_0"], 2),
    "hedge ratio": lambda row: _number(row["ab_hedge_ratio"], 4),
    "half-life": lambda row: _number(row["ab_half_life_bars"], 1),
    "Hurst": lambda row: _number(row["ab_hurst"], 2),
    "p": lambda row: _p(row["p_value"]),
    "p (BH)": lambda row: _p(row["p_bh"]),
    "q (Storey)": lambda row: _p(row["q_storey"]),
    "found by": lambda row: _found_by(row),
}


class _WithKeys(click.Command):
    """A command whose help lists the keys of its dataclass."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from bt_framework.config.schema import field_infos
        from bt_framework.research.settings import ScreenConfig

        with formatter.section("Keys"):
            formatter.write_dl([(f"{i.name}={_shown(i.default)}", i.doc) for i in field_infos(ScreenConfig)])


@click.command(cls=_WithKeys)
@click.argument("overrides", nargs=-1, metavar="source=NAME [KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: the screening and its rows.")
def screen(overrides: Sequence[str], as_json: bool) -> None:
    """Test the pairs of stored bars for cointegration.

    Every pair of the symbols, or those given, over all bars or in rolling windows. A screening that was stopped goes
    on where it was; one that has finished is shown again. The results are in the research store.
    """
    # Many fits with matrices of three rows: the threads of a matrix library would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from bt_framework.config.plain import from_overrides
    from bt_framework.research.follow import follow
    from bt_framework.research.screen import Screening
    from bt_framework.research.settings import ScreenConfig
    from bt_framework.research.universe import load_universe

    config = from_overrides(ScreenConfig, overrides)
    universe, pairs = load_universe(config)
    screening = Screening(config, universe, pairs)
    with progress_bar("screening") as progress:
        done = screening.run(progress)
    with progress_bar("keeping parameters") as progress:
        kept = follow(screening, progress)
    rows = screening.store.results(done.screen_id, limit=config.top or None)
    if as_json:
        print_json(done, rows, kept)
        return
    print_table(
        list(_COLUMNS),
        [[cell(row) for cell in _COLUMNS.values()] for row in rows],
        right=[name for name in _COLUMNS if name not in ("pair", "test date", "found by")],
    )
    for line in [*summary_lines(done), *kept_lines(kept)]:
        click.echo(line)
    click.echo(f"store: {screening.store.name}")


def summary_lines(done: Screen) -> list[str]:
    """Say how much was tested, refused and found."""
    s = done.summary
    dates = s["first_test_date"][:10]
    if s["windows"] > 1:
        dates = f"{s['windows']:,} test dates from {dates} to {s['last_test_date'][:10]}"
    lines = [
        f"{_count(s['tested'], 'test')} of {_count(s['pairs'], 'pair')} of {s['symbols']:,} symbols, {dates}"
    ]
    if s["refused"]:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in s["refused"].items())
        lines.append(f"refused: {reasons}")
    found = f"found at a false discovery rate of {s['fdr']:g}: {s['found_bh']:,} by Benjamini-Hochberg"
    if s["pi0_lowest"] is None:
        return [*lines, found]
    pi0 = f"{s['pi0_lowest']:.2f}"
    if s["pi0_highest"] != s["pi0_lowest"]:
        pi0 += f" to {s['pi0_highest']:.2f}"
    return [*lines, f"{found}, {s['found_storey']:,} by Storey (share of true nulls: {pi0})"]


def kept_lines(kept: Followed) -> list[str]:
    """Say what was kept of the pairs that are followed."""
    if not kept.pairs:
        return []
    lines = [
        f"kept of {_count(len(kept.pairs), 'pair')}: {kept.ou:,} Ornstein-Uhlenbeck and {kept.kalman:,} Kalman "
        f"parameters, {_count(kept.spreads, 'spread')}"
    ]
    if kept.refused:
        lines.append(
            "not kept: " + ", ".join(f"{count:,} {why}" for why, count in sorted(kept.refused.items()))
        )
    return lines


def print_json(done: Screen, rows: list[dict[str, Any]], kept: Followed) -> None:
    """Print the screening, `rows` of it and what was kept as one object."""
    import dataclasses

    import orjson

    value = dataclasses.asdict(done) | {"kept": dataclasses.asdict(kept), "results": rows}
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def _shown(default: Any) -> str:
    if isinstance(default, list):
        return f"[{','.join(getattr(item, 'name', str(item)) for item in default)}]"
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return str(default)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def _found_by(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return f"refused: {row['status'].replace('_', ' ')}"
    names = {"found_bh": "BH", "found_storey": "Storey"}
    return " ".join(name for key, name in names.items() if row[key]) or "-"
