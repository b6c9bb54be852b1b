"""ClickHouse's errors in our words: what, where, was, fix, and no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse.address import Address

_LONGEST = 300
_CODE = re.compile(r"\bCode: (\d+)\b|exception, code: (\d+)")
_STATUS = re.compile(r"HTTP status (\d+)")
_TRAILERS = re.compile(r"\s*\((version|for url) .*$", re.DOTALL)
_SYMBOL = re.compile(r"[.\s]*\s\([A-Z_]+\)$")
_SHORTEST_SECRET = 4
"""A shorter one would be found in the middle of any word."""
_BUSY_STATUS = ("429", "500", "502", "503", "504")
_NO_SPACE = re.compile(r"no space left|not enough space|disk quota exceeded|errno: ?28\b", re.IGNORECASE)
_READ_ONLY = re.compile(r"^Setting \w+ is readonly", re.IGNORECASE)


class UnreachableError(StorageError):
    """The server did not answer, broke off or was too busy: the same request may succeed later."""


_TROUBLES: dict[int, tuple[str, str]] = {
    36: ("refused the request", ""),
    60: ("has not all tables", "Make them: bt db migrate{argument}"),
    62: ("cannot read the statement", ""),
    81: ("has no database {database}", "Make it: bt db migrate{argument}"),
    164: ("is read-only for this user", "Use a user that may write, or ask the administrator for the right."),
    192: ("refused the user or password", "{credentials}"),
    193: ("refused the user or password", "{credentials}"),
    194: ("refused the user or password", "{credentials}"),
    241: ("is out of memory", "Ask for less at once, or give it more memory."),
    242: ("is read-only at the moment", "Look into the server's log: its disk may be full or broken."),
    243: ("is out of disk space", "Free space there and try again."),
    497: ("does not let this user do that", "Ask the administrator for the right: GRANT ... ON {database}.*"),
    516: ("refused the user or password", "{credentials}"),
    538: ("gave up", "Its folders may be read-only or full; look into its log."),
}
"""By ClickHouse's code: what is wrong and what helps."""

_PASSING = {
    159: "took longer than it may",
    202: "is too busy",
    203: "has too many connections",
    209: "did not answer in time",
    210: "lost a connection",
    236: "stopped the request",
    252: "is too busy merging",
    279: "lost its connections",
    373: "is still at work on this session",
    394: "stopped the request",
    439: "has no thread left",
    425: "has trouble with its system",
    999: "lost its keeper",
}
"""By ClickHouse's code: troubles that pass."""


def explain(error: BaseException, address: Address, secrets: Sequence[str] = ()) -> StorageError:
    """Return the error in our words: an `UnreachableError` if it may pass by itself.

    Parameters
    ----------
    secrets : sequence of str
        What must not be in the message, wherever it comes from.
    """
    where = address.title
    text = _text(error, secrets)
    code = _code(error)
    if _NO_SPACE.search(text):
        code = 243
    elif _READ_ONLY.search(text):  # the client itself says so, without a code
        code = 164
    if code in _PASSING:
        return UnreachableError(f"{where} {_PASSING[code]} (code {code}: {text}). Try again later.")
    if code is not None:
        problem, fix = _TROUBLES.get(code, ("refused the request", ""))
        problem = problem.format(database=address.database)
        return StorageError(_sentence(where, problem, f"code {code}: {text}", fix, address))
    status = _STATUS.search(str(error))
    if status:
        kind = UnreachableError if status[1] in _BUSY_STATUS else StorageError
        fix = "Try again later." if kind is UnreachableError else "Check that ClickHouse answers at this URL."
        return kind(_sentence(where, f"answered with HTTP status {status[1]}", "", fix, address))
    if not address.embedded and any(_is_transport(cause) for cause in _causes(error)):
        return _broken_connection(error, address, secrets)
    if isinstance(error, OSError):
        fix = "Free space there and in the folder of temporary files, and try again."
        return StorageError(_sentence(where, "cannot be written", text, fix, address))
    return StorageError(_sentence(where, "cannot be used", text, "", address))


def _broken_connection(error: BaseException, address: Address, secrets: Sequence[str]) -> StorageError:
    """The words for what lies between us and the server."""
    where, causes = address.title, list(_causes(error))
    names = {type(cause).__name__ for cause in causes}
    text = _text(causes[-1], secrets)
    if "SSLError" in names or any(name.startswith("SSL") for name in names):
        return StorageError(_sentence(where, "cannot be trusted", text, _tls_fix(text, address), address))
    if names & {"NameResolutionError", "gaierror"}:
        problem, fix = f"cannot be found: no host is called {address.host}", "Check the URL and the network."
    elif names & {"ConnectTimeoutError", "NewConnectionError", "ConnectionRefusedError"}:
        refused = "refused" in text.lower()
        problem = f"cannot be reached: {'the connection was refused' if refused else 'nothing answers'}"
        fix = "Check the URL, and that the server is running."
    elif names & {"ReadTimeoutError", "TimeoutError"}:
        problem, fix = "did not answer in time", "Try again later, or ask for less."
    else:
        tls = "" if address.secure else ", and that it is not one for https"
        problem = "broke off the connection"
        fix = f"Try again later; check that the port is ClickHouse's for HTTP{tls}."
    return UnreachableError(_sentence(where, problem, "", fix, address))


def _is_transport(error: BaseException) -> bool:
    """Whether it comes from the network, or from a result that broke off."""
    home = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or home in ("urllib3", "http", "pyarrow")


def _tls_fix(text: str, address: Address) -> str:
    if "wrong version number" in text.lower() or "record layer" in text.lower():
        return "The port does not speak TLS: write http:// or the port for https, often 8443."
    if "hostname mismatch" in text.lower() or "doesn't match" in text.lower():
        return "The certificate is another host's: write the host that it names."
    return "Name the file of the authority that signed its certificate: ?ca_cert=FILE in the URL."


def _sentence(where: str, problem: str, detail: str, fix: str, address: Address) -> str:
    credentials = (
        "Set $BT_CLICKHOUSE_USER and $BT_CLICKHOUSE_PASSWORD, or write them into the secrets file (see "
        "docs/clickhouse.md)."
    )
    fix = fix.format(argument=address.argument, database=address.database, credentials=credentials)
    detail = f" ({detail})" if detail else ""
    return f"{where} {problem}{detail}.{f' {fix}' if fix else ''}"


def _code(error: BaseException) -> int | None:
    for cause in _causes(error):
        code = getattr(cause, "code", None)
        if isinstance(code, int):
            return code
        found = _CODE.search(str(cause))
        if found:
            return int(found[1] or found[2])
    return None


def _text(error: BaseException, secrets: Sequence[str]) -> str:
    """What the server says, on one line, without its version, our URL and secrets."""
    text = str(error)
    _, said, rest = text.rpartition("DB::Exception: ")
    text = " ".join(_TRAILERS.sub("", rest if said else text).split())
    text = _SYMBOL.sub("", text).rstrip(".")
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it came from, the last one first cause."""
    seen: set[int] = set()
    current: object = error
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = getattr(current, "reason", None) or current.__cause__ or current.__context__
