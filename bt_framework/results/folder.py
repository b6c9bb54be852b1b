"""The folder of a run.

::

    config.yaml      the resolved composition
    run.json         what is known of the run, see `bt_framework.results.record`
    fills.parquet    and the other tables, if a writer leaves them
    parts/           the tables so far, while the run is under way or if it was killed
"""

from __future__ import annotations

import dataclasses
import marshal
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.hookspecs import hookimpl
from bt_framework.registry import unknown_name
from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES, RunContext, RunSummary

if TYPE_CHECKING:
    import pyarrow as pa

CONFIG_FILE = "config.yaml"
RECORD_FILE = "run.json"
PARTS_FOLDER = "parts"


def start(run: RunContext) -> RunRecord:
    """Make the run's folder with its config.yaml and a run.json that says "running".

    Raises
    ------
    StorageError
        If the folder cannot be written, or is that of another run.
    """
    record = RunRecord.started(run)
    folder = record.run_dir
    if (folder / RECORD_FILE).exists():
        raise StorageError(
            f"run folder {folder} must be new, but holds a run. Choose another runs_dir or remove it."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        with replacing(folder / CONFIG_FILE) as file:
            file.write(_to_yaml(run.config))
        with replacing(folder / RECORD_FILE) as file:
            file.write(record.to_json())
    except StorageError:
        # A folder without a record is no run; one that was there before with something in it is left.
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
        raise
    return record


def finish(run: RunContext, summary: RunSummary) -> RunRecord:
    """Write into the run's run.json how it ended.

    Raises
    ------
    StorageError
        If it cannot be read or written.
    """
    return _rewrite(RunFolder(run.run_dir), lambda record: record.finished(summary))


def amend(path: Path, **changes: Any) -> RunRecord:
    """Replace fields of the record in the run.json in `path`, such as ``tags``; also while the run goes on.

    Raises
    ------
    StorageError
        If it cannot be read or written.
    """
    return _rewrite(RunFolder(path), lambda record: dataclasses.replace(record, **changes))


def _rewrite(folder: RunFolder, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
    """Write the record anew; of processes that do so at once, each starts from what the others wrote."""
    with _locked(folder.path):
        record = change(folder.stored())
        with replacing(folder.path / RECORD_FILE) as file:
            file.write(record.to_json())
    return record


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other threads and processes; where a file system has no locks, nothing is held."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}.") from error
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class Keeper:
    """Listener that keeps run.json true: it hears of the end after the writers, and of a failure before them."""

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Call `finish`."""
        finish(run, summary)

    @hookimpl(tryfirst=True)
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Call `finish`."""
        finish(run, summary)


class RunFolder:
    """Reads what a run left, or has written so far.

    Parameters
    ----------
    path : Path
        The run's folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()

    def record(self) -> RunRecord:
        """Read run.json; a run whose process is gone before it could end is lost.

        Raises
        ------
        StorageError
            If there is none, or it cannot be read.
        """
        return self.stored().as_of_now()

    def stored(self) -> RunRecord:
        """Read run.json as it was written.

        Raises
        ------
        StorageError
            If there is none, or it cannot be read.
        """
        path = self.path / RECORD_FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise StorageError(f"{self.path} is no run folder: it has no {RECORD_FILE}.") from None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        return RunRecord.from_json(content, self.path, str(path))

    def config(self) -> dict[str, Any]:
        """Read config.yaml.

        Raises
        ------
        StorageError
            If there is none, or it cannot be read.
        """
        import yaml

        path = self.path / CONFIG_FILE
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise StorageError(f"{path} cannot be read: {_reason(error)}.") from error
        return dict(content or {})

    def files(self, table: str) -> list[Path]:
        """Parquet files that hold `table`, in order of time; none if nothing of it was written yet."""
        if table not in TABLES:
            raise ConfigError(unknown_name("table", table, TABLES))
        whole = self.path / f"{table}.parquet"
        return [whole] if whole.exists() else sorted((self.path / PARTS_FOLDER).glob(f"{table}-*.parquet"))

    def table(self, name: str) -> pa.Table:
        """Read a table; of a run under way or lost, what it has written so far.

        Raises
        ------
        ConfigError
            If there is no such table.
        StorageError
            If a file cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from bt_framework.results.schemas import schema

        for _ in range(2):  # a run that ends just now replaces its parts by whole tables
            files = self.files(name)
            try:
                tables = [pq.ParquetFile(file).read() for file in files]
            except FileNotFoundError:
                continue
            except (OSError, pa.ArrowException) as error:
                raise StorageError(f"{name} of {self.path} cannot be read: {error}.") from error
            break
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema(name).empty_table()

    def parts(self, name: str) -> Iterator[pa.Table]:
        """Yield the rows of a table a row group at a time, in order.

        Raises
        ------
        DataError
            If a file cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in self.files(name):
            try:
                file = pq.ParquetFile(path)
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{path} cannot be read: {error}.") from error


@contextmanager
def replacing(path: Path, key: str = "runs_dir") -> Iterator[IO[bytes]]:
    """Open a draft that takes the name `path` once it is complete; readers never see half of a file.

    `key` of the configuration says in which folder it is.

    Raises
    ------
    StorageError
        If it cannot be written, for instance because the disk is full; nothing is left of it then.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with open(draft, "wb") as file:
            yield file
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _unwritable(path, error, key) from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def _unwritable(path: Path, error: OSError, key: str = "runs_dir") -> StorageError:
    why = error.strerror or error
    return StorageError(f"{path} cannot be written: {why}. Free space there or choose another {key}.")


def _to_yaml(config: Mapping[str, Any]) -> bytes:
    """The text that PyYAML makes of `config`, key by key: the runs of a sweep have most of it in common."""
    # Version 2 knows no references: equal values are equal bytes.
    text = "".join(_key_to_yaml(marshal.dumps({key: value}, 2)) for key, value in config.items())
    return (text or "{}\n").encode()


@lru_cache(maxsize=256)
def _key_to_yaml(marshalled: bytes) -> str:
    """The text of one key with its value; by libyaml where that makes the same: five times as fast."""
    import json

    import yaml

    config = marshal.loads(marshalled)
    content = json.dumps(config, ensure_ascii=False)
    # They differ in some characters beyond ASCII, in keys that have to be escaped, and in empty ones.
    plain = content.isascii() and "\\" not in content and '"":' not in content
    fast = plain and yaml.__with_libyaml__
    dumper = yaml.CSafeDumper if fast else yaml.SafeDumper
    text: str = yaml.dump(config, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def folder_bytes(folder: Path) -> int:
    """Size of all files below `folder`; 0 if it is not on this machine."""
    return sum(os.lstat(Path(place, name)).st_size for place, _, names in os.walk(folder) for name in names)
