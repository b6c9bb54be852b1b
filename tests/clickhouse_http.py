"""ClickHouse's HTTP interface in front of chDB: what ``clickhouse_front.py`` runs in a process of its own."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import ssl
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from email import message_from_bytes
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

import lz4.frame
import zstandard
from clickhouse_engine import PIECE_BYTES, Engine, EngineError, Handle, Result, quoted
from clickhouse_faults import WHEN, Fault, Faults

NOT_SETTINGS = {
    *("query", "database", "default_format", "user", "password", "query_id", "quota_key", "role"),
    *("session_id", "session_timeout", "session_check", "compress", "decompress", "buffer_size"),
    *("wait_end_of_query", "client_protocol_version"),
}
"""Parameters of a URL that HTTP itself uses; the others are settings, or ``param_`` of a query."""

STATUSES = {
    401: (194,),
    403: (192, 193, 516),
    400: (6, 26, 27, 36, 38, 41, 44, 53, 62, 69, 72, 117, 15, 16, 457),
    404: (46, 47, 50, 56, 60, 63, 73, 81, 115),
    408: (159,),
    501: (48,),
    503: (76, 209, 439),
}
"""HTTP's status for codes of ClickHouse; the others are 500."""

DECODERS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": zlib.decompressobj,
}
ENCODERS: dict[str, Callable[[], Any]] = {
    "lz4": lambda: _Lz4(),
    "zstd": lambda: zstandard.ZstdCompressor(1).compressobj(),
    "gzip": lambda: zlib.compressobj(1, zlib.DEFLATED, 31),
}

_COMMENT = re.compile(rb"\s+|--[^\n]*\n|/\*.*?\*/", re.DOTALL)
_ANSWERS = re.compile(rb"(SELECT|WITH|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK|FROM|VALUES|\()", re.IGNORECASE)
_INSERT = re.compile(rb"INSERT\s+INTO\b", re.IGNORECASE)
_DATA = re.compile(rb"\A(.*?)\s+FORMAT\s+(\w+)[ \t]*\r?\n", re.IGNORECASE | re.DOTALL)
_NAMED = re.compile(rb"`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"")
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)(\s+SETTINGS\s[^']*)?\Z", re.IGNORECASE)


class HungUpError(Exception):
    """One of both sides closed the connection in the middle."""


class _Lz4:
    """A compressor of one frame that begins at once."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._begin = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
        begin, self._begin = self._begin, b""
        return begin + self._frame.compress(data)

    def flush(self) -> bytes:
        return self._begin + self._frame.flush()


class Front(ThreadingHTTPServer):
    """The server; `users` are the password and the readonly level by name."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, folder: Path, users: Mapping[str, tuple[str, int]]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine = Engine(folder)
        self.users = users
        self.faults = Faults()
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, and know it until it is closed."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Take no more connections, close those there are, and end what runs for them.

        A statement whose result nobody reads could not be killed otherwise: it waits in a write.
        """
        self.server_close()
        while self._open:
            with suppress(OSError, KeyError):
                self._open.pop().shutdown(socket.SHUT_RDWR)
        self.engine.close()

    def encrypt(self, certificate: Path, key: Path) -> None:
        """Speak TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what tests are about; other errors go to stderr."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Front

    def do_GET(self) -> None:
        """Answer a GET: it may not write."""
        self._serve(readonly=2)

    def do_POST(self) -> None:
        """Answer a POST."""
        self._serve(readonly=0)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self, readonly: int) -> None:
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        self._unread = self._body_pieces()
        self._fault: Fault | None = None
        self._sent = 0
        try:
            if url.path == "/_front":
                self._control()
            elif url.path == "/ping" or not (params or self.command == "POST"):
                self._plain(200, "Ok.\n")
            else:
                self._statement(params, readonly)
        except (HungUpError, ConnectionError):
            self.close_connection = True

    # Requests

    def _body_pieces(self) -> Iterator[bytes]:
        """The body as it comes, with or without chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
                yield self._exactly(size)
                self._exactly(2)
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self._exactly(min(left, PIECE_BYTES))
            left -= len(piece)
            yield piece

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size) if size >= 0 else b""
        if len(data) != size:
            raise HungUpError
        return data

    def _control(self) -> None:
        """The tests' own commands: add a fault (POST), forget all (POST of null), list (GET)."""
        if self.command == "POST":
            values = json.loads(b"".join(self._unread))
            if values is None:
                self.server.faults.clear()
            else:
                self.server.faults.add(values)
        self._plain(200, json.dumps(self.server.faults.listed()))

    def _form(self, params: dict[str, str]) -> None:
        """Take the parameters out of a form, if the body is one."""
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            params.update(parse_qsl(b"".join(self._unread).decode(), keep_blank_values=True))
        elif kind.startswith("multipart/form-data"):
            head = f"Content-Type: {kind}\r\n\r\n".encode()
            for part in message_from_bytes(head + b"".join(self._unread)).get_payload():
                if part.get_filename():
                    raise EngineError("Code: 48. DB::Exception: No external tables here. (NOT_IMPLEMENTED)")
                name = part.get_param("name", header="content-disposition")
                params[str(name)] = part.get_payload(decode=True).decode()

    def _user(self, params: Mapping[str, str]) -> tuple[str, int]:
        """Who asks, and that user's readonly level."""
        name = self.headers.get("X-ClickHouse-User") or params.get("user", "default")
        password = self.headers.get("X-ClickHouse-Key") or params.get("password", "")
        kind, _, secret = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, _, password = base64.b64decode(secret).decode().partition(":")
        expected = self.server.users.get(name)
        if expected is None or expected[0] != password:
            text = f"Code: 516. DB::Exception: {name}: Authentication failed: password is incorrect, "
            raise EngineError(text + "or there is no user with such name. (AUTHENTICATION_FAILED)")
        return name, expected[1]

    def _statement(self, params: dict[str, str], readonly: int) -> None:
        self.query_id = params.get("query_id") or str(uuid.uuid4())
        try:
            user, level = self._user(params)
            self._form(params)
            self._run(params, user, level or readonly)
        except EngineError as error:
            status = next((status for status, codes in STATUSES.items() if error.code in codes), 500)
            self._plain(status, str(error), {"X-ClickHouse-Exception-Code": str(error.code)})

    def _run(self, params: dict[str, str], user: str, readonly: int) -> None:
        sql, form, data = _split(params.get("query", "").encode(), self._decoded())
        settings = {k: v for k, v in params.items() if k not in NOT_SETTINGS and not k.startswith("param_")}
        self._fault = self.server.faults.take(
            sql.decode(errors="replace"),
            {"user": user, "database": params.get("database", ""), "settings": settings, "time": time.time()},
        )
        if self._fault is not None and self._fault.kind == "swallow":
            return self._done(Result(bytes=sum(map(len, data))))
        if self._fault is not None and WHEN[self._fault.kind] == "before":
            return self._refuse(self._fault)
        with self.server.engine.handle(user, params.get("session_id", ""), readonly) as handle:
            handle.prepare(params.get("database", ""), settings)
            values = {key[6:]: value for key, value in params.items() if key.startswith("param_")}
            if form:
                result = handle.insert(sql.decode(), form, self._cut(data))
                self._done(result)
            elif _ANSWERS.match(_bare(sql)):
                self._select(handle, sql.decode(), params, values)
            else:
                _single(handle, sql)
                text, result = handle.run(sql, values)
                self._done(result, text)

    def _decoded(self) -> Iterator[bytes]:
        encoding = self.headers.get("Content-Encoding")
        return _decoded(self._unread, DECODERS[encoding]) if encoding else self._unread

    # Answers

    def _select(self, handle: Handle, sql: str, params: Mapping[str, str], values: Mapping[str, str]) -> None:
        _single(handle, sql.encode())
        sql = sql.rstrip().removesuffix(";").rstrip()
        form = params.get("default_format", "TabSeparated")
        if found := _FORMAT.search(sql):
            form, sql = found[1], sql[: found.start()] + (found[2] or "")
        result = Result()
        pieces = self._broken(handle.select(sql, form, values, result))
        wait = params.get("wait_end_of_query") == "1"
        encoding = self._encoding(params)
        try:
            with tempfile.SpooledTemporaryFile(16 * PIECE_BYTES) as held:
                whole = _hold(pieces, held, None if wait else PIECE_BYTES)
                self._head(form, encoding, _summary("read", result) if whole else _summary("read", Result()))
                self._stream(_of_file(held), pieces, ENCODERS[encoding]() if encoding else None)
        finally:
            pieces.close()

    def _stream(self, held: Iterator[bytes], pieces: Iterator[bytes], encoder: Any) -> None:
        """Send what is held and what follows; an error on the way ends the answer as ClickHouse's does."""
        try:
            for source in (held, pieces):
                for piece in source:
                    self._chunk(encoder.compress(piece) if encoder else piece)
            self._chunk(encoder.flush() if encoder else b"")
            self._hang_up("answer")
            self.wfile.write(b"0\r\n\r\n")
        except EngineError as error:
            text = str(error).encode()
            mark = f"\r\n__exception__\r\n{self._tag}\r\n".encode()
            mark += text + f"{len(text)} {self._tag}\r\n__exception__\r\n".encode()
            self._chunk(encoder.compress(mark) + encoder.flush() if encoder else mark)
            raise HungUpError from None

    def _encoding(self, params: Mapping[str, str]) -> str:
        if params.get("enable_http_compression") != "1":
            return ""
        accepted = {part.split(";")[0].strip() for part in self.headers.get("Accept-Encoding", "").split(",")}
        return next((name for name in ENCODERS if name in accepted), "")

    def _head(self, form: str, encoding: str, summary: Mapping[str, str]) -> None:
        self._tag = secrets.token_hex(8)
        self.send_response(200)
        for name, value in self._clickhouse(summary).items():
            self.send_header(name, value)
        if form:
            self.send_header("X-ClickHouse-Format", form)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("X-ClickHouse-Exception-Tag", self._tag)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _clickhouse(self, summary: Mapping[str, str]) -> dict[str, str]:
        return {
            "X-ClickHouse-Summary": json.dumps(summary),
            "X-ClickHouse-Server-Display-Name": "front",
            "X-ClickHouse-Query-Id": self.query_id,
            "X-ClickHouse-Timezone": "UTC",
        }

    def _done(self, result: Result, text: bytes = b"") -> None:
        """Answer a statement that is over, with what it printed."""
        self._hang_up("executed")
        for _ in self._unread:
            pass
        self._wait()
        self._head("TabSeparated" if text else "", "", _summary("written", result))
        self._stream(iter([text]), iter([]), None)

    def _plain(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        for _ in self._unread:
            pass
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _chunk(self, data: bytes) -> None:
        if not data:
            return
        self._wait()
        fault = self._fault
        if fault is not None and fault.kind == "drop" and self._sent + len(data) > fault.after_bytes:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data[: fault.after_bytes - self._sent])
            self._hang_up("answer")
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self._sent += len(data)

    # Faults

    def _refuse(self, fault: Fault) -> None:
        if fault.kind == "error":
            raise EngineError(fault.error_text())
        self._plain(fault.status, HTTPStatus(fault.status).phrase, {"Connection": "close"})

    def _hang_up(self, when: str) -> None:
        if self._fault is not None and WHEN[self._fault.kind] == when:
            raise HungUpError

    def _wait(self) -> None:
        if self._fault is not None and self._fault.kind == "slow":
            self._fault.cleared.wait(self._fault.delay_s)

    def _cut(self, data: Iterator[bytes]) -> Iterator[bytes]:
        """The data to insert, until the fault says to hang up."""
        got = 0
        for piece in data:
            got += len(piece)
            self._wait()
            if self._fault is not None and got > self._fault.after_bytes:
                self._hang_up("data")
            yield piece

    def _broken(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The result, until the fault says that it fails."""
        got = 0
        fault = self._fault
        with closing(pieces):
            for piece in pieces:
                got += len(piece)
                if fault is not None and fault.kind == "error_midway" and got > fault.after_bytes:
                    yield piece[: fault.after_bytes - got]
                    raise EngineError(fault.error_text())
                yield piece
        self._hang_up("executed")


def _summary(verb: str, result: Result) -> dict[str, str]:
    counts = {"read_rows": 0, "read_bytes": 0, "written_rows": 0, "written_bytes": 0, "total_rows_to_read": 0}
    counts |= {f"{verb}_rows": result.rows, f"{verb}_bytes": result.bytes}
    return {name: str(count) for name, count in counts.items()}


def _bare(sql: bytes) -> bytes:
    """A statement without the blanks and comments before it."""
    at = 0
    while found := _COMMENT.match(sql, at):
        at = found.end()
    return sql[at:]


def _split(query: bytes, body: Iterator[bytes]) -> tuple[bytes, str, Iterator[bytes]]:
    """Statement, format and data of an insert; of any other statement no format and no data."""
    text = query + b"\n" if query else b""
    while (found := _insert_of_data(text)) is None:
        if (piece := next(body, None)) is None:
            return text, "", iter(())
        text += piece
    return found[1], found[2].decode(), _chain(text[found.end() :], body)


def _insert_of_data(text: bytes) -> re.Match[bytes] | None:
    """The head of an insert with data in some format, up to its line's end."""
    if not _INSERT.match(_bare(text[:PIECE_BYTES])):
        return None
    found = _DATA.match(text[:PIECE_BYTES])
    if found and not re.search(rb"\b(VALUES|SELECT)\b", _NAMED.sub(b"", found[1]), re.IGNORECASE):
        return found
    return None


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _decoded(pieces: Iterator[bytes], make: Callable[[], Any]) -> Iterator[bytes]:
    decoder = make()
    for piece in pieces:
        while piece:
            if data := decoder.decompress(piece):
                yield data
            piece = b""
            if decoder.eof:
                piece = decoder.unused_data or b""
                decoder = make()


def _hold(pieces: Iterator[bytes], held: IO[bytes], most: int | None) -> bool:
    """Take pieces until there are `most` bytes; whether that was all."""
    for piece in pieces:
        held.write(piece)
        if most is not None and held.tell() >= most:
            return False
    return True


def _of_file(held: IO[bytes]) -> Iterator[bytes]:
    held.seek(0)
    while piece := held.read(PIECE_BYTES):
        yield piece


def _single(handle: Handle, sql: bytes) -> None:
    """Refuse several statements at once, as a server does and the embedded engine does not."""
    if b";" not in sql.rstrip().removesuffix(b";"):
        return
    try:
        handle.run("SELECT formatQuerySingleLine(" + quoted(sql.decode()) + ")")
    except EngineError as error:
        if error.code == 62:
            raise EngineError(str(error).split(" : In scope")[0]) from None
