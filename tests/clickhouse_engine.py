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
from contextlib import closing, contextmanager, suppress
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
    folder: str
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
        with tempfile.TemporaryDirectory(prefix="front") as folder:
            pipe = Path(folder) / "pipe"
            os.mkfifo(pipe)
            reading = _Reading(pipe)
            reading.start(self, f"{sql}\nINTO OUTFILE {quoted(str(pipe))} TRUNCATE FORMAT {form}", params)
            tail = b""
            try:
                for piece in reading.pieces():
                    piece = tail + piece
                    cut = len(piece) - ENDS.get(form, 0)
                    tail = piece[max(cut, 0) :]
                    if cut > 0:
                        yield piece[:cut]
            finally:
                reading.close()
        if reading.error is not None:
            raise reading.error
        if tail:
            yield tail
        result.rows, result.bytes = reading.result.rows, reading.result.bytes

    def kill(self, name: str) -> None:
        """Kill the statement that has a name in it."""
        half = len(name) // 2  # in halves, so that this statement does not find itself
        words = f"concat({quoted(name[:half])}, {quoted(name[half:])})"
        with closing(chdb.connect(self.folder)) as connection:
            connection.query(f"KILL QUERY WHERE position(query, {words}) > 0")


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
        """End what runs and close what is open, so that another process may have the folder."""
        self._first.query("KILL QUERY WHERE query NOT LIKE 'KILL%' SYNC")
        for handle in self._sessions.values():
            handle.connection.close()
        self._first.close()

    def _new(self, readonly: int) -> Handle:
        handle = Handle(chdb.connect(self._folder), self._folder)
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


class _Reading:
    """The reading end of a named pipe, and the statement that writes into it in a thread of its own."""

    def __init__(self, pipe: Path) -> None:
        self.result = Result()
        self.error: EngineError | None = None
        self._pipe = pipe
        self._end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        with suppress(OSError):
            fcntl.fcntl(self._end, fcntl.F_SETPIPE_SZ, PIECE_BYTES)
        self._over, self._running = os.pipe()  # one end hangs up when the statement is over
        self._ended = False

    def start(self, handle: Handle, sql: str, params: Mapping[str, str]) -> None:
        """Let the statement run."""
        self._handle = handle
        self._thread = threading.Thread(target=self._run, args=(sql, params), daemon=True)
        self._thread.start()

    def pieces(self) -> Iterator[bytes]:
        """What comes until the writer closes the pipe, or the statement is over without opening it."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        poll.register(self._over, select.POLLIN)
        while self._end in [number for number, _ in poll.poll()]:
            piece = os.read(self._end, PIECE_BYTES)
            if not piece:
                break
            yield piece
        self._ended = True

    def close(self) -> None:
        """Stop reading, and the statement with it: the engine would go on without a reader."""
        os.close(self._end)
        if not self._ended:
            self._handle.kill(self._pipe.parent.name)
        self._thread.join()
        os.close(self._over)

    def _run(self, sql: str, params: Mapping[str, str]) -> None:
        try:
            self.result = self._handle.run(sql, params)[1]
        except EngineError as error:
            self.error = error
        finally:
            os.close(self._running)


def _checked(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
        raise EngineError(f"Code: 115. DB::Exception: Unknown setting {quoted(name)}. (UNKNOWN_SETTING)")
    return name
