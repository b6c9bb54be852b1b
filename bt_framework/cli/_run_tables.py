"""What `bt runs trades`, `orders` and `pnl` print of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import number, print_table, say
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """How the rows of a table look: heading and cell of each column; text is aligned to the left."""

    cells: Mapping[str, Callable[[Row], str]]
    left: tuple[str, ...] = ()

    def print(self, rows: Sequence[Row]) -> None:
        """Print `rows`."""
        columns = tuple(self.cells)
        texts = [[cell(row) for cell in self.cells.values()] for row in rows]
        print_table(columns, texts, right=[c for c in columns if c not in self.left])


def show(parts: Iterable[pa.Table], listing: Listing, limit: int, *, as_json: bool) -> None:
    """Print the first `limit` rows of `parts`, 0 for all, and say if there are more."""
    rows: list[Row] = []
    more = False
    for part in parts:
        wanted = limit - len(rows) if limit else part.num_rows
        rows += part.slice(0, wanted).to_pylist()
        more = part.num_rows > wanted
        if more:
            break
    if as_json:
        import orjson

        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    elif rows:
        listing.print(rows)
    else:
        click.echo("none")
    if more:
        say(f"the first {limit}; --limit 0 lists all")


def _utc(ts: int) -> str:
    """Date and time to the millisecond; a dash for 0."""
    import numpy as np

    return str(np.datetime64(ts, "ns").astype("datetime64[ms]")).replace("T", " ") if ts else "-"


def _after(name: str) -> Callable[[Row], str]:
    """Milliseconds from sending to a step."""
    return lambda row: f"{(row[name] - row['sent_ts']) / 1e6:,.3f}" if row[name] else "-"


def _amount(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,.4f}"


def _number(name: str) -> Callable[[Row], str]:
    """As many digits as a price or a quantity has; a dash for NaN."""
    return lambda row: number(round(row[name], 9)) if row[name] == row[name] else "-"


def _word(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


TRADES = Listing(
    {
        "entry (UTC)": lambda row: _utc(row["entry_ts"]),
        "open for s": lambda row: f"{row['duration_ns'] / NS_PER_S:,.3f}",
        "symbol": _word("symbol"),
        "direction": _word("direction"),
        "qty": _number("qty"),
        "entry": _number("entry_px"),
        "exit": _number("exit_px"),
        "gross": _amount("gross_pnl"),
        "fees": _amount("fees"),
        "net": _amount("net_pnl"),
        "MAE": _amount("mae"),
        "MFE": _amount("mfe"),
        "tags": lambda row: f"{row['entry_tag']} {'(open)' if row['open'] else row['exit_tag']}",
    },
    left=("entry (UTC)", "symbol", "direction", "tags"),
)

ORDERS = Listing(
    {
        "order": _word("order_id"),
        "sent (UTC)": lambda row: _utc(row["sent_ts"]),
        "symbol": _word("symbol"),
        "side": _word("side"),
        "type": lambda row: f"{row['order_type']} {row['time_in_force']}",
        "tag": _word("tag"),
        "px": _number("px"),
        "qty": _number("qty"),
        "status": _word("status"),
        "at exchange ms": _after("accepted_exch_ts"),
        "queue ahead": _number("queue_ahead_qty"),
        "first fill ms": _after("first_fill_local_ts"),
        "ended ms": _after("ended_local_ts"),
        "filled": _number("filled_qty"),
        "average": _number("average_px"),
        "fees": _amount("fees"),
    },
    left=("sent (UTC)", "symbol", "side", "type", "tag", "status"),
)

PNL = Listing(
    {
        "key": _word("key"),
        "trades": lambda row: f"{row['trades']:,}",
        "realised": _amount("realised_pnl"),
        "unrealised": _amount("unrealised_pnl"),
        "fees": _amount("fees"),
        "slippage": _amount("slippage"),
        "net": _amount("net_pnl"),
    },
    left=("key",),
)
