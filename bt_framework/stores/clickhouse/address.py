"""Where a ClickHouse database is: a server's URL, or a folder of chDB."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name

DATABASE = "bt"
"""Where the URL names none."""

FORMS = "http(s)://host:port/database or chdb:///folder"

_VARIABLE = "BT_CLICKHOUSE_URL"
_PORTS = {"http": 8123, "https": 8443}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_RESERVED = ("system", "information_schema")
_BARE = re.compile(r"[\w:/.@-]+")
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Address:
    """A database of ClickHouse.

    Attributes
    ----------
    database : str
        An identifier.
    folder : Path or None
        Of chDB, absolute; None for a server.
    host, port, secure
        Of the server, and whether it speaks TLS.
    user, password : str
        As in the environment's URL; empty where the credentials are found elsewhere.
    ca_cert : str
        File of the authority that signed the server's certificate; empty for those that the system trusts.
    verify : bool
        Whether the certificate is checked.
    from_environment : bool
        Whether ``$BT_CLICKHOUSE_URL`` says so, and nothing has to be written in a command.
    """

    database: str = DATABASE
    folder: Path | None = None
    host: str = ""
    port: int = 0
    secure: bool = False
    user: str = ""
    password: str = field(default="", repr=False, metadata={"secret": True})
    ca_cert: str = ""
    verify: bool = True
    from_environment: bool = False

    @property
    def embedded(self) -> bool:
        """Whether it is chDB, in this process."""
        return self.folder is not None

    @property
    def name(self) -> str:
        """For people: the URL without user and options, or the folder."""
        if self.folder is not None:
            return f"{self.folder}" + (f" ({self.database})" if self.database != DATABASE else "")
        return f"http{'s' if self.secure else ''}://{self._host_port}/{self.database}"

    @property
    def title(self) -> str:
        """What it is and where, for messages."""
        return f"{'chDB in' if self.embedded else 'ClickHouse at'} {self.name}"

    @property
    def url(self) -> str:
        """The URL without a password."""
        if self.folder is not None:
            options = {} if self.database == DATABASE else {"database": self.database}
            base = f"chdb://{quote(str(self.folder))}"
        else:
            options = {"ca_cert": self.ca_cert} if self.ca_cert else {}
            options |= {} if self.verify else {"verify": "false"}
            user = f"{quote(self.user, safe='')}@" if self.user else ""
            base = f"http{'s' if self.secure else ''}://{user}{self._host_port}/{self.database}"
        return base + (f"?{urlencode(options, safe='/')}" if options else "")

    @property
    def argument(self) -> str:
        """What a `bt db` command needs to find it: empty, or `` url=...`` with a space before it."""
        if self.from_environment:
            return ""
        return f" url={self.url}" if _BARE.fullmatch(self.url) else f" \"url='{self.url}'\""

    @property
    def _host_port(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address_of(url: str, store_dir: str | Path) -> Address:
    """Return the address that `url` says.

    Parameters
    ----------
    url : str
        ``http(s)://host:port/database?ca_cert=FILE&verify=...`` or ``chdb:///folder?database=bt``; empty for
        ``$BT_CLICKHOUSE_URL``, else chDB in the folder ``clickhouse`` of `store_dir`.

    Raises
    ------
    ConfigError
        If it is no such URL, or holds a password: a configuration is stored with the run.
    """
    if url:
        return _parsed(url, "url", may_hold_password=False)
    named = os.environ.get(_VARIABLE)
    if named:
        return _parsed(named, f"${_VARIABLE}", may_hold_password=True)
    return Address(folder=Path(store_dir).expanduser().absolute() / "clickhouse")


def _parsed(url: str, where: str, *, may_hold_password: bool) -> Address:
    """The address that a URL says; its text is in no message, since it may hold a password."""
    try:
        url.encode()
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{where} must be {FORMS}, with a port up to 65535.") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.password is not None and not may_hold_password:
        raise ConfigError(
            f"{where} must not hold a password: it is stored with each run. Set $BT_CLICKHOUSE_USER and "
            "$BT_CLICKHOUSE_PASSWORD, or write them into a secrets file, and leave it out of the URL."
        )
    if parts.scheme == "chdb":
        return _embedded(parts, options, where, not may_hold_password)
    if parts.scheme not in _PORTS or not _HOST.fullmatch(parts.hostname or ""):
        raise ConfigError(f"{where} must be {FORMS}, was of another form.")
    known = ("ca_cert", "verify") if parts.scheme == "https" else ()
    for key in options:
        if not known:
            raise ConfigError(
                f"{where}: a URL of http has no options, those of TLS go with https://; was {key[:80]!r}."
            )
        if key not in known:
            raise ConfigError(f"{where}: {unknown_name('the option of https URLs', key, known)}")
    return Address(
        database=_database(unquote(parts.path.strip("/")) or DATABASE, where),
        host=str(parts.hostname),
        port=_PORTS[parts.scheme] if port is None else port,
        secure=parts.scheme == "https",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        ca_cert=str(Path(options["ca_cert"]).expanduser()) if options.get("ca_cert") else "",
        verify=_truth(options.get("verify", "true"), f"verify in {where}"),
        from_environment=may_hold_password,
    )


def _embedded(parts: SplitResult, options: dict[str, str], where: str, named_in_command: bool) -> Address:
    folder = Path(unquote(parts.path))
    if parts.netloc or not (folder.is_absolute() and folder.name):
        raise ConfigError(
            f"{where}: the folder of chDB must be absolute, as in chdb:///data/clickhouse with three slashes."
        )
    for key in options:
        if key != "database":
            raise ConfigError(f"{where}: {unknown_name('the option of chdb URLs', key, ('database',))}")
    database = _database(options.get("database", DATABASE), where)
    if "\0" in str(folder):
        raise ConfigError(f"{where}: the folder of chDB must be a path, was one with a zero byte.")
    return Address(database=database, folder=folder, from_environment=not named_in_command)


def _database(name: str, where: str) -> str:
    if not _IDENTIFIER.fullmatch(name) or name.lower() in _RESERVED:
        raise ConfigError(
            f"the database in {where} must be a name of letters, digits and underscores that does not begin with a "
            f"digit and is not ClickHouse's own, was {name[:80]!r}."
        )
    return name


def _truth(text: str, name: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ConfigError(f"{name} must be true or false, was {text[:20]!r}.")
    return _TRUTH[text.lower()]
