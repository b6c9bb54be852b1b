"""What the HTTP front needs of chDB: sessions, results in pieces through a named pipe, inserts in pieces."""

from __future__ import annotations

import fcntl
import os
import re
import select
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb

PIECE_BYTES = 1 << 20
SESSIONS = 200
"""Most sessions that are kept; the ones unused for longest go first."""

ENDS = {"ArrowStream": 8, "Arrow": 10, "Parquet": 8}
"""Bytes that close a result in these formats; a result that failed does not have them."""

_CODE = re.compile(r"Code: (\d+)\. ")


class EngineError(Exception):
    """An exception of ClickHouse: its code, and the text that a server sends."""

    def __init__(self, text: str) -> None:
        text = text[max(text.find("Code: "), 0) :].strip()
        found = _CODE.match(text)
        self.code = int(found[1]) if found else 1002
        if "(version " not in text:
            text += f" (version {chdb.engine_version} (official build))"
        super().__init__(text + "\n")


def quoted(text: str, quote: str = "'") -> str:
    """A string literal of SQL, or an identifier with a backtick for `quote`."""
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


@dataclass
class Result:
    """What one statement did: rows read or written, and their bytes."""

    rows: int = 0
    bytes: int = 0


@dataclass
class Handle:
    """One handle of the engine, used by one request at a time.

    `given` are the settings of the last request's URL. They hold for that request only; a ``SET`` of
    the session's own holds on, unless a URL names the same setting.
    """

    connection: Any
    busy: threading.Lock = field(default_factory=threading.Lock)
    given: dict[str, str] = field(default_factory=dict)
    database: str = "default"

    def prepare(self, database: str, settings: Mapping[str, str]) -> None:
        """Make a database the current one, and the settings those of this request."""
        if self.database != (database := database or "default"):
            self.run(f"USE {quoted(database, '`')}")
            self.database = database
        changed = [f"{_checked(name)} = DEFAULT" for name in self.given if name not in settings]
        news = {name: value for name, value in settings.items() if self.given.get(name) != value}
        changed += [f"{_checked(name)} = {quoted(value)}" for name, value in news.items()]
        if changed:
            self.run("SET " + ", ".join(changed))
        self.given = dict(settings)

    def run(self, sql: str | bytes, params: Mapping[str, str] | None = None) -> tuple[bytes, Result]:
        """Run a statement at once; what it prints, in TabSeparated if it names no format."""
        try:
            result = self.connection.query(sql, "TabSeparated", params=dict(params or {}))
        except Exception as error:
            raise EngineError(str(error)) from None
        return result.bytes() or b"", Result(result.rows_read(), result.bytes_read())

    def insert(self, sql: str, form: str, pieces: Iterable[bytes]) -> Result:
        """Insert data of a format; if the pieces break off, the block that is not full is not stored."""
        inserter = None
        try:
            inserter = self.connection.send_insert(sql, form)
            for piece in pieces:
                inserter.append(piece)
            done = inserter.finish()
        except (RuntimeError, chdb.ChdbError) as error:
            raise EngineError(str(error)) from None
        finally:
            if inserter is not None:
                inserter.cancel()
        return Result(done.rows_written, done.bytes_written)

    def select(self, sql: str, form: str, params: Mapping[str, str], result: Result) -> Iterator[bytes]:
        """The result in a format, piece by piece; at its end `result` has what was read.

        The engine writes into a named pipe, so that it waits for whoever reads.
        """
        with tempfile.TemporaryDirectory(prefix="front_") as folder:
            pipe = Path(folder) / "pipe"
            os.mkfifo(pipe)
            sql = f"{sql}\nINTO OUTFILE {quoted(str(pipe))} TRUNCATE FORMAT {form}"
            end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            with suppress(OSError):
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
            work = _Work(self, sql, params)
            tail = b""
            try:
                for piece in _pieces(end, work):
                    piece = tail + piece
                    cut = len(piece) - ENDS.get(form, 0)
                    tail = piece[max(cut, 0) :]
                    if cut > 0:
                        yield piece[:cut]
            finally:
                _wait(end, work)  # without a reader, a writer that comes to open the pipe would wait for ever
                os.close(end)
                work.join()
        if work.error is not None:
            raise work.error
        if tail:
            yield tail
        result.rows, result.bytes = work.result.rows, work.result.bytes


class Engine:
    """The engine of one folder, and its sessions."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._first = chdb.connect(self._folder)
        self._sessions: OrderedDict[tuple[str, str, int], Handle] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def handle(self, user: str, session: str, readonly: int) -> Iterator[Handle]:
        """The session's handle, or one for this request alone if `session` is empty.

        Raises
        ------
        EngineError
            Code 373: another request is using the session.
        """
        handle = self._of_session((user, session, readonly)) if session else self._new(readonly)
        if not handle.busy.acquire(blocking=False):
            text = f"Code: 373. DB::Exception: Session {session} is locked by a concurrent client. "
            raise EngineError(text + "(SESSION_IS_LOCKED)")
        try:
            yield handle
        finally:
            handle.busy.release()
            if not session:
                handle.connection.close()

    def close(self) -> None:
        """Close what is open, so that another process may have the folder."""
        for handle in self._sessions.values():
            handle.connection.close()
        self._first.close()

    def _new(self, readonly: int) -> Handle:
        handle = Handle(chdb.connect(self._folder))
        if readonly:
            handle.run(f"SET readonly = {readonly}")
        return handle

    def _of_session(self, key: tuple[str, str, int]) -> Handle:
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = self._new(key[2])
            self._sessions.move_to_end(key)
            oldest = next(iter(self._sessions))
            if len(self._sessions) > SESSIONS and not self._sessions[oldest].busy.locked():
                self._sessions.pop(oldest).connection.close()
            return self._sessions[key]


class _Work:
    """A statement that runs in its own thread; the reading end of `done` hangs up when it is over."""

    def __init__(self, handle: Handle, sql: str, params: Mapping[str, str]) -> None:
        self.result = Result()
        self.error: EngineError | None = None
        self.done, self._over = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(handle, sql, params), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the statement is over."""
        self._thread.join()
        os.close(self.done)

    def _run(self, handle: Handle, sql: str, params: Mapping[str, str]) -> None:
        try:
            self.result = handle.run(sql, params)[1]
        except EngineError as error:
            self.error = error
        finally:
            os.close(self._over)


def _pieces(end: int, work: _Work) -> Iterator[bytes]:
    """What comes through the pipe until its writer closes it, or the work is over without opening it."""
    while end in _wait(end, work):
        piece = os.read(end, PIECE_BYTES)
        if not piece:
            return
        yield piece


def _wait(end: int, work: _Work) -> list[int]:
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.register(work.done, select.POLLIN)
    return [number for number, _ in poll.poll()]


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
        raise EngineError(f"Code: 115. DB::Exception: Unknown setting {quoted(name)}. (UNKNOWN_SETTING)")
    return name
