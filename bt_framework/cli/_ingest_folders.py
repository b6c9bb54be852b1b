"""`bt ingest FOLDER`: files found by the readers that know them, one broken file not stopping the others."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._tables import progress_bar, say
from bt_framework.cli.ingest import print_stored
from bt_framework.config._overrides import quoted
from bt_framework.config.compose import Choice, compose
from bt_framework.data.recognise import Recognised, recognise
from bt_framework.data.repair import with_repair
from bt_framework.data.source import FileConfig
from bt_framework.data.store import EventStore
from bt_framework.errors import BtError, ConfigError, DataError, PluginError
from bt_framework.plugin_manager import PluginHost, discover
from bt_framework.registry import Kind

if TYPE_CHECKING:
    from bt_framework.data.source import Feed
    from bt_framework.data.store import StoredFeed

_OF_THE_DATA = (ConfigError, DataError, PluginError)
"""What a reader may raise about its files, or what it needs for them; other errors stop the ingest."""

_CHOICE = re.compile(r"data=(\w+)")
_KEY = re.compile(r"\+*data\.")


def ingest_folders(paths: Sequence[Path], overrides: Sequence[str]) -> tuple[list[StoredFeed], int]:
    """Ingest what the readers recognise in `paths`.

    Returns
    -------
    list of StoredFeed
        What is in the store now.
    int
        The exit code: 2 if anything of theirs could not be ingested.

    Raises
    ------
    ConfigError
        If a path does not exist, or keys of a reader are given and the files are of several.
    DataError
        If no file is recognised.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{str(path)!r} must be a folder or file that exists, or KEY=VALUE.")
    host = discover()
    readers = _readers(host, overrides)
    others = [o for o in overrides if not _CHOICE.fullmatch(o)]
    settings = compose([o for o in others if not _KEY.match(o)], host=host).settings
    store = EventStore(Path(settings.store_dir))
    with progress_bar("looking") as file_done:
        found = recognise(paths, readers, [store.root], file_done)
    _refuse_keys_of_one(found, others)
    began_ns, began = time.time_ns(), time.perf_counter()
    job = _Job(host, store, others, settings.repair)
    for reader, files in sorted(found.by_reader.items()):
        for feed in job.feeds(reader, files):
            job.load(reader, feed)
    if job.stored:
        print_stored(job.stored, store, began_ns, time.perf_counter() - began)
    _print_rest(found, job.failures)
    if not found.by_reader and not found.ambiguous:
        raise DataError(
            f"no file of {', '.join(map(str, paths))} is known to {', '.join(readers)}. A reader whose files need"
            " keys is chosen with data=NAME data.files=[FILE]; bt plugins data lists the keys."
        )
    return job.stored, 2 if job.failures or found.ambiguous else 0


def _readers(host: PluginHost, overrides: Sequence[str]) -> dict[str, type[FileConfig]]:
    """Configuration classes of the sources that read files, by name; of one alone if it is chosen."""
    if any(re.match(r"\+*data\.files\b", override) for override in overrides):
        raise ConfigError("data.files must not be given with folders or files. Leave one of them out.")
    components = [c for c in host.registry.components() if c.kind is Kind.DATA]
    readers = {c.name: c.config_class for c in components if issubclass(c.config_class, FileConfig)}
    chosen = [match[1] for override in overrides if (match := _CHOICE.fullmatch(override))]
    if not chosen:
        return readers
    host.component(Kind.DATA, chosen[-1])
    if chosen[-1] not in readers:
        raise ConfigError(f"data must be a reader of files ({', '.join(readers)}), was {chosen[-1]!r}.")
    return {chosen[-1]: readers[chosen[-1]]}


def _refuse_keys_of_one(found: Recognised, overrides: Sequence[str]) -> None:
    """Refuse keys of a reader where the files are of several."""
    keys = [override for override in overrides if _KEY.match(override)]
    if keys and len(found.by_reader) > 1:
        raise ConfigError(
            f"{keys[0]}: a reader's keys must not be given for files of several readers, was"
            f" {', '.join(sorted(found.by_reader))}. Choose one with data=NAME."
        )


@dataclass(frozen=True)
class _Failure:
    """Files that could not be ingested, and why."""

    reader: str
    paths: Sequence[Path]
    error: BtError


@dataclass
class _Job:
    """What an ingest has done so far."""

    host: PluginHost
    store: EventStore
    overrides: Sequence[str]
    repair: bool
    stored: list[StoredFeed] = field(default_factory=list)
    failures: list[_Failure] = field(default_factory=list)
    choices: dict[str, Choice] = field(default_factory=dict)

    def feeds(self, reader: str, files: Sequence[Path]) -> Sequence[Feed]:
        """Feeds of all files together; else of those that can be opened, together or each by itself."""
        together = self._open(reader, files)
        if not isinstance(together, BtError):
            return together
        alone = (
            {path: self._open(reader, [path]) for path in files} if len(files) > 1 else {files[0]: together}
        )
        broken = {path: error for path, error in alone.items() if isinstance(error, BtError)}
        sound = {path: feeds for path, feeds in alone.items() if not isinstance(feeds, BtError)}
        if broken and sound:
            together = self._open(reader, list(sound))
        if isinstance(together, BtError) and sound:
            say(f"{reader}: the files do not go together; each is ingested by itself")
            together = self._apart(reader, sound, broken)
        self.failures += [_Failure(reader, [path], error) for path, error in broken.items()]
        return [] if isinstance(together, BtError) else together

    def _apart(
        self, reader: str, sound: Mapping[Path, Sequence[Feed]], broken: dict[Path, BtError]
    ) -> Sequence[Feed]:
        """Feeds of each of `sound`; what is `broken` by itself, as a file of definitions is, may go with one."""
        companions, helpful = list(broken), False
        found: list[Feed] = []
        for path, feeds in sound.items():
            joined = self._open(reader, [path, *companions]) if companions else feeds
            helpful = helpful or (bool(companions) and not isinstance(joined, BtError))
            found += feeds if isinstance(joined, BtError) else joined
        if helpful:
            broken.clear()
        return found

    def _open(self, reader: str, files: Sequence[Path]) -> Sequence[Feed] | BtError:
        """Feeds of `files`, or what the reader says against them."""
        choice = self._choice(reader, files)
        try:
            config = replace(choice.config, files=[str(path) for path in files])  # type: ignore[call-arg]
            config.freeze()
            return choice.component.build(config).feeds()  # type: ignore[no-any-return]
        except _OF_THE_DATA as error:
            return error

    def _choice(self, reader: str, files: Sequence[Path]) -> Choice:
        """The reader's configuration; composing takes longer than looking at files, so it is done once."""
        if reader not in self.choices:
            names = ",".join(quoted(str(path)) for path in files)
            overrides = [f"data={reader}", *self.overrides, f"data.files=[{names}]"]
            self.choices[reader] = compose(overrides, host=self.host).one(Kind.DATA)
        return self.choices[reader]

    def load(self, reader: str, feed: Feed) -> None:
        """Ingest a feed; if it cannot be and has several files, each by itself."""
        name = feed.symbol or feed.files[0].name
        try:
            with progress_bar(f"ingesting {name}") as progress:
                self.stored.append(self.store.load(with_repair([feed], self.repair)[0], progress, say))
            return
        except _OF_THE_DATA as error:
            if len(feed.files) == 1:
                self.failures.append(_Failure(reader, feed.files, error))
                return
            say(f"{name}: {error} Each of the {len(feed.files)} files is tried by itself.")
        for path in feed.files:
            for part in self.feeds(reader, [path]):
                self.load(reader, part)


def _print_rest(found: Recognised, failures: Sequence[_Failure]) -> None:
    """Print what is not in the store, and why."""
    if failures:
        click.echo(f"failed ({len(failures)}):")
        for failure in failures:
            why = re.sub(r"\s*\n\s*", " ", str(failure.error))
            unsaid = [str(path) for path in failure.paths if str(path) not in why]
            click.echo(f"  {failure.reader}: {': '.join([*unsaid, why])}")
    if found.ambiguous:
        click.echo(f"ambiguous, choose a reader with data=NAME ({len(found.ambiguous)}):")
        for path, names in found.ambiguous:
            click.echo(f"  {path}: {', '.join(names)}")
    if found.unknown:
        click.echo(f"not recognised ({len(found.unknown)}):")
        for path, reason in found.unknown:
            click.echo(f"  {path}" + (f": {reason}" if reason else ""))
