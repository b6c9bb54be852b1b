"""What a database could not take: Parquet files in the store's folder, delivered later, each exactly once.

::

    spool/bt-1f3a09c2/                                          what waits for one database
        address                                                 its URL
        20260102-030405-abcdef/                                 a run
            .lock                                               held while the run or a delivery is at work
            00000012-00-backtest_orders.parquet                 rows of one table; the name is their token
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bt_framework.errors import BtError, StorageError
from bt_framework.stores.clickhouse._parcels import ROW_TABLES, Part
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.sending import Retries, Sender

if TYPE_CHECKING:
    import pyarrow as pa

_ADDRESS = "address"
_LOCK = ".lock"


@dataclass(frozen=True)
class Waiting:
    """Rows of a run that wait.

    Attributes
    ----------
    bytes : int
        Size of the files.
    busy : bool
        Whether the run still goes on, or its rows are being delivered now.
    """

    run_id: str
    files: int
    rows: int
    bytes: int
    busy: bool


@dataclass(frozen=True)
class Delivered:
    """What `deliver` did: the runs whose files are all delivered, and those that were left alone."""

    runs: tuple[str, ...]
    busy: tuple[str, ...]
    files: int
    rows: int


def spool_folder(store_dir: str | Path, address: Address) -> Path:
    """Folder of what waits for a database; the same whoever the user is, and wherever the store is moved to."""
    root = Path(store_dir).expanduser().absolute()
    if address.folder is not None:
        place = (
            os.path.relpath(address.folder, root)
            if address.folder.is_relative_to(root)
            else str(address.folder)
        )
    else:
        place = f"{address.host}:{address.port}"
    key = hashlib.sha256(f"{place}/{address.database}".encode()).hexdigest()
    return root / "spool" / f"{address.database}-{key[:8]}"


class RunSpool:
    """Writes what one run could not store.

    Parameters
    ----------
    store_dir : str or Path
        Folder of the store.
    address : Address
        The database that the rows are for.
    run_id : str
    """

    def __init__(self, store_dir: str | Path, address: Address, run_id: str) -> None:
        self.folder = spool_folder(store_dir, address) / run_id
        self.rows = 0
        self._url = address.url
        self._lock: IO[bytes] | None = None

    def put(self, part: Part) -> None:
        """Write a part; it is there as a whole or not at all.

        Raises
        ------
        StorageError
            If it cannot be written, for instance because the disk is full.
        """
        import pyarrow.parquet as pq

        path = self.folder / f"{part.label}.parquet"
        draft = path.with_suffix(".draft")
        try:
            if self._lock is None:
                self._lock = _held(self.folder)
                (self.folder.parent / _ADDRESS).write_text(f"{self._url}\n", encoding="utf-8")
            pq.write_table(part.rows, draft, compression="zstd")
            os.replace(draft, path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise StorageError(
                f"{path} cannot be written: {error.strerror or error}, and the database cannot take the rows of the "
                "run. Free space there, or choose another store_dir."
            ) from error
        self.rows += part.rows.num_rows

    def close(self) -> None:
        """Let others deliver what waits."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def waiting(store_dir: str | Path, address: Address) -> list[Waiting]:
    """Say what waits for a database, run by run, oldest first.

    Raises
    ------
    StorageError
        If the spool cannot be read.
    """
    import pyarrow.parquet as pq

    found = []
    for folder in _runs(spool_folder(store_dir, address)):
        with suppress(FileNotFoundError), _trying(folder) as free:  # it may be delivered just now
            files = _files(folder)
            rows = sum(_reading(file, lambda path: pq.read_metadata(path).num_rows) for file in files)
            size = sum(file.stat().st_size for file in files)
            found.append(Waiting(folder.name, len(files), rows, size, busy=not free))
    return found


def elsewhere(store_dir: str | Path, address: Address) -> list[str]:
    """URLs of the other databases that something waits for."""
    own = spool_folder(store_dir, address)
    others = [folder for folder in _subfolders(own.parent) if folder != own and _runs(folder)]
    return [(folder / _ADDRESS).read_text(encoding="utf-8").strip() for folder in others]


def flush(store_dir: str | Path, address: Address, retries: Retries | None = None) -> Delivered:
    """Deliver what waits for a database; see `deliver`.

    Raises
    ------
    StorageError
        If the database cannot take it; what it has not taken stays.
    """
    folder = spool_folder(store_dir, address)
    if not _runs(folder):
        return Delivered((), (), 0, 0)
    sender = Sender(address, retries or Retries())
    try:
        return deliver(folder, lambda part: sender.send([part]))
    finally:
        sender.close()


def deliver(folder: Path, insert: Callable[[Part], None]) -> Delivered:
    """Insert what waits, in order, and remove each file once `insert` has returned.

    Killed at any moment, it can be repeated: what had been inserted and not removed has the same token.

    Parameters
    ----------
    folder : Path
        Of `spool_folder`.
    insert : function
        Stores a part, or raises.

    Raises
    ------
    StorageError
        If a file cannot be read, or another delivery is at work.
    """
    done, busy, sizes = [], [], []
    with _alone(folder):
        for run in _runs(folder):
            with _trying(run) as free:
                if not free:
                    busy.append(run.name)
                    continue
                try:
                    for file in _files(run):
                        sizes.append(_move(file, insert))
                except BtError as error:
                    raise StorageError(
                        f"{error}\n{len(sizes):,} files were delivered, the others stay in {folder}."
                    ) from None
                _remove(run)
                done.append(run.name)
    return Delivered(tuple(done), tuple(busy), len(sizes), sum(sizes))


def _move(file: Path, insert: Callable[[Part], None]) -> int:
    """Insert a file's rows, remove it, and return their number."""
    part = _part(file)
    insert(part)
    file.unlink()
    return int(part.rows.num_rows)


def _part(file: Path) -> Part:
    import pyarrow.parquet as pq

    table = file.stem.rpartition("-")[2]
    if table not in ROW_TABLES:
        raise StorageError(f"{file} must be named after a table of rows, was after {table!r}. Move it away.")
    # Not read_table: it would import what reads whole folders.
    return Part(file.parent.name, file.stem, table, _reading(file, lambda path: pq.ParquetFile(path).read()))


def _reading(file: Path, read: Callable[[Path], pa.Table]) -> pa.Table:
    import pyarrow as pa

    try:
        return read(file)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{file} cannot be read: {error}. Move it away to deliver the others.") from error


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}.") from error


def _runs(folder: Path) -> list[Path]:
    """Folders of runs, oldest first."""
    return _subfolders(folder)


def _files(run: Path) -> list[Path]:
    """Files of a run in the order in which they were written."""
    return sorted(run.glob("*.parquet"))


def _remove(run: Path) -> None:
    """Remove the folder of a run that has been delivered, whose lock is ours; a draft in it is of a killed run."""
    for draft in run.glob("*.draft"):
        draft.unlink()
    (run / _LOCK).unlink()
    run.rmdir()


def _held(folder: Path) -> IO[bytes]:
    """Make the folder of a run and hold its lock; a delivery may remove an empty one at the same time."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            file = open(folder / _LOCK, "ab")  # noqa: SIM115 - held until `close`
            _flock(file, wait=True)
            if _still_there(file, folder / _LOCK):
                return file
            file.close()


@contextmanager
def _trying(run: Path) -> Iterator[bool]:
    """Hold the lock of a run, if nobody else has it; the value says so."""
    with open(run / _LOCK, "ab") as file:
        yield _flock(file, wait=False)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold off other deliveries."""
    if not folder.exists():
        yield
        return
    with open(folder / _LOCK, "ab") as file:
        if not _flock(file, wait=False):
            raise StorageError(f"another delivery of {folder} is at work. Wait for it.")
        yield


def _flock(file: IO[bytes], *, wait: bool) -> bool:
    """Lock a file until it is closed, or its process is gone; True also where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _still_there(file: IO[bytes], path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
