import numpy as np
import pyarrow as pa
import pytest

from bt_framework.errors import ConfigError, RunError
from bt_framework.records import OrderEvent, Side
from bt_framework.results.run import TABLES
from bt_framework.results.schemas import COLUMNS, RECORDS, columns, schema, to_arrow, to_records

_WITH_UNITS = ("_ts", "_px", "px", "_qty", "qty", "_pnl", "fee", "fees", "cash", "equity", "_s")


@pytest.mark.parametrize("table", TABLES)
def test_records_come_back_bit_by_bit(make_run, make_tables, table):
    run, rows = make_run(), make_tables(1)[table]
    arrow = to_arrow(table, rows, run)
    arrow.validate(full=True)
    assert to_records(arrow, run).tobytes() == rows.tobytes()


@pytest.mark.parametrize("table", TABLES)
def test_records_come_back_bit_by_bit_from_a_parquet_file(tmp_path, make_run, make_tables, table):
    import pyarrow.parquet as pq

    run, rows = make_run(), make_tables(2)[table]
    pq.write_table(to_arrow(table, rows, run), tmp_path / "t.parquet")
    read = pq.read_table(tmp_path / "t.parquet")
    assert read.schema.equals(schema(table), check_metadata=True)
    assert to_records(read, run).tobytes() == rows.tobytes()


@pytest.mark.parametrize("table", TABLES)
def test_every_field_of_the_record_is_one_column(table):
    assert sorted(c.field for c in COLUMNS[table]) == sorted(RECORDS[table].names)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_described_and_every_quantity_has_a_unit(table):
    for field in schema(table):
        assert field.metadata[b"description"]
        if field.name.endswith(_WITH_UNITS) and not pa.types.is_dictionary(field.type):
            assert field.metadata[b"unit"], field.name


def test_numbers_become_words(make_run, make_tables):
    run, rows = make_run(), make_tables(3)["orders"]
    arrow = to_arrow("orders", rows, run).to_pydict()
    assert arrow["symbol"] == ["BTCUSDT" if a == 0 else "ETHUSDT" for a in rows["asset"]]
    assert arrow["side"] == [Side(s).name.lower() for s in rows["side"]]
    assert arrow["event"] == [OrderEvent(e).name.lower() for e in rows["event"]]


def test_a_refusal_names_its_rule_and_one_of_the_broker_has_none(make_run, make_tables):
    run, rows = make_run(), make_tables(4)["refusals"]
    names = to_arrow("refusals", rows, run).column("rule").to_pylist()
    assert names == [run.rules[r] if r >= 0 else None for r in rows["rule"]]
    assert None in names
    assert len(set(names)) > 1


def test_whether_a_fill_was_a_maker_is_a_truth_value(make_run, make_tables):
    fills = to_arrow("fills", make_tables(5)["fills"], make_run())
    assert fills.column("maker").type == pa.bool_()


@pytest.mark.parametrize("rows", [1, 30])
def test_the_table_does_not_change_with_the_buffer_it_came_from(make_run, make_tables, rows):
    rows = make_tables(6)["fills"][:rows]
    arrow = to_arrow("fills", rows, make_run())
    before = arrow.to_pydict()
    rows.view(np.uint8)[:] = 0
    assert arrow.to_pydict() == before


def test_a_number_without_a_word_is_an_error_that_names_it(make_run, make_tables):
    rows = make_tables(7)["fills"]
    rows["tag"][2] = 99
    with pytest.raises(RunError, match=r"fills\.tag must be one of 0 \(none\), 1 \(entry\), .*, was 99\."):
        to_arrow("fills", rows, make_run())


def test_an_unknown_table_is_an_error_that_lists_the_tables():
    with pytest.raises(
        ConfigError, match=r"table must be one of equity, .*, was 'fill'\. Did you mean 'fills'\?"
    ):
        columns("fill")
