"""Runs with their metrics, tags and rows, and sweeps.

What the index of runs was before, a table ``runs`` in a SQLite file, moves into ``backtest_runs`` and
``backtest_metrics``. The version of research alone goes: it is Alembic's now.
"""

import json
import math

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_STATUSES = "status IN ('running', 'completed', 'failed', 'stopped')"
_TABLES = ("signals", "orders", "fills", "refusals", "risk_events", "equity", "trades")

# Columns as name:type. Types are t text, i whole number, f number and b truth value; a question mark is "may be null".
_RUNS = """
run_id:t sweep_id:t? strategy:t symbols:t status:t error:t started_at_ns:i finished_at_ns:i start_ts:i end_ts:i
config_hash:t data_hash:t code_hash:t result_hash:t seed:i git_commit:t tags:t note:t run_dir:t host:t mode:t feeds:t
events:i capital:f count_signals:i? count_orders:i? count_fills:i? count_refusals:i? count_risk_events:i?
count_equity:i? count_trades:i? kernel_s:f? wall_s:f? record:t updated_at_ns:i
"""
_METRICS = """
run_id:t pnl:f? gross_pnl:f? fees:f? return_frac:f? sharpe:f? max_drawdown:f? max_drawdown_frac:f? trades:i?
round_trips:i? trades_won:i? trades_lost:i? mean_trade_s:f? orders:i? fill_ratio:f? maker_share:f?
turnover_notional:f? turnover:f? updated_at_ns:i
"""
_ROWS = {
    "backtest_signals": """
        local_ts:i signal_id:i kind:t direction:i z:f? spread:f? hedge_ratio:f? half_life_s:f?
        """,
    "backtest_orders": """
        local_ts:i exch_ts:i order_id:i signal_id:i symbol:t event:t side:t order_type:t time_in_force:t tag:t
        px:f? qty:f? leaves_qty:f? queue_ahead_qty:f?
        """,
    "backtest_fills": """
        local_ts:i exch_ts:i order_id:i signal_id:i symbol:t side:t tag:t maker:b px:f? qty:f? slippage_bps:f? fee:f?
        position_qty:f? realised_pnl:f?
        """,
    "backtest_refusals": """
        local_ts:i symbol:t? order_id:i signal_id:i kind:t? side:t? tag:t? reason:t rule:t? px:f? qty:f? value:f?
        limit:f?
        """,
    "backtest_risk_events": "local_ts:i rule:t event:t action:t until_ts:i value:f? limit:f?",
    "backtest_equity": "local_ts:i symbol:t mid_px:f? position_qty:f? cash:f? fees:f? equity:f?",
    "backtest_trades": """
        entry_ts:i exit_ts:i symbol:t direction:t open:b entry_order_id:i exit_order_id:i entry_signal_id:i
        exit_signal_id:i entry_tag:t exit_tag:t entry_maker:b exit_maker:b qty:f? entry_px:f? exit_px:f? gross_pnl:f?
        fees:f? net_pnl:f? slippage:f? mae:f? mfe:f? duration_ns:i
        """,
}


def _columns(text):
    types = {"t": _WORD, "i": sa.BigInteger(), "f": sa.Double(), "b": sa.Boolean()}
    for word in text.split():
        name, _, kind = word.partition(":")
        yield sa.Column(name, types[kind[0]], nullable=kind.endswith("?"))


def _key(table, *columns):
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of_run(table):
    target = ["backtest_runs.run_id"]
    return sa.ForeignKeyConstraint(["run_id"], target, ondelete="CASCADE", name=f"fk_{table}_run_id")


def _create_sweeps():
    op.create_table(
        "sweeps",
        *_columns("sweep_id:t started_at_ns:i finished_at_ns:i status:t"),
        sa.Column("overrides", sa.Text(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        _key("sweeps", "sweep_id"),
        sa.CheckConstraint(_STATUSES, name="ck_sweeps_status"),
        sa.CheckConstraint("jobs >= 0", name="ck_sweeps_jobs"),
    )
    op.create_index("ix_sweeps_start", "sweeps", ["started_at_ns"])


def _create_runs():
    to_sweep = sa.ForeignKeyConstraint(
        ["sweep_id"], ["sweeps.sweep_id"], ondelete="SET NULL", name="fk_backtest_runs_sweep_id"
    )
    runs = op.create_table(
        "backtest_runs",
        *_columns(_RUNS),
        _key("backtest_runs", "run_id"),
        to_sweep,
        sa.CheckConstraint(_STATUSES, name="ck_backtest_runs_status"),
    )
    op.create_index("ix_backtest_runs_start", "backtest_runs", ["started_at_ns", "run_id"])
    op.create_index("ix_backtest_runs_strategy", "backtest_runs", ["strategy", "started_at_ns"])
    op.create_index("ix_backtest_runs_status", "backtest_runs", ["status", "started_at_ns"])
    op.create_index("ix_backtest_runs_commit", "backtest_runs", ["git_commit"])
    op.create_index("ix_backtest_runs_sweep", "backtest_runs", ["sweep_id"])
    key, to_run = _key("backtest_metrics", "run_id"), _of_run("backtest_metrics")
    metrics = op.create_table("backtest_metrics", *_columns(_METRICS), key, to_run)
    for name in ("pnl", "return_frac", "sharpe", "max_drawdown_frac", "trades", "turnover"):
        op.create_index(f"ix_backtest_metrics_{name}", "backtest_metrics", [name])
    table = "backtest_run_tags"
    columns, key = _columns("run_id:t tag:t"), _key(table, "run_id", "tag")
    tags = op.create_table(table, *columns, key, _of_run(table), sqlite_with_rowid=False)
    op.create_index("ix_backtest_run_tags_tag", table, ["tag"])
    return runs, metrics, tags


def _create_rows(table, columns):
    op.create_table(
        table,
        *_columns("run_id:t sequence:i"),
        *_columns(columns),
        _key(table, "run_id", "sequence"),
        _of_run(table),
        sa.CheckConstraint("sequence >= 0", name=f"ck_{table}_sequence"),
        sqlite_with_rowid=False,
    )


def _finite(value):
    return value if value is None or math.isfinite(value) else None


def _record_of(old):
    """Content of the column ``record``; what cannot be read stays in it, and the other columns tell the rest."""
    try:
        record = json.loads(old["record"])
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _run_of(old):
    """Row of ``backtest_runs`` for one of ``runs``, whose column ``record`` is JSON."""
    record = _record_of(old)
    row = {word.partition(":")[0]: None for word in _RUNS.split()}
    row |= {name: old[name] for name in row.keys() & old.keys()}
    counts = record.get("counts") or {}
    row |= {f"count_{name}": counts.get(name, row[f"count_{name}"]) for name in _TABLES}
    return row | {
        "start_ts": record.get("start_ts", 0),
        "end_ts": record.get("end_ts", 0),
        "git_commit": record.get("git_commit", ""),
        "tags": json.dumps(record.get("tags", [])),
        "note": record.get("note", ""),
        "host": (record.get("process") or {}).get("host", ""),
        "mode": record.get("mode", "compiled"),
        "feeds": json.dumps(record.get("feeds", [])),
        "updated_at_ns": old["finished_at_ns"] or old["started_at_ns"],
    }


def _metrics_of(old):
    """Row of ``backtest_metrics``: what the record knows, else the column."""
    known = _record_of(old).get("metrics") or {}
    names = [word.partition(":")[0] for word in _METRICS.split()]
    row = {name: _finite(known.get(name, old.get(name))) for name in names[1:-1]}
    return {"run_id": old["run_id"], **row, "updated_at_ns": old["finished_at_ns"]}


def _tags_of(old):
    """Rows of ``backtest_run_tags``."""
    tags = dict.fromkeys(_record_of(old).get("tags") or ())
    return [{"run_id": old["run_id"], "tag": tag} for tag in tags]


def _move_runs(runs, metrics, tags):
    """Move the runs of an index from before there were versions."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite" or not sa.inspect(connection).has_table("runs"):
        return
    found = connection.execution_options(yield_per=500).execute(sa.text("SELECT * FROM runs"))
    for batch in found.mappings().partitions():
        connection.execute(runs.insert(), [_run_of(dict(old)) for old in batch])
        ended = [_metrics_of(dict(old)) for old in batch if old["finished_at_ns"]]
        tagged = [row for old in batch for row in _tags_of(old)]
        for table, rows in ((metrics, ended), (tags, tagged)):
            if rows:
                connection.execute(table.insert(), rows)
    op.drop_table("runs")


def upgrade():
    """Create them, and move what there was."""
    _create_sweeps()
    tables = _create_runs()
    for table, columns in _ROWS.items():
        _create_rows(table, columns)
    symbols = ["source", "symbol_a", "symbol_b"]
    op.create_index("uq_pair_universe_symbols", "pair_universe", symbols, unique=True)
    op.drop_table("research_schema")
    _move_runs(*tables)
