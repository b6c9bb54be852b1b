"""`bt plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from bt_framework.plugin_manager import Problem, discover
from bt_framework.registry import Component, Kind


@click.command()
@click.argument("kind", required=False, type=click.Choice([str(k) for k in Kind]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plugins(kind: str | None, as_json: bool) -> None:
    """List the components that are installed, with their configuration keys; only those of KIND if given."""
    host = discover()
    components = [c for c in host.registry.components() if kind in (None, str(c.kind))]
    if as_json:
        problems = [_problem_dict(p) for p in host.problems]
        click.echo(json.dumps({"components": [_component_dict(c) for c in components], "problems": problems}))
        return
    if sys.stdout.isatty():
        _print_rich(components)
    else:
        _print_plain(components)
    for problem in host.problems:
        click.echo(f"bt: problem: {problem.error}", err=True)


def _component_dict(component: Component) -> dict[str, Any]:
    keys = [
        {"name": f.name, "type": f.type, "default": f.default, "unit": f.unit, "doc": f.doc}
        for f in component.fields
    ]
    return {
        "kind": str(component.kind),
        "name": component.name,
        "package": component.package,
        "version": component.version,
        "doc": component.doc,
        "keys": keys,
    }


def _problem_dict(problem: Problem) -> dict[str, str]:
    return {"package": problem.package.name, "version": problem.package.version, "error": str(problem.error)}


def _rows(component: Component) -> list[tuple[str, str, str, str, str]]:
    """Key, type, default, unit and doc of each key."""
    return [(f.name, f.type, _shown(f.default), f.unit, f.doc) for f in component.fields]


def _shown(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return json.dumps(default) if isinstance(default, list | dict) else str(default)


def _print_plain(components: list[Component]) -> None:
    """Print aligned text: a line per component, its keys indented below it."""
    for component in components:
        owner = f"{component.package} {component.version}"
        click.echo(f"{component.kind}  {component.name}  {owner}  {component.doc}".rstrip())
        rows = _rows(component)
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip(row[:4], widths, strict=True)]
            click.echo("    " + "  ".join([*cells, row[4]]).rstrip())


def _print_rich(components: list[Component]) -> None:
    """Print a table per kind."""
    from itertools import groupby

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for kind, group in groupby(components, key=lambda c: c.kind):
        table = Table(
            title=str(kind), title_justify="left", title_style="bold", show_edge=False, pad_edge=False
        )
        for column in ("name / key", "type", "default", "unit", "what it is"):
            table.add_column(column, overflow="fold")
        for component in group:
            owner = f"{component.package} {component.version}"
            table.add_row(
                f"[bold]{component.name}[/]", "", "", "", f"{escape(component.doc)} [dim]({escape(owner)})[/]"
            )
            for row in _rows(component):
                table.add_row("  " + row[0], *map(escape, row[1:]), style="dim")
            table.add_section()
        console.print(table)
        console.print()
