"""Research that a desk shares in PostgreSQL is what it is in a file."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.errors import StorageError
from bt_framework.stores.relational.research_tables import RESULT_NUMBERS
from bt_framework.stores.research import OuParams, ResearchStore, Screen

NOON = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def ou(as_of: datetime, theta: float) -> OuParams:
    window = {"as_of": as_of, "window_start": as_of - 100 * DAY, "window_end": as_of - DAY, "interval_ns": 1}
    kind = {"y_symbol": "b", "log_prices": True, "adjust": "none", "dt_s": 60.0, "observations": 70}
    numbers = {"hedge_ratio": 0.1 + 0.2, "intercept": -0.0, "mu": 0.0, "sigma": 1e-5, "stationary_sd": 0.01}
    return OuParams(source="etf", pair_id="Z_b", **window, **kind, **numbers, theta=theta, half_life_s=1e6)


def result(p_value: float | None, end: datetime) -> dict:
    numbers = dict.fromkeys(RESULT_NUMBERS) | {"p_value": p_value}
    window = {"window_start": end - DAY, "window_end": end, "as_of": end + DAY, "interval_ns": 2**40}
    found = {"found_bh": p_value is not None, "found_storey": False, "status": "ok", "observations": 9}
    return {"source": "etf", "pair_id": "Z_b"} | numbers | window | found


def answers(store: ResearchStore) -> list:
    """Do some research and return everything that the store says of it."""
    splits = [("A", date(2020, 1, 2), "split", 0.1), ("A", date(2020, 1, 2), "split", 3.0)]
    actions = pa.Table.from_pylist(
        [dict(zip(ACTION_SCHEMA.names, r, strict=True)) for r in splits], ACTION_SCHEMA
    )
    told = [
        store.symbols(),
        store.register_symbols(["b", "Z", "b"], "etf"),
        store.register_symbols(["Z"], "etf"),
    ]
    told += [store.add_actions(actions, source="etf"), store.actions(source="etf").to_pylist()]
    told += [store.put_universe([("b", "Z")], "etf"), store.universe(), store.symbols("etf")]
    store.put_ou_params([ou(NOON, 1.0), ou(NOON + DAY, 2.0), ou(NOON, 3.0)])
    told += [store.ou_params("Z_b", at) for at in (NOON - DAY, NOON, NOON + DAY / 2, NOON + DAY)]
    screen = Screen("s1", "etf", NOON, {"lags": 1}, {"tested": 2})
    for _ in range(2):  # the second takes the place of the first
        store.put_results(
            screen, [[result(None, NOON)], [result(0.2, NOON + DAY), result(0.1, NOON + 2 * DAY)]]
        )
    told += [store.screens(), store.results("s1"), store.results("s1", found_only=True, limit=1)]
    return told


def test_a_desk_gets_the_answers_that_a_file_gives(postgres_url, monkeypatch, tmp_path):
    monkeypatch.delenv("BT_RESEARCH_URL", raising=False)
    expected = answers(ResearchStore.in_folder(tmp_path))
    monkeypatch.setenv("BT_RESEARCH_URL", postgres_url)
    store = ResearchStore.in_folder(tmp_path / "not made")
    assert answers(store) == expected
    assert store.name.startswith("postgresql://bt_tests@127.0.0.1:")
    assert not (tmp_path / "not made").exists()


def test_parameters_of_a_pair_that_nobody_knows_are_refused(postgres_url):
    store = ResearchStore(postgres_url)
    with pytest.raises(
        StorageError, match=r"does not know the pair or symbol .* Register it first: put_universe"
    ):
        store.put_ou_params([ou(NOON, 1.0)])


def test_runs_and_research_share_one_database(postgres_url, monkeypatch, tmp_path):
    from bt_framework.results.record import RunRecord
    from bt_framework.stores.relational.postgres import PostgresStore
    from bt_framework.testing.store_contracts import sample_run

    monkeypatch.setenv("BT_POSTGRES_URL", postgres_url)
    ResearchStore(postgres_url).register_symbols(["A"], "etf")
    store = PostgresStore()
    store.put(RunRecord.started(sample_run(tmp_path)))
    assert len(store.list()) == 1
    assert ResearchStore(postgres_url).symbols() == ["A"]
