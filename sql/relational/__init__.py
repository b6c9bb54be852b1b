"""The schema of relational databases: its versions for Alembic, and statements compiled for SQLite."""
