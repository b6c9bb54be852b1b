"""Addresses of relational databases: where they may come from, and how they are shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL

POSTGRES_VARIABLE = "BT_POSTGRES_URL"
RESEARCH_VARIABLE = "BT_RESEARCH_URL"
_EXAMPLE = "postgresql://host/database"
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_OPTIONS = ("host", "port", "options", "sslmode", "sslrootcert", "target_session_attrs")
"""What a configuration may ask of libpq; none of these is a secret, or a file that is more than a certificate."""


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    from sqlalchemy import URL

    return str(URL.create("sqlite", database=str(path.expanduser().absolute())))


def postgres_url(url: str, key: str = "store.url") -> str:
    """Return the address of a PostgreSQL database: `url` of the configuration, else that of the environment.

    Raises
    ------
    ConfigError
        If there is none, or a configuration holds a password: it is kept with each run.
    """
    from_environment = not url
    url = url or os.environ.get(POSTGRES_VARIABLE, "")
    where = f"${POSTGRES_VARIABLE}" if from_environment else key
    if not url:
        raise ConfigError(
            f"{key} must be the address of a PostgreSQL database, was empty. Write {key}={_EXAMPLE} or set "
            f"${POSTGRES_VARIABLE}."
        )
    parsed = parse(url, where)
    if parsed.get_backend_name() != "postgresql":
        raise ConfigError(f"{where} must begin with postgresql://, was {parsed.get_backend_name()}://.")
    if not from_environment:
        _refuse_secrets(parsed, key)
    return url


def parse(url: str, where: str = "the address of the database") -> URL:
    """Read a URL; `where` names its source for the message, which does not repeat it.

    Raises
    ------
    ConfigError
        If it is none, or of another kind of database.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url.encode()
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"{where} must be a URL such as sqlite:////folder/research.sqlite or {_EXAMPLE}."
        ) from None
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    if driver.partition("+")[0] not in ("sqlite", "postgresql"):
        raise ConfigError(f"{where} must be sqlite or postgresql, was {parsed.drivername!r}.")
    return parsed.set(drivername=driver)


def shown(url: URL) -> str:
    """Return the file, or the address without password and options, for people."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    bare = url._replace(drivername="postgresql", password=None).difference_update_query(list(url.query))
    return bare.render_as_string()


def _refuse_secrets(url: URL, key: str) -> None:
    if url.password is not None or "password" in url.query:
        raise ConfigError(
            f"{key} must hold no password: configurations are kept with their runs. Put it into ~/.pgpass or "
            f"$PGPASSWORD, or the whole address into ${POSTGRES_VARIABLE}."
        )
    for option in url.query:
        if option not in _OPTIONS:
            raise ConfigError(
                f"{key} may have the options {', '.join(_OPTIONS)}, was {option!r}. Set others in "
                f"${POSTGRES_VARIABLE}."
            )
