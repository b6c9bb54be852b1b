"""The bar store: bars of `BAR_SCHEMA` by source and day, written all or not at all.

Layout, under the store's folder::

    source=<name>/manifest.json                      interval, the files that count, the span of each symbol
    source=<name>/date=<YYYY-MM-DD>/part-*.parquet   bars of one UTC day, or of one year; by symbol and time
    tmp/  locks/                                     work in progress, locks

A partition is the UTC day in which its bars open. Bars of a day or longer are kept by year, under its first day:
a file for each day would have a row a symbol.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa

from bt_framework.bars._manifest import Part, SourceManifest, Span, microseconds
from bt_framework.bars._tables import in_order
from bt_framework.bars._writer import BarWriter, remove_strays
from bt_framework.bars.schema import BAR_SCHEMA
from bt_framework.data._workspace import exclusive, storage_errors, workspace
from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.registry import unknown_name

_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class MissingPartition(Enum):
    """What a read does about a partition in its range that has no bars, or whose files are gone."""

    error = "error"
    skip = "skip"


class BarStore:
    """Bars under one folder; many threads and processes may use it at once.

    A write counts all at once or not at all, also when the process is killed. Writers of one source take turns;
    readers never wait, and see what was there before or after a write.

    Parameters
    ----------
    root : Path
        Made when something is stored.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def append(self, source: str, table: pa.Table, *, interval_ns: int) -> int:
        """Add bars after those that each symbol has; returns how many.

        Parameters
        ----------
        table : pa.Table
            Of `BAR_SCHEMA`. A symbol's rows come in order of time; NaN is stored as null.
        interval_ns : int
            From one bar to the next; one per source.

        Raises
        ------
        DataError
            If the table breaks the schema, a symbol has two bars at one time, or bars come before stored ones.
        StorageError
            If the folder cannot be written.
        """
        with self.writing(source, interval_ns=interval_ns) as writer:
            return writer.add(table)

    def replace(self, source: str, table: pa.Table, *, interval_ns: int) -> int:
        """Put the bars of `table` in the place of all that its symbols have in `source`; raises as `append`."""
        with self.writing(source, interval_ns=interval_ns, replace=True) as writer:
            return writer.add(table)

    @contextmanager
    def writing(self, source: str, *, interval_ns: int, replace: bool = False) -> Iterator[BarWriter]:
        """Yield a writer for several tables, which count together when the block ends without an error.

        Raises as `append`.
        """
        folder = self._folder(source)
        if interval_ns <= 0:
            raise DataError(f"bars of {source}: interval_ns must be > 0, was {interval_ns}.")
        with (
            storage_errors(self.root, "storing bars"),
            exclusive(self.root / "locks" / source),
            workspace(self.root) as staging,
        ):
            old = SourceManifest.read(folder)
            remove_strays(folder, old)
            writer = BarWriter(folder, staging, old, interval_ns=interval_ns, replace=replace)
            yield writer
            writer.commit()

    def read(
        self,
        source: str,
        *,
        symbols: Sequence[str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Sequence[str] | None = None,
        missing: MissingPartition = MissingPartition.skip,
    ) -> pa.Table:
        """Return bars that open in [`start`, `end`), by symbol and time; files outside it are not opened.

        Parameters
        ----------
        symbols : sequence of str, optional
            All of the source where not given.
        start, end : datetime, optional
            UTC where they have no zone.
        columns : sequence of str, optional
            Of `BAR_SCHEMA`, in the order wanted; all where not given.
        missing : MissingPartition
            Whether a partition in the range without bars, or whose files are gone, is an error. Without `start`
            or `end` the range is that of the bars kept.

        Raises
        ------
        DataError
            If the source or a symbol is unknown, or a partition is missing and must not be.
        StorageError
            If files cannot be read.
        """
        names = list(BAR_SCHEMA.names if columns is None else columns)
        for name in names:
            if name not in BAR_SCHEMA.names:
                raise ConfigError(unknown_name("a column of bars", name, BAR_SCHEMA.names))
        bounds = _bound(start), _bound(end)
        while True:
            manifest = self._manifest(source)
            _refuse_unknown(source, symbols, manifest)
            try:
                self._refuse_missing(source, manifest, bounds, missing)
                return self._table(source, manifest, symbols, bounds, names)
            except (DataError, StorageError):
                # A write may have taken the files away; then there is a newer manifest.
                if self._manifest(source).generation == manifest.generation:
                    raise

    def opened(self) -> AbstractContextManager[BarStore]:
        """Itself: nothing has to be opened; other places of bars connect."""
        return nullcontext(self)

    def sources(self) -> list[str]:
        """Names of the sources, sorted."""
        found = self.root.glob("source=*/manifest.json")
        return sorted(path.parent.name.partition("=")[2] for path in found)

    def symbols(self, source: str) -> list[str]:
        """Symbols of `source`, sorted; DataError if there is no such source."""
        return sorted(self._manifest(source).symbols)

    def spans(self, source: str) -> dict[str, Span]:
        """How many bars each symbol of `source` has, and its first and last."""
        return dict(self._manifest(source).symbols)

    def interval_ns(self, source: str) -> int:
        """From one bar of `source` to the next."""
        return self._manifest(source).interval_ns

    def files(self, source: str, start: datetime | None = None, end: datetime | None = None) -> list[Path]:
        """Files that may have bars in [`start`, `end`), also those that are gone."""
        parts = self._manifest(source).between(_bound(start), _bound(end))
        return [self._folder(source) / part.path for part in parts]

    def remove(self, source: str) -> None:
        """Remove a source and all its bars."""
        import shutil

        self._manifest(source)
        folder = self._folder(source)
        with storage_errors(self.root, "removing bars"), exclusive(self.root / "locks" / source):
            (folder / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(folder)

    def _folder(self, source: str) -> Path:
        if not _SOURCE_NAME.fullmatch(source):
            raise ConfigError(
                f"the name of a source of bars must be letters, digits, '.', '_' and '-', and begin with a letter or"
                f" digit, was {source!r}."
            )
        return self.root / f"source={source}"

    def _manifest(self, source: str) -> SourceManifest:
        manifest = SourceManifest.read(self._folder(source))
        if manifest is None:
            raise DataError(
                f"{unknown_name('a source of bars', source, self.sources())} They are kept in {self.root};"
                " bt validate bars=NAME stores bars."
            )
        return manifest

    def _refuse_missing(
        self,
        source: str,
        manifest: SourceManifest,
        bounds: tuple[int | None, int | None],
        missing: MissingPartition,
    ) -> None:
        if missing is MissingPartition.skip:
            return
        gone = {part.day for part in self._lost(source, manifest.between(*bounds))}
        days = sorted(gone.union(manifest.absent(*bounds)))
        if days:
            more = f" and {len(days) - 1} more" if len(days) > 1 else ""
            raise DataError(
                f"source {source} has no bars in the partition date={days[0]}{more} of the range asked for. Ingest"
                " them, ask for another range, or read with missing=skip."
            )

    def _lost(self, source: str, parts: Sequence[Part]) -> list[Part]:
        folder = self._folder(source)
        return [part for part in parts if not (folder / part.path).exists()]

    def _table(
        self,
        source: str,
        manifest: SourceManifest,
        symbols: Sequence[str] | None,
        bounds: tuple[int | None, int | None],
        names: Sequence[str],
    ) -> pa.Table:
        import pyarrow.dataset as ds

        parts = manifest.between(*bounds)
        lost = self._lost(source, parts)
        if lost and self._manifest(source).generation != manifest.generation:
            raise StorageError(f"bars of {source} were replaced while they were read.")
        paths = [str(self._folder(source) / part.path) for part in parts if part not in lost]
        wanted = list(dict.fromkeys([*names, "symbol", "datetime"]))
        try:
            dataset = ds.dataset(paths, schema=BAR_SCHEMA, format="parquet", partitioning=None)
            table = dataset.to_table(columns=wanted, filter=_filter(symbols, bounds))
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"bars of {source} in {self.root} cannot be read: {error}. Ingest the source again."
            ) from error
        return in_order(table).select(names)


def _bound(time: datetime | None) -> int | None:
    return None if time is None else microseconds(time)


def _filter(symbols: Sequence[str] | None, bounds: tuple[int | None, int | None]) -> Any:
    import pyarrow.dataset as ds

    start_us, end_us = bounds
    time_type = BAR_SCHEMA.field("datetime").type
    expression = ds.scalar(True)
    if symbols is not None:
        expression = ds.field("symbol").isin(pa.array(list(symbols), pa.string()))
    if start_us is not None:
        expression &= ds.field("datetime") >= pa.scalar(start_us, time_type)
    if end_us is not None:
        expression &= ds.field("datetime") < pa.scalar(end_us, time_type)
    return expression


def _refuse_unknown(source: str, symbols: Sequence[str] | None, manifest: SourceManifest) -> None:
    for symbol in symbols or ():
        if symbol not in manifest.symbols:
            raise DataError(f"{unknown_name(f'a symbol of source {source}', symbol, manifest.symbols)}")
