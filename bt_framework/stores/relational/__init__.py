"""Runs and research in a relational database: one schema, SQLite or PostgreSQL."""

from __future__ import annotations

REVISIONS = ("0001", "0002", "0003")
"""Versions of the schema, oldest first: the scripts in ``sql/relational/versions``."""

HEAD = REVISIONS[-1]
"""The version that this program reads and writes."""
