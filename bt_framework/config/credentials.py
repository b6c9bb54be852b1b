"""User and password of a database: from the environment, else from a file that only its owner reads.

They are never part of a configuration, which is stored with each run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name

_KEYS = ("user", "password")


@dataclass(frozen=True)
class Credentials:
    """User and password; both are empty where nobody has said anything."""

    user: str = ""
    password: str = field(default="", repr=False, metadata={"secret": True})


def find(service: str, host: str) -> Credentials:
    """Return the credentials for a server.

    ``$BT_<SERVICE>_USER`` and ``$BT_<SERVICE>_PASSWORD`` come first, then the secrets file: its section
    ``[service."host:port"]``, then ``[service."host"]``, then ``[service]``.

    Parameters
    ----------
    service : str
        Such as "clickhouse".
    host : str
        ``host:port``, or a host.

    Raises
    ------
    ConfigError
        If the secrets file can be read by others, or is not what it should be. No message holds a secret.
    """
    prefix = f"BT_{service.upper()}_"
    values = {key: os.environ.get(prefix + key.upper(), "") for key in _KEYS}
    if any(values.values()):
        return Credentials(**values)
    path = secrets_file()
    section = _read(path).get(service, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{service} in {path} must be a section, with a line [{service}].")
    for name in (host, host.rpartition(":")[0]):
        if isinstance(section.get(name), dict):
            return _credentials(section[name], f'[{service}."{name}"] in {path}')
    common = {key: value for key, value in section.items() if not isinstance(value, dict)}
    return _credentials(common, f"[{service}] in {path}")


def secrets_file() -> Path:
    """Return where the secrets file is: ``$BT_SECRETS_FILE``, else ``secrets.toml`` in the user's configuration."""
    from platformdirs import user_config_path

    named = os.environ.get("BT_SECRETS_FILE")
    return Path(named).expanduser() if named else user_config_path("bt", appauthor=False) / "secrets.toml"


def _read(path: Path) -> dict[str, Any]:
    """What the secrets file says; nothing if there is none and nobody named one."""
    import tomllib

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & 0o077:
                raise ConfigError(
                    f"{path} must be readable by its owner only, was open to others (mode {mode & 0o777:o}). "
                    f"Change that: chmod 600 {path}"
                )
            return tomllib.load(file)
    except FileNotFoundError:
        if not os.environ.get("BT_SECRETS_FILE"):
            return {}
        raise ConfigError(f"$BT_SECRETS_FILE must name a file, was {path}, which does not exist.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        # The parser's own words end in the place; what comes before may quote the file.
        _, at, place = str(error).rpartition("(at ")
        raise ConfigError(f"{path} must be TOML{f', was not ({at[1:]}{place}' if at else ''}.") from None


def _credentials(section: dict[str, Any], where: str) -> Credentials:
    for key, value in section.items():
        if key not in _KEYS:
            raise ConfigError(f"{where}: {unknown_name('the key', key, _KEYS)}")
        if not isinstance(value, str):
            raise ConfigError(f'{where}: {key} must be text in quotes: {key} = "..."')
    return Credentials(**section)
