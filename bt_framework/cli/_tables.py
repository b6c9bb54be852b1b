"""Tables on a terminal, aligned text in a pipe; times and sizes for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bt_framework.data.source import Progress

MB = 1_000_000
KEY_DIGITS = 8
"""Of a feed's key, as tables show it; enough to name it."""

_WIDEST = 10_000
"""Characters: where nothing has to wrap."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print `rows` of text under `columns`, those in `right` aligned to the right; only the last one may wrap."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(show_edge=False, pad_edge=False)
        for column in columns:
            justify: Literal["left", "right"] = "right" if column in right else "left"
            table.add_column(column, justify=justify, overflow="fold", no_wrap=column != columns[-1])
        for row in rows:
            table.add_row(*map(Text, row))
        print_fitting(Console(), table, columns, [list(map(Text, row)) for row in rows])
        return
    everything = [list(columns), *map(list, rows)]
    widths = [max(len(row[i]) for row in everything) for i in range(len(columns))]
    for row in everything:
        cells = [
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def print_fitting(
    console: Console, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Text]]
) -> None:
    """Print `table`, or its `rows` one below the other where the terminal is too narrow for it."""
    from rich.text import Text

    whole = console.options.update_width(_WIDEST)
    if console.measure(table, options=whole).minimum <= console.width:
        console.print(table)
        return
    for row in rows:
        console.print(row[0], style="bold")
        pairs = [Text.assemble((f"{name} ", "dim"), cell) for name, cell in zip(columns, row, strict=True)]
        for line in _filled(pairs[1:], console.width - 2):
            console.print("  ", line, sep="", soft_wrap=True)


def _filled(pairs: Sequence[Text], width: int) -> Iterator[Text]:
    """Yield lines of as many `pairs` as fit into `width`; one that does not fit has a line of its own."""
    line = pairs[0].copy()
    for pair in pairs[1:]:
        if line.cell_len + 2 + pair.cell_len > width:
            yield line
            line = pair.copy()
        else:
            line.append("  ").append_text(pair)
    yield line


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Yield a function to report progress to: a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield advance


def say(line: str) -> None:
    """Print a notice where results do not go."""
    click.echo(line, err=True)


def utc(ts: int) -> str:
    """`ts`, ns UTC, to the second."""
    return f"{datetime.fromtimestamp(ts // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


def plain(text: str) -> str:
    r"""`text` as a terminal may show it: what it would obey, or break a line for, is a question mark.

    >>> plain("a\x1b[2Jb")
    'a?[2Jb'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def megabytes(size: int) -> str:
    """`size` in bytes, as MB."""
    return f"{size / MB:,.1f}"


def number(value: Any) -> str:
    """A size such as 0.001, without an exponent."""
    from decimal import Decimal

    return f"{Decimal(repr(float(value))).normalize():f}"
