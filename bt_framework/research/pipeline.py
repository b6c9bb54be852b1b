"""From a source of bars to the store: read, checked, cleaned, stored all at once, and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars._tables import by_symbol
from bt_framework.bars.actions import actions_by_symbol, read_actions
from bt_framework.bars.calendars import expected_opens_us
from bt_framework.bars.preprocess import check_rules
from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.bars.source import BarSource, Progress
from bt_framework.bars.store import BarStore
from bt_framework.data._workspace import storage_errors, workspace
from bt_framework.errors import DataError, StorageError
from bt_framework.registry import unknown_name
from bt_framework.research._spool import Spool
from bt_framework.research._symbol_bars import Rules, SymbolReport, change, clean, digest
from bt_framework.stores.research import ResearchStore

_ROWS_AT_ONCE = 1_000_000
"""Bars that are cleaned, compared and read back together."""
_SHOWN = 5


@dataclass(frozen=True)
class PipelineReport:
    """What an ingest of bars has found and done.

    Attributes
    ----------
    symbols : tuple of SymbolReport
        By symbol.
    findings : mapping of str to int
        What the source read and made no bar of, by reason.
    new_symbols : tuple of str
        Seen for the first time.
    kept_symbols : int
        Symbols stored before under this source that did not come now.
    stored : bool
        Whether the bars are in the store.
    """

    source: str
    interval_ns: int
    symbols: tuple[SymbolReport, ...]
    findings: Mapping[str, int]
    new_symbols: tuple[str, ...] = ()
    kept_symbols: int = 0
    stored: bool = False

    @property
    def problems(self) -> list[str]:
        """Why symbols are refused."""
        return [report.problem for report in self.symbols if report.problem]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        rows = [asdict(report) | {"grade": report.grade} for report in self.symbols]
        return asdict(self) | {"symbols": rows, "findings": dict(self.findings)}


class RefusedBars(DataError):
    """Symbols were refused, and nothing was stored; ``report`` says which and why."""

    def __init__(self, report: PipelineReport) -> None:
        problems = report.problems
        more = f" And {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        super().__init__(
            f"{len(problems)} of {len(report.symbols)} symbols of {report.source} are refused, and nothing is stored. "
            + " ".join(problems[:_SHOWN])
            + more
        )
        self.report = report


def ingest_bars(source: BarSource, store_dir: Path, progress: Progress) -> PipelineReport:
    """Read the bars of `source`, clean them, store them in place of what their symbols had, and read them back.

    Symbols and corporate actions are registered in the research store of `store_dir`. Bars are in ``store_dir/bars``.

    Raises
    ------
    RefusedBars
        If a symbol's bars cannot be stored. All symbols are checked; nothing is stored.
    DataError
        If the source has no bars, or an action is of a symbol that it does not have.
    StorageError
        If a folder cannot be written, or what is read back is not what was written.
    """
    root = Path(store_dir) / "bars"
    source.use_store(Path(store_dir))
    with storage_errors(root, "reading bars"), workspace(root) as folder:
        spool = Spool(folder, source.name)
        for table in source.tables(progress):
            spool.add(table)
        return _Job(source, Path(store_dir), spool, progress).run()


class _Job:
    """One ingest of bars that have been read."""

    def __init__(self, source: BarSource, store_dir: Path, spool: Spool, progress: Progress) -> None:
        self._name = source.name
        self._config = source.config
        self._findings = source.findings
        self._spool = spool
        self._progress = progress
        self._store = BarStore(store_dir / "bars")
        self._research = ResearchStore.in_folder(store_dir)
        if not spool.rows:
            raise DataError(f"source {self._name} has no bars. Look at the files and keys it was given.")
        self._interval_ns = self._interval()
        check_rules(self._config, self._interval_ns)
        self._rules = Rules(self._name, self._config, self._interval_ns, self._opens_us())
        self._actions = _actions(source, spool.rows)
        self._ex_dates = actions_by_symbol(self._actions)
        self._digests: dict[str, str] = {}

    def run(self) -> PipelineReport:
        """Clean, store and read back."""
        before = self._store.spans(self._name) if self._name in self._store.sources() else {}
        reports = []
        with self._store.writing(self._name, interval_ns=self._interval_ns, replace=True) as writer:
            for cleaned, report in self._cleaned(list(before)):
                reports.append(report)
                self._progress(len(reports), len(self._spool.rows))
                if not report.problem and report.change != "same":
                    writer.add(cleaned)
            result = PipelineReport(self._name, self._interval_ns, tuple(reports), self._findings)
            if result.problems:
                raise RefusedBars(result)
        self._read_back()
        new = self._research.register_symbols(self._spool.rows, self._name)
        self._research.add_actions(self._actions, source=self._name, replacing=self._spool.rows)
        kept = len(set(before) - set(self._spool.rows))
        return replace(result, new_symbols=tuple(sorted(new)), kept_symbols=kept, stored=True)

    def _interval(self) -> int:
        interval_ns = int(self._config.interval_ns) or self._spool.usual_distance_us() * 1_000
        if not interval_ns:
            raise DataError(
                f"source {self._name} has one bar per symbol, which says nothing of the time between bars. Give"
                " bars.interval_ns=1d, or what it is."
            )
        return interval_ns

    def _opens_us(self) -> Any:
        if not self._config.calendar:
            return None
        return expected_opens_us(self._config.calendar, self._interval_ns, *self._spool.range_us())

    def _cleaned(self, known: Sequence[str]) -> Iterator[tuple[pa.Table | None, SymbolReport]]:
        """Yield each symbol's bars as they are to be stored, None if they are refused, and its report."""
        for batch in _batches(self._spool.rows):
            old = self._stored([symbol for symbol in batch if symbol in known])
            for symbol, raw in self._spool.bars(batch).items():
                try:
                    cleaned, report = clean(raw, self._rules, self._ex_dates.get(symbol, ()))
                except DataError as error:
                    yield None, SymbolReport(symbol, raw.num_rows, problem=str(error))
                    continue
                self._digests[symbol] = digest(cleaned)
                yield cleaned, replace(report, change=change(old.get(symbol), cleaned))

    def _stored(self, symbols: Sequence[str]) -> dict[str, pa.Table]:
        if not symbols:
            return {}
        table = self._store.read(self._name, symbols=symbols)
        return {symbol: table.take(rows) for symbol, rows in by_symbol(table)}

    def _read_back(self) -> None:
        """Compare what the store gives with what was handed to it."""
        for batch in _batches(self._spool.rows):
            stored = self._stored(batch)
            for symbol in batch:
                if symbol not in stored or digest(stored[symbol]) != self._digests[symbol]:
                    raise StorageError(
                        f"the bars of {symbol} that {self._store.root} gives are not those that were written. Check the"
                        " disk, remove the source's folder, and ingest again."
                    )


def _batches(rows: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield symbols whose bars are few enough to be in memory together."""
    batch: list[str] = []
    held = 0
    for symbol, count in rows.items():
        if batch and held + count > _ROWS_AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(symbol)
        held += count
    if batch:
        yield batch


def _actions(source: BarSource, symbols: Mapping[str, int]) -> pa.Table:
    """Corporate actions of the source; those of the file take their place for the symbols it names."""
    actions = source.actions().cast(ACTION_SCHEMA)
    where = f"source {source.name}"
    if source.config.actions_file:
        where = f"the corporate actions {source.config.actions_file}"
        given = read_actions(Path(source.config.actions_file).expanduser())
        named = given["symbol"].unique()
        others = actions.filter(pc.invert(pc.is_in(actions["symbol"], value_set=named)))
        actions = pa.concat_tables([others, given])
    for symbol in actions["symbol"].unique().to_pylist():
        if symbol not in symbols:
            raise DataError(unknown_name(f"a symbol of {where}", symbol, symbols))
    return actions
