"""The research store: what is kept, under which key, as of when, and what is said when it cannot be."""

from __future__ import annotations

import multiprocessing
import sqlite3
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.stores.relational._messages import RESEARCH
from bt_framework.stores.relational.address import sqlite_url
from bt_framework.stores.relational.database import Database, Limits
from bt_framework.stores.research import KalmanParams, OuParams, ResearchStore, Screen, pair_of

DAY = timedelta(days=1)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path) -> ResearchStore:
    return ResearchStore.in_folder(tmp_path)


def common(as_of: datetime, **other) -> dict:
    return {
        "source": "etf",
        "pair_id": "EWA_EWC",
        "as_of": as_of,
        "window_start": as_of - 100 * DAY,
        "window_end": as_of - DAY,
        "interval_ns": 86_400_000_000_000,
        "y_symbol": "EWC",
        "log_prices": True,
        "adjust": "point_in_time",
        "dt_s": 125_000.0,
        "observations": 70,
    } | other


def ou(as_of: datetime, theta: float = 1e-6, **other) -> OuParams:
    values = {"hedge_ratio": 1.1, "intercept": 0.2, "mu": 0.1 + 0.2, "sigma": 1e-5, "stationary_sd": 0.01}
    return OuParams(**common(as_of, **other), **values, theta=theta, half_life_s=1e6)


def kalman(as_of: datetime) -> KalmanParams:
    names = ("intercept", "hedge_ratio", "p00", "p01", "p11", "q_intercept", "q_slope", "r", "log_likelihood")
    return KalmanParams(**common(as_of), **{name: 0.1 * i for i, name in enumerate(names)})


def actions(*rows: tuple) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(ACTION_SCHEMA.names, r, strict=True)) for r in rows], ACTION_SCHEMA)


def screen(screen_id: str, at: datetime = NOON) -> Screen:
    return Screen(screen_id, "etf", at, {"lags": 1}, {"tested": 2})


def result(pair_id: str, p: float | None, end: datetime = NOON, found: bool = False) -> dict:
    numbers = (
        *(f"eg_{way}_{what}" for way in ("ab", "ba") for what in ("stat", "p", "hedge_ratio", "intercept")),
        *(f"johansen_{what}_{r}{p}" for what in ("trace", "max") for r in (0, 1) for p in ("", "_p")),
        "half_life_bars",
        "hurst",
        "p_bh",
        "q_storey",
    )
    row = dict.fromkeys(numbers) | {"source": "etf", "pair_id": pair_id, "p_value": p, "observations": 9}
    row |= {"window_start": end - DAY, "window_end": end, "as_of": end + DAY, "interval_ns": 1}
    return row | {"status": "ok" if p is not None else "too_few", "found_bh": found, "found_storey": found}


def test_a_pair_is_named_by_its_smaller_symbol_first_by_code_points():
    assert pair_of("b", "Z") == ("Z_b", "Z", "b")
    assert pair_of("EWC", "EWA") == ("EWA_EWC", "EWA", "EWC")


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_name_of_a_pair_does_not_depend_on_the_order_given(first, second):
    if first == second:
        with pytest.raises(DataError, match="two different symbols"):
            pair_of(first, second)
        return
    pair_id, smaller, larger = pair_of(first, second)
    assert pair_of(second, first) == (pair_id, smaller, larger)
    assert smaller < larger
    assert pair_id == f"{smaller}_{larger}"


def test_nothing_is_made_by_reading(store, tmp_path):
    assert store.symbols() == []
    assert store.universe() == []
    assert store.screens() == []
    assert store.results("x") == []
    assert store.ou_params("A_B", NOON) is None
    assert store.actions(source="etf").num_rows == 0
    assert list(tmp_path.iterdir()) == []


def test_symbols_are_registered_on_first_sight_and_told_once(store):
    assert store.register_symbols(["B", "A", "B"], "etf") == ["B", "A"]
    assert store.register_symbols(["A", "C"], "etf") == ["C"]
    assert store.register_symbols(["A"], "other") == ["A"]
    assert store.symbols() == ["A", "B", "C"]
    assert store.symbols("other") == ["A"]


def test_actions_come_back_as_they_were_by_symbol_and_date(store):
    table = actions(
        ("B", date(2020, 1, 2), "split", 2.0),
        ("A", date(2020, 1, 3), "dividend", 0.1),
        ("A", date(2020, 1, 2), "dividend", 0.3),
    )
    assert store.add_actions(table, source="etf") == 3
    found = store.actions(source="etf")
    assert found.schema == ACTION_SCHEMA
    assert found.to_pylist() == sorted(table.to_pylist(), key=lambda r: (r["symbol"], r["ex_date"]))
    assert store.actions(["B"], source="etf")["value"].to_pylist() == [2.0]
    assert store.actions(source="other").num_rows == 0
    assert store.symbols("etf") == ["A", "B"]


def test_an_action_written_again_replaces_the_old_one(store):
    day = date(2020, 1, 2)
    store.add_actions(actions(("A", day, "dividend", 0.3)), source="etf")
    store.add_actions(actions(("A", day, "dividend", 0.4)), source="etf")
    assert store.actions(source="etf")["value"].to_pylist() == [0.4]


def test_an_action_that_a_source_no_longer_has_goes_and_those_of_other_symbols_and_sources_stay(store):
    day = date(2020, 1, 2)
    rows = [("A", day, "dividend", 0.3), ("B", day, "split", 2.0)]
    for source in ("etf", "other"):
        store.add_actions(actions(*rows), source=source)
    store.add_actions(actions(), source="etf", replacing=["A"])
    assert store.actions(source="etf")["symbol"].to_pylist() == ["B"]
    assert store.actions(source="other")["symbol"].to_pylist() == ["A", "B"]


def test_two_actions_of_one_kind_and_day_become_one(store):
    day = date(2020, 1, 2)
    rows = [
        ("A", day, "dividend", 0.25),
        ("A", day, "dividend", 0.5),
        ("A", day, "split", 2.0),
        ("A", day, "split", 3.0),
    ]
    store.add_actions(actions(*rows), source="etf")
    assert store.actions(source="etf")["value"].to_pylist() == [0.75, 6.0]


def test_pairs_are_kept_once_with_their_symbols(store):
    assert store.put_universe([("EWC", "EWA"), ("IGE", "EWA")], "etf") == ["EWA_EWC", "EWA_IGE"]
    assert store.put_universe([("EWA", "EWC")], "etf") == ["EWA_EWC"]
    assert store.universe("etf") == [("EWA_EWC", "EWA", "EWC"), ("EWA_IGE", "EWA", "IGE")]
    assert store.symbols("etf") == ["EWA", "EWC", "IGE"]


def test_two_pairs_with_one_name_are_refused(store):
    text = "the pair id 'A_B_C' must name one pair, was that of A_B and C and of A and B_C. Rename a symbol."
    with pytest.raises(DataError, match=text):
        store.put_universe([("A_B", "C"), ("A", "B_C")], "etf")
    assert store.universe() == []
    store.put_universe([("A_B", "C")], "etf")
    with pytest.raises(DataError, match=text):
        store.put_universe([("A", "B_C")], "etf")


def test_parameters_come_back_bit_by_bit(store):
    store.put_universe([("EWA", "EWC")], "etf")
    store.put_ou_params([ou(NOON)])
    store.put_kalman_params([kalman(NOON)])
    assert store.ou_params("EWA_EWC", NOON) == ou(NOON)
    assert store.kalman_params("EWA_EWC", NOON) == kalman(NOON)


def test_parameters_are_those_known_at_the_time_and_never_later_ones(store):
    store.put_universe([("EWA", "EWC")], "etf")
    times = [NOON, NOON + DAY, NOON + 2 * DAY]
    store.put_ou_params([ou(at, theta=1e-6 * (i + 1)) for i, at in enumerate(times)])
    tick = timedelta(microseconds=1)
    assert store.ou_params("EWA_EWC", NOON - tick) is None
    assert [store.ou_params("EWA_EWC", at).as_of for at in times] == times
    assert [store.ou_params("EWA_EWC", at - tick).as_of for at in times[1:]] == times[:-1]
    elsewhere = times[1].astimezone(timezone(timedelta(hours=9)))
    assert store.ou_params("EWA_EWC", elsewhere).as_of == times[1]


def test_parameters_are_found_by_what_they_were_estimated_on(store):
    store.put_universe([("EWA", "EWC")], "etf")
    store.put_ou_params([ou(NOON), ou(NOON + DAY, log_prices=False)])
    assert store.ou_params("EWA_EWC", NOON + 2 * DAY).log_prices is False
    assert store.ou_params("EWA_EWC", NOON + 2 * DAY, log_prices=True).as_of == NOON
    assert store.ou_params("EWA_EWC", NOON + 2 * DAY, source="other") is None


def test_parameters_written_again_replace_the_old_ones(store):
    store.put_universe([("EWA", "EWC")], "etf")
    store.put_ou_params([ou(NOON, theta=1.0)])
    store.put_ou_params([ou(NOON, theta=2.0)])
    assert store.ou_params("EWA_EWC", NOON).theta == 2.0


def test_parameters_that_are_not_finite_cannot_be_made():
    with pytest.raises(DataError, match="theta of the pair EWA_EWC must be finite, was nan"):
        ou(NOON, theta=float("nan"))


def test_a_time_without_zone_is_refused(store):
    store.put_universe([("EWA", "EWC")], "etf")
    with pytest.raises(StorageError, match="a time must have a time zone, was 2024-03-01T12:00:00"):
        store.ou_params("EWA_EWC", NOON.replace(tzinfo=None))


def test_results_are_ordered_by_p_value_and_refused_tests_come_last(store):
    store.put_universe([("A", "B"), ("A", "C"), ("B", "C")], "etf")
    rows = [
        result("A_B", None),
        result("A_C", 0.5),
        result("B_C", 0.01, found=True),
        result("A_C", 0.1, NOON + DAY),
    ]
    store.put_results(screen("one"), [rows[:2], rows[2:]])
    assert [(r["pair_id"], r["p_value"]) for r in store.results("one")] == [
        ("B_C", 0.01),
        ("A_C", 0.1),
        ("A_C", 0.5),
        ("A_B", None),
    ]
    assert [r["pair_id"] for r in store.results("one", found_only=True)] == ["B_C"]
    assert [r["p_value"] for r in store.results("one", pair_id="A_C", limit=1)] == [0.1]
    assert store.results("one", limit=1)[0]["as_of"] == NOON + DAY
    assert store.screens() == [screen("one")]


def test_a_screening_written_again_leaves_no_old_row(store):
    store.put_universe([("A", "B"), ("A", "C")], "etf")
    store.put_results(screen("one"), [[result("A_B", 0.1), result("A_C", 0.2)]])
    store.put_results(screen("two", NOON + DAY), [[result("A_B", 0.3)]])
    store.put_results(screen("one"), [[result("A_B", 0.4)]])
    assert [r["p_value"] for r in store.results("one")] == [0.4]
    assert [r["p_value"] for r in store.results("two")] == [0.3]
    assert [s.screen_id for s in store.screens("etf")] == ["two", "one"]
    assert store.screens(screen_id="one") == [screen("one")]


def test_results_that_cannot_all_be_written_are_not_written_at_all(store):
    store.put_universe([("A", "B")], "etf")
    store.put_results(screen("one"), [[result("A_B", 0.1)]])
    with pytest.raises(StorageError, match="does not know the pair or symbol"):
        store.put_results(screen("one"), [[result("A_B", 0.2)], [result("A_X", 0.2)]])
    assert [r["p_value"] for r in store.results("one")] == [0.1]


def _register_many(folder: Path, worker: int) -> None:
    store = ResearchStore.in_folder(folder)
    for i in range(10):
        store.register_symbols([f"S{worker}_{i}", f"shared_{i}"], "etf")


def test_processes_that_come_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_register_many, args=(tmp_path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(ResearchStore.in_folder(tmp_path).symbols("etf")) == 3 * 10 + 10


def test_a_locked_database_is_said_to_be_locked(store, tmp_path):
    store.register_symbols(["A"], "etf")
    with sqlite3.connect(tmp_path / "research.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        store.database._limits = Limits(busy_s=0.05)
        with pytest.raises(StorageError, match=r"research\.sqlite is locked by another process .*Try again"):
            store.register_symbols(["B"], "etf")
        assert store.symbols("etf") == ["A"]
    other.close()


def test_a_newer_version_is_refused(store, tmp_path):
    store.register_symbols(["A"], "etf")
    with sqlite3.connect(tmp_path / "research.sqlite") as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    for attempt in (lambda: store.symbols(), lambda: store.register_symbols(["B"], "etf")):
        with pytest.raises(StorageError, match="must have schema version 0003, was 9999: a newer version"):
            attempt()


def test_a_file_that_is_no_database_is_named(store, tmp_path):
    (tmp_path / "research.sqlite").write_bytes(b"something else" * 1_000)
    with pytest.raises(StorageError, match=r"research\.sqlite is damaged \(file is not a database\)"):
        store.symbols()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    store = ResearchStore.in_folder(tmp_path / "file" / "below")
    with pytest.raises(
        StorageError, match=r"research\.sqlite cannot be opened: (Not a directory|File exists)"
    ):
        store.register_symbols(["A"], "etf")


def test_the_schema_itself_refuses_pairs_in_the_wrong_order(store, tmp_path):
    store.put_universe([("A", "B")], "etf")
    with sqlite3.connect(tmp_path / "research.sqlite") as other:
        row = "INSERT INTO pair_universe VALUES ('etf', 'B_A', 'B', 'A', '2024-01-01')"
        with pytest.raises(sqlite3.IntegrityError, match="ck_pair_universe_order"):
            other.execute(row)
    other.close()


def test_the_file_is_in_write_ahead_mode(store, tmp_path):
    store.register_symbols(["A"], "etf")
    other = sqlite3.connect(tmp_path / "research.sqlite")
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("no url", "must be a URL such as"),
        ("mysql://someone@host/base", "must be sqlite or postgresql, was 'mysql'"),
    ],
)
def test_another_address_is_refused(url, text):
    with pytest.raises(ConfigError, match=text):
        ResearchStore(url)


def test_a_password_is_never_shown():
    database = Database("postgresql+psycopg://someone:secret@127.0.0.1:1/base?password=secret")
    assert database.name == "postgresql://someone@127.0.0.1:1/base"
    with pytest.raises((ConfigError, StorageError)) as caught, database.writing():
        pass
    assert "secret" not in str(caught.value)


def test_odd_folder_names_are_kept(tmp_path):
    folder = tmp_path / "a b?c#d%20é"
    assert Database(sqlite_url(folder / "x.sqlite")).name == str(folder / "x.sqlite")
    ResearchStore.in_folder(folder).register_symbols(["A"], "etf")
    assert (folder / "research.sqlite").exists()


def test_the_tables_can_be_made_in_postgresql():
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateIndex, CreateTable

    from bt_framework.stores.relational.tables import METADATA

    text = ""
    for table in METADATA.sorted_tables:
        text += str(CreateTable(table).compile(dialect=postgresql.dialect()))
        text += "".join(str(CreateIndex(i).compile(dialect=postgresql.dialect())) for i in table.indexes)
    assert 'symbol_a TEXT COLLATE "C" NOT NULL' in text
    assert "TIMESTAMP WITH TIME ZONE" in text


def test_who_writes_has_the_database_from_the_beginning_of_the_transaction(store, tmp_path):
    store.register_symbols(["A"], "etf")
    entered = []
    first, second = (
        Database(sqlite_url(tmp_path / "research.sqlite"), RESEARCH, Limits(busy_s=0.05)) for _ in range(2)
    )
    with first.writing(), pytest.raises(StorageError, match="is locked by another process"), second.writing():
        entered.append(second)
    assert entered == []
