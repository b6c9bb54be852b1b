"""Types that every database has, and what tables are declared in. Import this where it is used: it needs SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Double,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant to the microsecond: a timestamp with time zone, or UTC as text where there is no such type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return `value` in UTC; one without a time zone is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time must have a time zone, was {value.isoformat()}.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return `value` as an instant in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_1_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""All tables, once `bt_framework.stores.relational.tables` has been imported."""

VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""One row: the version of the schema. The table is Alembic's, and not one of `METADATA`."""

WORD = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared by code points everywhere, as Python and SQLite compare it: pairs depend on the order."""


def name(key: str) -> Column[str]:
    """Return a column of text that one looks for."""
    return Column(key, WORD, nullable=False)


def time(key: str) -> Column[datetime]:
    """Return a column of instants."""
    return Column(key, UtcDateTime(), nullable=False)


def number(key: str) -> Column[float]:
    """Return a column whose null is what is undefined."""
    return Column(key, Double())
