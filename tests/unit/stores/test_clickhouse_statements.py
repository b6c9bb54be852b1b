"""A text of SQL is split at its semicolons and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.stores.clickhouse._statements import statements


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ;;\n; ", []),
        ("-- only; a comment\n/* and; one\n more */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT 2 ;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'", ["SELECT ';'"]),
        (r"SELECT 'it\'s; one'", [r"SELECT 'it\'s; one'"]),
        ("SELECT 'it''s; one'", ["SELECT 'it''s; one'"]),
        ('SELECT ";" , `;`', ['SELECT ";" , `;`']),
        ("SELECT 1 -- a; b\n; SELECT 2", ["SELECT 1 -- a; b", "SELECT 2"]),
        ("SELECT /* ; ' */ 1; DROP TABLE t", ["SELECT /* ; ' */ 1", "DROP TABLE t"]),
        ("SELECT '--'; DROP TABLE t", ["SELECT '--'", "DROP TABLE t"]),
        ("SELECT 1 -- it's\n; DROP TABLE t", ["SELECT 1 -- it's", "DROP TABLE t"]),
    ],
)
def test_statements_end_at_semicolons_outside_of_quotes_and_comments(text: str, found: list[str]) -> None:
    assert statements(text) == found


@given(st.lists(st.sampled_from(["'", '"', "`", "\\", ";", "--", "\n", "/*", "*/", "a", " "]), max_size=25))
def test_no_text_is_lost(parts: list[str]) -> None:
    text = "".join(parts)
    found = statements(text)
    rest = text
    for statement in found:
        assert statement in rest
        rest = rest[rest.index(statement) + len(statement) :]
