"""The event store: each feed is ingested once; after that a run maps its events and reads nothing else.

Layout, under the store's folder::

    manifests/<key>.json                              what is known of one feed
    manifests/<key>.repairs.parquet                   every change that was made to it, if it is a repaired one
    objects/<ab>/<content hash>.npy                   events ready to be mapped: a cache with a size limit
    archive/<reader>/<symbol>/<date>.<hash>.parquet   the same events, one symbol-day per file, kept
    inputs/  locks/  tmp/                             remembered content hashes, locks, work in progress

Everything is written under a temporary name and moved into place, so a reader never sees a part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.data._mapped import mapped
from bt_framework.data._workspace import locked, storage_errors, workspace
from bt_framework.data.finding import Finding, refuse_fatal
from bt_framework.data.manifest import InputFile, InputHashes, Manifest, Part, feed_key, refuse_changed
from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.data.timing import Timing
from bt_framework.errors import DataError, StorageError
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    from bt_framework.data._stream import Examined

GIB = 1 << 30
_HASH_PREFIX = 12

Announce = Callable[[str], None]
"""Called with one line for people."""


@dataclass(frozen=True)
class StoredFeed:
    """One instrument's events in the store.

    Attributes
    ----------
    path : Path
        The .npy file; use `open`, which brings it back if it was evicted.
    content_hash : str
        SHA-256 of the events' bytes.
    touch_low_px, touch_high_px : float
        Lowest best bid and highest best ask, quote currency; NaN where there was neither book nor trade.
    has_depth_clear : bool
        Whether any event clears a side of the book.
    held : EVENT array of shape (n_events,), optional
        The events where they are in memory and in no file.
    book_level : str
        ``"l3"`` if orders make the book, ``"l2"`` if price levels do, ``"l1"`` if no side ever had two of them;
        ``"none"`` without a book.
    """

    symbol: str
    path: Path
    content_hash: str
    events: int
    first_local_ts: int
    last_local_ts: int
    first_exch_ts: int
    spec: Instrument
    touch_low_px: float
    touch_high_px: float
    has_depth_clear: bool
    book_level: str
    report: FeedReport
    findings: tuple[Finding, ...]
    timing: Timing
    key: str
    ingested_at_ns: int
    store: EventStore = field(repr=False, compare=False)
    held: np.ndarray[Any, Any] | None = field(default=None, repr=False, compare=False)

    def open(self) -> np.ndarray[Any, Any]:
        """Map the events, or give those in memory: an EVENT array of shape (n_events,), read-only."""
        if self.held is not None:
            return self.held
        try:
            return mapped(self.path)
        except FileNotFoundError:
            self.store.restore(self.key)
            return mapped(self.path)


class EventStore:
    """Events of ingested feeds under one folder; many threads and processes may use it at once.

    Parameters
    ----------
    root : Path
        Made when something is stored.
    max_cache_bytes : int
        Limit for the mapped files together; those used longest ago are removed, and rebuilt from the archive
        when they are wanted again.
    """

    def __init__(self, root: Path, max_cache_bytes: int = 50 * GIB) -> None:
        self.root = root
        self.max_cache_bytes = max_cache_bytes
        self._inputs = InputHashes(root / "inputs")

    def load(
        self, feed: Feed, progress: Progress | None = None, announce: Announce | None = None
    ) -> StoredFeed:
        """Return the feed's events, ingesting them if the store does not have them.

        Raises
        ------
        DataError
            If the input cannot be used or the doctor refuses it; nothing is stored then.
        StorageError
            If the store's folder cannot be written; nothing half-written is left.
        """
        announce = announce or _silent
        with storage_errors(self.root, "storing events", feed.files):
            inputs = tuple(self._inputs.describe(path) for path in feed.files)
            key = feed_key(feed, inputs)
            if not feed.keep:
                return self._hold(key, feed, inputs, progress or _no_progress, announce)
            stored = self._find(key, feed)
            if stored is None:
                with locked(self.root / "locks" / key, lambda: announce("waiting for another ingest of it")):
                    stored = self._find(key, feed) or self._make(key, feed, inputs, progress, announce)
                self.evict(keep=stored.path)
        return stored

    def load_all(
        self,
        feeds: Sequence[Feed],
        progress: Progress | None = None,
        announce: Announce | None = None,
        threads: int = 2,
    ) -> list[StoredFeed]:
        """Return `load` of each feed, in their order; up to `threads` are ingested at once."""
        known = [self._known(feed) for feed in feeds]
        if None not in known:
            return [stored for stored in known if stored is not None]
        if len(feeds) <= 1 or threads <= 1:
            return [self.load(feed, progress, announce) for feed in feeds]
        from concurrent.futures import ThreadPoolExecutor

        shared = _SharedProgress(len(feeds), progress)
        pool = ThreadPoolExecutor(threads)
        try:
            jobs = [pool.submit(self.load, feed, shared.of(i), announce) for i, feed in enumerate(feeds)]
            return [job.result() for job in jobs]
        except BaseException:
            shared.stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def manifests(self) -> list[Manifest]:
        """Everything stored, by symbol and time."""
        paths = sorted((self.root / "manifests").glob("*.json"))
        found = [manifest for path in paths if (manifest := Manifest.read(path)) is not None]
        return sorted(found, key=lambda m: (m.symbol, m.first_local_ts, m.ingested_at_ns))

    def manifest(self, key: str) -> Manifest | None:
        """What is known of the feed of that key; None if it is not here."""
        return Manifest.read(self._manifest_path(key))

    def cached_bytes(self, manifest: Manifest) -> int:
        """Size of a feed's mapped file; 0 if it was evicted."""
        return _size(self.mapping_path(manifest.content_hash))

    def archived_bytes(self, manifest: Manifest) -> int:
        """Size of a feed's archive."""
        return sum(map(_size, self._archived([manifest])))

    def mapping_path(self, content_hash: str) -> Path:
        """Where the events of that content are mapped from."""
        return self.root / "objects" / content_hash[:2] / f"{content_hash}.npy"

    def repairs_path(self, key: str) -> Path:
        """Where the table of changes to a repaired feed is; there is none if nothing was changed."""
        return self.root / "manifests" / f"{key}.repairs.parquet"

    def remove(self, keys: Iterable[str]) -> int:
        """Forget the feeds of these keys, and free what no other feed needs; returns the bytes freed."""
        doomed = set(keys)
        everything = self.manifests()
        kept = [m for m in everything if m.key not in doomed]
        used = {self.mapping_path(m.content_hash) for m in kept} | set(self._archived(kept))
        freed = 0
        with storage_errors(self.root, "removing events"):
            for manifest in everything:
                if manifest.key in doomed:
                    self._manifest_path(manifest.key).unlink(missing_ok=True)
                    freed += _unlink(self.repairs_path(manifest.key))
                    for path in {
                        self.mapping_path(manifest.content_hash),
                        *self._archived([manifest]),
                    } - used:
                        freed += _unlink(path)
        return freed

    def restore(self, key: str) -> None:
        """Rebuild the mapped file of a stored feed from its archive.

        Raises
        ------
        StorageError
            If the archive is not there or does not give the same events.
        """
        manifest = self.manifest(key)
        if manifest is None:
            raise StorageError(
                f"the event store {self.root} no longer has the feed {key[:12]}. Ingest it again."
            )
        with storage_errors(self.root, "rebuilding events"):
            self._rebuild(manifest)
            self.evict(keep=self.mapping_path(manifest.content_hash))

    def evict(self, keep: Path | None = None) -> None:
        """Remove mapped files, those used longest ago first, until the rest fits `max_cache_bytes`.

        Only what can be rebuilt is removed, and never `keep`. A process that has a file mapped keeps it.
        """
        mapped = [(path.stat(), path) for path in (self.root / "objects").glob("*/*.npy")]
        total = sum(stat.st_size for stat, _ in mapped)
        if total <= self.max_cache_bytes:
            return
        archived = {
            self.mapping_path(m.content_hash)
            for m in self.manifests()
            if all(path.exists() for path in self._archived([m]))
        }
        for _, path in sorted(mapped, key=lambda item: item[0].st_mtime_ns):
            if total <= self.max_cache_bytes:
                return
            if path != keep and path in archived:
                total -= _unlink(path)

    def _known(self, feed: Feed) -> StoredFeed | None:
        """The stored feed, if that can be told without reading its input."""
        inputs = [self._inputs.known(path) for path in feed.files]
        if not feed.keep or None in inputs:
            return None
        with storage_errors(self.root, "storing events", feed.files):
            return self._find(feed_key(feed, tuple(file for file in inputs if file is not None)), feed)

    def _find(self, key: str, feed: Feed) -> StoredFeed | None:
        manifest = self.manifest(key)
        if manifest is None or not _sizes_hold(manifest, feed):
            return None
        stored = self.feed(manifest)
        try:
            if stored.path.stat().st_size != _npy_bytes(manifest.events):
                return None
            os.utime(stored.path)
        except PermissionError:
            pass  # another user's store: not ours to mark as used
        except OSError:
            return None
        return stored

    def _make(
        self,
        key: str,
        feed: Feed,
        inputs: tuple[InputFile, ...],
        progress: Progress | None,
        announce: Announce,
    ) -> StoredFeed:
        manifest = self.manifest(key)
        if manifest is not None and _sizes_hold(manifest, feed):
            try:
                self._rebuild(manifest)
                return self.feed(manifest)
            except StorageError as error:
                announce(f"{error} Ingesting again.")
        return self.feed(self._ingest(key, feed, inputs, progress or _no_progress, announce))

    def _ingest(
        self, key: str, feed: Feed, inputs: tuple[InputFile, ...], progress: Progress, announce: Announce
    ) -> Manifest:
        from bt_framework.data._stream import Target, stream
        from bt_framework.data.repair import RepairedFeed

        announce(f"ingesting {feed.symbol or ', '.join(path.name for path in feed.files)}")
        with workspace(self.root) as folder:
            audit = folder / "repairs.parquet"
            if isinstance(feed, RepairedFeed):
                feed.audit_path = audit
            seen = stream(feed, folder, progress, Target.FILES)
            manifest = _accepted(key, feed, inputs, seen, announce)
            for (date, _), part in zip(seen.days, manifest.parts, strict=True):
                _move(folder / f"{date}.parquet", self.root / part.path)
            _move(folder / "events.npy", self.mapping_path(seen.content_hash))
            if audit.exists():
                _move(audit, self.repairs_path(key))
            manifest.write(self._manifest_path(key))
        return manifest

    def _hold(
        self, key: str, feed: Feed, inputs: tuple[InputFile, ...], progress: Progress, announce: Announce
    ) -> StoredFeed:
        """The feed's events in memory; rows that have to be ordered pass through a file without a name."""
        from bt_framework.data._stream import Target, stream

        announce(f"reading {feed.symbol or ', '.join(path.name for path in feed.files)}")
        with TemporaryDirectory(prefix="bt-") as folder:
            seen = stream(feed, Path(folder), progress, Target.MEMORY)
        return replace(self.feed(_accepted(key, feed, inputs, seen, announce)), held=seen.held)

    def _rebuild(self, manifest: Manifest) -> None:
        """Write the mapped file from the archive, and check that it is the same to the bit."""
        from bt_framework.data._sink import NpyFile, archived_rows

        with workspace(self.root) as folder:
            npy = NpyFile(folder / "events.npy")
            try:
                for part in manifest.parts:
                    for rows in archived_rows(self.root / part.path):
                        npy.append(rows)
                content_hash = npy.finish()
            except (OSError, ValueError, KeyError) as error:
                raise StorageError(
                    f"the archive of {manifest.symbol} in {self.root} cannot be read: {error}."
                ) from error
            finally:
                npy.close()
            if content_hash != manifest.content_hash:
                raise StorageError(
                    f"the archive of {manifest.symbol} in {self.root} is damaged: its events have changed."
                )
            _move(folder / "events.npy", self.mapping_path(content_hash))

    def feed(self, m: Manifest) -> StoredFeed:
        """The feed that a manifest is of."""
        return StoredFeed(
            symbol=m.symbol,
            path=self.mapping_path(m.content_hash),
            content_hash=m.content_hash,
            events=m.events,
            first_local_ts=m.first_local_ts,
            last_local_ts=m.last_local_ts,
            first_exch_ts=m.first_exch_ts,
            spec=m.spec,
            touch_low_px=m.touch_low_px,
            touch_high_px=m.touch_high_px,
            has_depth_clear=m.has_depth_clear,
            book_level=m.book_level,
            report=m.report,
            findings=m.findings,
            timing=m.timing,
            key=m.key,
            ingested_at_ns=m.ingested_at_ns,
            store=self,
        )

    def _manifest_path(self, key: str) -> Path:
        return self.root / "manifests" / f"{key}.json"

    def _archived(self, manifests: Iterable[Manifest]) -> list[Path]:
        return [self.root / part.path for manifest in manifests for part in manifest.parts]


class _SharedProgress:
    """One progress for several feeds that are ingested at once; it also stops them."""

    def __init__(self, count: int, progress: Progress | None) -> None:
        self.stop = Event()
        self._done = [0] * count
        self._total = [0] * count
        self._progress = progress or _no_progress

    def of(self, index: int) -> Progress:
        def advance(done: int, total: int) -> None:
            if self.stop.is_set():
                raise DataError("the ingest was stopped")
            self._done[index], self._total[index] = done, total
            self._progress(sum(self._done), sum(self._total) if all(self._total) else 0)

        return advance


def _accepted(
    key: str, feed: Feed, inputs: tuple[InputFile, ...], seen: Examined, announce: Announce
) -> Manifest:
    """What is known of a feed that has been read; what cannot be used is refused."""
    refuse_fatal(seen.symbol, seen.findings)
    refuse_changed(inputs)
    if feed.content_hash not in ("", seen.content_hash):
        raise DataError(
            f"{seen.symbol}: the events are not those that they should be: their SHA-256 must be "
            f"{feed.content_hash[:_HASH_PREFIX]}..., was {seen.content_hash[:_HASH_PREFIX]}.... Load them again."
        )
    assert seen.spec is not None
    for notice in seen.spec.notices:
        announce(notice)
    return _manifest(key, feed, inputs, seen)


def _manifest(key: str, feed: Feed, inputs: tuple[InputFile, ...], seen: Examined) -> Manifest:
    from bt_framework.data._stream import reader_name, safe_name

    assert seen.spec is not None
    archive = Path("archive") / reader_name(feed) / safe_name(seen.symbol)
    stem = seen.content_hash[:_HASH_PREFIX]
    stats = seen.doctor.stats
    low_px, high_px = seen.doctor.touch_px()
    return Manifest(
        key=key,
        reader=reader_name(feed),
        symbol=seen.symbol,
        content_hash=seen.content_hash,
        events=int(stats.rows),
        first_local_ts=int(stats.first_local_ts),
        last_local_ts=int(stats.last_local_ts),
        first_exch_ts=int(stats.first_exch_ts),
        spec=seen.spec.instrument,
        tick_source=seen.spec.tick_source,
        lot_source=seen.spec.lot_source,
        touch_low_px=low_px,
        touch_high_px=high_px,
        has_depth_clear=bool(stats.clears),
        book_level=seen.doctor.book_level(),
        report=seen.report,
        findings=tuple(seen.findings),
        timing=seen.doctor.timing(seen.symbol),
        parts=tuple(Part(str(archive / f"{date}.{stem}.parquet"), rows) for date, rows in seen.days),
        inputs=inputs,
        ingested_at_ns=time.time_ns(),
    )


def _sizes_hold(manifest: Manifest, feed: Feed) -> bool:
    """Whether the catalogue still says what it said when the feed was ingested."""
    listed = feed.known_instrument(manifest.report)
    for source, size, now in (
        (manifest.tick_source, manifest.spec.tick_size, listed.tick_size if listed else None),
        (manifest.lot_source, manifest.spec.lot_size, listed.lot_size if listed else None),
    ):
        if source == "catalogue" and now != size:
            return False
    return listed is None or listed.contract_size == manifest.spec.contract_size


def _npy_bytes(events: int) -> int:
    from bt_framework.data._sink import npy_header
    from bt_framework.records import EVENT

    return len(npy_header(events)) + events * EVENT.itemsize


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def _size(path: Path) -> int:
    """Size of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _unlink(path: Path) -> int:
    """Remove a file; returns its size, 0 if it is gone already."""
    size = _size(path)
    path.unlink(missing_ok=True)
    return size


def _silent(text: str) -> None:
    pass


def _no_progress(done: int, total: int) -> None:
    pass
