"""The version of a database's tables, and how an older one becomes that of this program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from bt_framework.stores.relational import HEAD, REVISIONS
from bt_framework.stores.relational.database import Database, create
from bt_framework.stores.relational.sqlite_file import OutdatedError

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class SchemaStatus:
    """What there is in a database.

    Attributes
    ----------
    name : str
        The database, for people.
    revision, head : str
        Version of its tables, empty if there are none, and that of this program.
    rows : mapping of str to int
        Of each table of this program that is there.
    """

    name: str
    revision: str
    head: str
    rows: Mapping[str, int]

    @property
    def is_current(self) -> bool:
        """Whether this program can use it as it is."""
        return self.revision == self.head


def status(database: Database) -> SchemaStatus:
    """Look at a database and change nothing.

    Raises
    ------
    StorageError
        If it cannot be read, or a newer version of this program has made it.
    """
    from sqlalchemy import func, inspect, select

    from bt_framework.stores.relational.tables import METADATA

    rows: dict[str, int] = {}
    with database.connected() as connection:
        found = database.checked_revision(connection)
        if connection is not None and found:
            there = set(inspect(connection).get_table_names())
            for table in METADATA.sorted_tables:
                if table.name in there:
                    count = connection.execute(select(func.count()).select_from(table)).scalar_one()
                    rows[table.name] = int(count)
    return SchemaStatus(database.name, found, HEAD, rows)


def upgrade(database: Database) -> list[str]:
    """Give a database the tables of this program, without loss, and return the versions that it went through.

    Processes that come at once wait for each other; one that is killed leaves the database as it was.

    Raises
    ------
    StorageError
        If it cannot be written, or a newer version of this program has made it.
    """
    if database.is_sqlite:
        is_new = not database.file.path.exists()
        try:
            database.file.prepare()
            return list(REVISIONS) if is_new else []
        except OutdatedError:
            pass
    with database.connected(writes=True) as connection:
        assert connection is not None
        database.take_turn(connection)
        found = database.checked_revision(connection)
        if found == HEAD:
            return []
        if found:
            _migrate(connection, found)
        else:
            create(connection)
    return [revision for revision in REVISIONS if revision > found]


def _migrate(connection: Connection, found: str) -> None:
    """Run the scripts after the version `found`, within the connection's transaction."""
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    config = Config()
    folder = str(files("bt_sql").joinpath("relational"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    if found in REVISIONS and MigrationContext.configure(connection).get_current_revision() is None:
        command.stamp(config, found)
    command.upgrade(config, "head")
