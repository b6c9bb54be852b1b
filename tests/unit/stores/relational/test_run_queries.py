"""Questions about runs: both databases answer what plain Python does, for every field and operator."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bt_framework.errors import ConfigError
from bt_framework.results.rows import metrics_row, run_row
from bt_framework.results.run import Status
from bt_framework.stores.base import ORDERS, RunQuery
from bt_framework.stores.filters import (
    FIELDS,
    OPERATORS,
    PREFIX_FIELDS,
    TEXT_OPERATORS,
    And,
    Compare,
    Not,
    Or,
    field_value,
)
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.stores.relational.runs import RelationalStore, put_record
from bt_framework.stores.relational.sqlite import SqliteStore
from bt_framework.testing.store_contracts import sample_records

RECORDS = sample_records(60, Path("/runs"))
NOW = [record.as_of_now() for record in RECORDS]
"""The records as they are now: some of those that say that they are running are lost."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request, tmp_path_factory) -> RelationalStore:
    """Return a store with `RECORDS`."""
    if request.param == "sqlite":
        store = SqliteStore(tmp_path_factory.mktemp("queries") / "index.sqlite")
    else:
        server = request.getfixturevalue("postgres_server")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BT_POSTGRES_URL", server.url(server.new_database()))
            store = PostgresStore()
    with store.database.writing() as connection:
        for record in RECORDS:
            put_record(connection, record)
    return store


def ids(records) -> list[str]:
    return [record.run_id for record in records]


def check(store: RelationalStore, query: RunQuery) -> None:
    assert ids(store.select(query)) == ids(query.of(NOW)), query


def known_values(field: str) -> list:
    """Values that runs have, so that comparisons are true of some."""
    found = [field_value(record, field) for record in NOW]
    flat = [v for value in found for v in (value if isinstance(value, tuple) else (value,))]
    known = {v for v in flat if v is not None and not (isinstance(v, str) and not v.isprintable())}
    return sorted(known) or ["none" if FIELDS[field].type is str else 0]


def values(field: str) -> st.SearchStrategy:
    if field == "status":
        return st.sampled_from([str(s) for s in Status])
    known = st.sampled_from(known_values(field))
    if FIELDS[field].type is str:
        return known | known.map(lambda v: v[: len(v) // 2]) | st.sampled_from(["", "%", "'", "_", "\\"])
    near = known.map(lambda v: v + 1) | known.map(lambda v: v + 0.5) | known.map(float)
    return known | near | st.sampled_from([0, -0.0, 1e300, -(2**63) + 1, 2**63 - 1, 2**53 + 1, 0.1])


@st.composite
def comparisons(draw) -> Compare:
    field = draw(st.sampled_from(sorted(FIELDS)))
    op = draw(st.sampled_from(TEXT_OPERATORS if FIELDS[field].type is str else OPERATORS))
    value = values(field)
    return Compare(
        field, op, tuple(draw(st.lists(value, min_size=1, max_size=3))) if op == "in" else draw(value)
    )


CONDITIONS = st.recursive(
    comparisons(),
    lambda part: (
        st.builds(Not, part)
        | st.builds(And, st.lists(part, max_size=3).map(tuple))
        | st.builds(Or, st.lists(part, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.none() | CONDITIONS,
    order_by=st.sampled_from(ORDERS),
    descending=st.booleans(),
    limit=st.none() | st.integers(0, 70),
)
def test_a_store_answers_as_plain_python_does(store, where, order_by, descending, limit):
    check(store, RunQuery(where, order_by, descending, limit))


def test_every_operator_of_every_field_is_answered(store):
    from bt_framework.stores.relational.queries import ended_runs

    ended = [record for record in NOW if record.finished_at_ns]
    with store.database.reading() as connection:  # one for all: connecting takes most of the time
        for field in FIELDS:
            known = known_values(field)
            value = known[len(known) // 2]
            conditions = [
                Compare(field, op, (value, known[0]) if op == "in" else value)
                for op in (TEXT_OPERATORS if FIELDS[field].type is str else OPERATORS)
            ]
            if field in PREFIX_FIELDS:  # looked for as they are written
                conditions += [Compare(field, "==", text) for text in ("", "%", "_", known[-1].upper())]
            for query in map(RunQuery, conditions):
                found = connection.execute(ended_runs(query, connection.dialect.name))
                assert ids(found) == ids(query.of(ended)), query


def test_runs_are_sorted_by_every_column_and_those_without_a_value_come_last(store):
    for number, order_by in enumerate(ORDERS):
        query = RunQuery(None, order_by, descending=number % 2 == 0)
        found = store.select(query)
        assert ids(found) == ids(query.of(NOW))
        undefined = [field_value(r, order_by) is None for r in found]
        assert undefined == sorted(undefined), order_by


def test_the_records_tell_one_answer_from_another():
    for field in ("sharpe", "trades", "tag", "symbol", "status", "git_commit", "note", "started_at_ns"):
        assert len(known_values(field)) > 1, field
    assert {r.status for r in NOW} == set(Status)
    assert any(field_value(r, "sharpe") is None for r in NOW)


@pytest.mark.parametrize("limit", [-1, -5])
def test_a_query_that_reaches_no_database_is_refused(limit):
    with pytest.raises(ConfigError, match="limit must be >= 0"):
        RunQuery(limit=limit)
    with pytest.raises(ConfigError, match=r"shapre.*sharpe"):
        RunQuery(order_by="shapre")
    with pytest.raises(ConfigError, match="record"):
        RunQuery(order_by="record; DROP TABLE backtest_runs")


def test_a_filter_and_a_sort_over_ten_thousand_runs_take_less_than_half_a_second(tmp_path):
    from bt_framework.stores.relational.tables import METRICS, RUNS

    store = SqliteStore(tmp_path / "index.sqlite")
    rows = [(run_row(r), metrics_row(r)) for r in RECORDS if r.finished_at_ns]
    runs, metrics = [], []
    for number in range(10_000):
        run, measured = rows[number % len(rows)]
        own = {"run_id": f"run-{number:05d}"}
        runs.append(run | own | {"started_at_ns": run["started_at_ns"] + number})
        metrics.append(measured | own | {"sharpe": number % 977 / 100})
    with store.database.writing() as connection:
        connection.execute(RUNS.insert(), runs)
        connection.execute(METRICS.insert(), metrics)
    where = And(
        (Compare("sharpe", ">", 1), Compare("strategy", "==", "ou_pairs"), Compare("status", "!=", "failed"))
    )
    began = time.process_time()
    found = store.select(RunQuery(where, "sharpe", limit=20))
    assert time.process_time() - began < 0.5
    assert len(found) == 20
