"""How sources of bars are configured that ask a server; light, as `bt_framework.bars.config`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bt_framework.bars.config import BarSourceConfig, check_time_format, check_time_zone
from bt_framework.config.schema import Duration, param
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_PLACE = re.compile(r"\{(\w*)\}")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass
class BarServerConfig(BarSourceConfig):
    """Base of the configuration of sources that ask a server.

    The key to the server is not in the configuration: ``secret_env`` names the environment variable that holds it.
    It is sent as the header ``secret_header``, and put where the address has ``{secret}``.
    """

    url: str = param("", "address, with {symbol} and other places to fill in")
    symbols: list[str] = param([], "what to ask for")
    rows: str = param("", "where in an answer the bars are, as data.items; empty: the answer itself")
    columns: dict[str, str] = param(
        {}, "key of time, open, high, low, close, volume in a bar, or its place from 0; as k.t or 4"
    )
    time_format: str = param(
        "auto", "auto, iso, yyyymmdd, s, ms, us or ns since 1970, or a pattern such as %d/%m/%Y"
    )
    time_zone: str = param("UTC", "of times that do not say theirs, as America/New_York; days stay days")
    headers: dict[str, str] = param({}, "sent along; hidden in what is kept of a run", secret=True)
    secret_env: str = param(
        "", "environment variable with the key to the server; empty: none is needed", secret=True
    )
    secret_header: str = param("Authorization", "header that the key is sent in; empty: the url has {secret}")
    secret_prefix: str = param("", "what comes before the key in its header, as 'Bearer '")
    retries: int = param(5, "attempts after a first one that failed for the moment")
    backoff_ns: Duration = param(
        "500ms", "longest wait before the second attempt; it doubles each time", unit="ns"
    )
    max_wait_ns: Duration = param(
        "60s", "longest wait of all, also of those that the server asks for", unit="ns"
    )
    timeout_ns: Duration = param("30s", "longest silence of the server", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not all(self.symbols) or len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"symbols must be different names, was {self.symbols}.")
        for key in ("backoff_ns", "max_wait_ns", "timeout_ns"):
            if getattr(self, key) <= 0:
                raise ConfigError(f"{key} must be > 0, was {getattr(self, key)}.")
        if not 0 <= self.retries <= 100:
            raise ConfigError(f"retries must be between 0 and 100, was {self.retries}.")
        if self.secret_env and not _VARIABLE.fullmatch(self.secret_env):
            # It may be the key itself, so it is not shown.
            raise ConfigError("secret_env must be the name of an environment variable, not the key itself.")
        if "{secret}" in self.url and not self.secret_env:
            raise ConfigError("secret_env must name the environment variable that fills {secret}, was ''.")
        check_time_format(self.time_format)
        check_time_zone(self.time_zone)

    def require(self, keys: Iterable[str], columns: Iterable[str]) -> None:
        """Refuse to build without values for `keys` and `columns`.

        Raises
        ------
        ConfigError
            Names the key.
        """
        for key in keys:
            if not getattr(self, key):
                raise ConfigError(
                    f"bars.{key} must be given for bars={self.name}, was {getattr(self, key)!r}."
                )
        for key in columns:
            if not self.columns.get(key):
                raise ConfigError(
                    f"bars.columns.{key} must be given for bars={self.name}: the key, or the place from 0, of the"
                    f" {key} in a bar."
                )

    def check_columns(self, known: Sequence[str]) -> None:
        """Refuse columns that are not known.

        Raises
        ------
        ConfigError
            Lists what there is.
        """
        for key in self.columns:
            if key not in known:
                raise ConfigError(unknown_name("columns", key, known))

    def check_url(self, schemes: Sequence[str], places: Sequence[str]) -> None:
        """Refuse addresses of other kinds, passwords in them, places that nothing fills, and keys sent in the clear.

        Raises
        ------
        ConfigError
            Does not show the password.
        """
        if not self.url:
            return
        try:
            parts = urlsplit(self.url)
            host = parts.hostname or ""
        except ValueError:
            raise ConfigError("url must be an address, and is none.") from None
        if parts.username is not None or parts.password is not None:
            raise ConfigError("url must hold no user and password. Put the key into an environment variable.")
        if parts.scheme not in schemes or not host or _PLACE.search(parts.netloc):
            raise ConfigError(
                f"url must begin with {' or '.join(f'{s}://HOST' for s in schemes)}, was {self.url!r}."
            )
        for place in _PLACE.findall(self.url):
            if place not in places:
                raise ConfigError(unknown_name("url's places", place, places))
        if self.secret_env and parts.scheme in ("http", "ws") and host not in _THIS_MACHINE:
            raise ConfigError(f"url must begin with {schemes[-1]}:// where a key is sent, was {self.url!r}.")
