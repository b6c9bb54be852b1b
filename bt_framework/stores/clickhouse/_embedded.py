"""chDB: its folder, which one process has at a time, and results that come in pieces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse import _disk
from bt_framework.stores.clickhouse.address import Address

if TYPE_CHECKING:
    import pyarrow as pa

_STATUS = "status"
"""File that the engine keeps locked; its first line names the process."""

_ATTEMPTS = 2
_OTHER_FOLDER = re.compile(r"already initialized with path '([^']*)'")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNCOMPRESSED = "output_format_arrow_compression_method"


def connect(address: Address) -> Any:
    """Return the client of a folder, which is made if there is none.

    Raises
    ------
    StorageError
        If chDB is not installed, another process or another folder is in the way, or it cannot be written.
    """
    folder = _folder(address)
    try:
        import chdb  # noqa: F401  # what the client needs
        from clickhouse_connect import get_client
    except ImportError:
        raise StorageError(
            f"chDB in {folder} needs chdb and clickhouse-connect. Install them: pip install "
            "'bt-framework[clickhouse]'. A server needs no chdb: set $BT_CLICKHOUSE_URL."
        ) from None
    _make(folder)
    text = ""
    for _ in range(_ATTEMPTS):
        _refuse_locked(folder)
        try:
            return get_client(
                interface="chdb", path=str(folder), settings={_UNCOMPRESSED: "none", **_disk.SETTINGS}
            )
        except Exception as error:
            text = str(error)
            other = _OTHER_FOLDER.search(text)
        if other:
            raise StorageError(
                f"chDB in {folder} cannot be opened while this process has chDB in {other[1]} open: there is one per "
                "process. Close the other one first, or use a server: set $BT_CLICKHOUSE_URL."
            )
    raise StorageError(
        f"chDB in {folder} cannot be opened ({_reason(text)}). If its files are damaged, move the folder away; free "
        "space if its disk is full."
    )


def discard(client: Any) -> None:
    """Take the rows that a failed query had made out of its handle: they would stand before the next answer."""
    if client is not None:
        with suppress(Exception):
            client.raw_query("SELECT 1", fmt="Null", use_database=False)


def stream(
    address: Address, sql: str, parameters: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """Yield a result piece by piece, through a handle of its own: the engine waits for whoever reads.

    Parameters
    ----------
    parameters : mapping
        Values of the statement's ``{name:Type}``, as text.
    """
    import chdb
    import pyarrow as pa

    connect: Any = chdb.connect
    with closing(connect(str(_folder(address)))) as handle:
        handle.query(f"USE `{address.database}`")
        for name, value in {_UNCOMPRESSED: "none", **settings}.items():
            if not _SETTING.fullmatch(name):
                raise StorageError(f"a setting of ClickHouse must be a name, was {name[:40]!r}.")
            quoted = str(value).replace("\\", "\\\\").replace("'", "\\'")
            handle.query(f"SET {name} = '{quoted}'")
        pieces: Any = handle.send_query(sql, "ArrowStream", params=dict(parameters))
        try:
            for piece in pieces:
                with pa.ipc.open_stream(pa.py_buffer(piece.bytes())) as reader:
                    yield from reader
        finally:
            pieces.close()


def _folder(address: Address) -> Path:
    """The folder by its real name: chDB compares names literally."""
    assert address.folder is not None
    return Path(os.path.realpath(address.folder))


def _make(folder: Path) -> None:
    """Make the folder, and see that it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"chDB's folder {folder} cannot be made: {error.strerror}.") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StorageError(
            f"chDB's folder {folder} must be writable, was not. Change its permissions, or choose another: "
            "url=chdb:///FOLDER"
        )


def _refuse_locked(folder: Path) -> None:
    """Say which process has the folder; this one may open it again and again."""
    try:
        import fcntl
    except ImportError:
        return
    with suppress(FileNotFoundError, PermissionError), open(folder / _STATUS, "rb") as file:
        found = re.search(rb"PID: (\d+)", file.read(200))
        owner = int(found[1]) if found else None
        if owner == os.getpid():
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            process = f"process {owner}" if owner else "another process"
            raise StorageError(
                f"chDB in {folder} is in use by {process}; only one process can have it open. Wait until that one has "
                "finished or stop it, choose another folder, or use a server for several processes: set "
                "$BT_CLICKHOUSE_URL."
            ) from None
        except OSError:
            return  # the file system has no locks


def _reason(text: str) -> str:
    """The engine's own words, without what is the same in each of them."""
    return " ".join(text.rpartition("DB::Exception: ")[2].split())[:300]
