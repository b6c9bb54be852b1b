"""The bars of a database, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from bt_framework.bars._manifest import Span, time_text
from bt_framework.bars.building import ROWS_PER_TABLE, slices
from bt_framework.bars.pieces import pieces
from bt_framework.bars.schema import BAR_SCHEMA, BarFlag
from bt_framework.bars.source import BarSource, Progress
from bt_framework.errors import ConfigError, DataError
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.bars import DatabaseBars
from bt_plugins.bars.clickhouse import Clickhouse

FILLED, REPLACED = "filled bars of the database", "replaced bars of the database"


class ClickhouseBars(BarSource):
    """Bars of one source of a database."""

    def __init__(self, config: Clickhouse) -> None:
        self.config: Clickhouse = config
        self._address: Address | None = None

    @property
    def name(self) -> str:
        """Under which the bars are kept: that of the database, unless another is given."""
        return self.config.source or self.config.database_source

    def use_store(self, store_dir: Path) -> None:
        """Look for chDB there, if no database is named."""
        self._address = address_of(self.config.url, store_dir)

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of some symbols, or of a part of one, in order.

        Raises
        ------
        ConfigError
            If no source is named.
        DataError
            If the database does not have the source or a symbol, only a part of it, or nothing in the time asked for.
        """
        self.findings.clear()
        source = self.config.database_source
        with self._bars().opened() as bars:
            spans = self._spans(bars)
            bars.check(source, list(spans))
            done, total = 0, sum(span.rows for span in spans.values())
            for piece in pieces(spans, ROWS_PER_TABLE):
                table = bars.read(
                    source,
                    symbols=piece.symbols,
                    start=piece.start,
                    end=piece.end,
                    columns=BAR_SCHEMA.names,
                )
                done += table.num_rows
                progress(min(done, total), total)
                yield from (part for part in slices(self._as_traded(table)) if part.num_rows)

    def actions(self) -> pa.Table:
        """Return the corporate actions that were loaded with the bars."""
        with self._bars().opened() as bars:
            return bars.actions(self.config.database_source, list(self._spans(bars)))

    def _bars(self) -> DatabaseBars:
        assert self._address is not None, "use_store comes first"
        bars = DatabaseBars(self._address)
        if not self.config.database_source:
            known = ", ".join(bars.sources()) or "none; bt db load bars=NAME loads bars"
            raise ConfigError(
                f"bars.database_source must name a source of bars in {self._address.name}, was ''. There are: {known}."
            )
        return bars

    def _spans(self, bars: DatabaseBars) -> dict[str, Span]:
        """Spans of the chosen symbols within the time asked for; rows of a part are estimated."""
        source = self.config.database_source
        known = bars.spans(source)
        for symbol in self.config.symbols:
            bars.require(source, symbol)
        wanted = {symbol: known[symbol] for symbol in sorted(self.config.symbols or known)}
        start_ts, end_ts = self.config.range_ns()
        cut = {symbol: _within(span, start_ts, end_ts) for symbol, span in wanted.items()}
        found = {symbol: span for symbol, span in cut.items() if span is not None}
        if not found:
            raise DataError(_nothing_there(source, wanted, self.config))
        return found

    def _as_traded(self, table: pa.Table) -> pa.Table:
        """`table` without the bars that cleaning has made up, and without factors and flags."""
        flags = table["outlier_flag"].to_numpy()
        filled, replaced = (flags & int(flag) != 0 for flag in (BarFlag.FILLED, BarFlag.REPLACED))
        for reason, made_up in ((FILLED, filled), (REPLACED, replaced & ~filled)):
            if made_up.any():
                self.findings[reason] += int(np.count_nonzero(made_up))
        kept = table.filter(pa.array(~(filled | replaced)))
        for name, value in (("adj_factor", 1.0), ("outlier_flag", 0)):
            field = BAR_SCHEMA.field(name)
            constant = pa.repeat(pa.scalar(value, field.type), kept.num_rows)
            kept = kept.set_column(BAR_SCHEMA.get_field_index(name), field, constant)
        return kept


def _within(span: Span, start_ts: int | None, end_ts: int | None) -> Span | None:
    """The part of a span in [`start_ts`, `end_ts`), ns UTC; None if there is none."""
    first = span.first_us if start_ts is None else max(span.first_us, -(-start_ts // 1_000))
    last = span.last_us if end_ts is None else min(span.last_us, -(-end_ts // 1_000) - 1)
    if first > last:
        return None
    part = (last + 1 - first) / (span.last_us + 1 - span.first_us)
    return Span(max(1, round(span.rows * part)), first, last)


def _nothing_there(source: str, spans: Mapping[str, Span], config: Clickhouse) -> str:
    first, last = (
        min(span.first_us for span in spans.values()),
        max(span.last_us for span in spans.values()),
    )
    return (
        f"source {source} has no bars between start ({config.start or 'the first'}) and end"
        f" ({config.end or 'the last'}): they open from {time_text(first)} to {time_text(last)}. Give another"
        " bars.start or bars.end."
    )
