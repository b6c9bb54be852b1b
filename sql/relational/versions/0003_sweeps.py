"""Jobs of sweeps, and a way to runs by their configuration."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# Columns as name:type. Types are t text, i whole number and f number; a question mark is "may be null".
_JOBS = """
sweep_id:t job:i varied:t status:t error:t pnl:f? gross_pnl:f? fees:f? return_frac:f? sharpe:f? max_drawdown:f?
max_drawdown_frac:f? trades:i? round_trips:i? trades_won:i? trades_lost:i? mean_trade_s:f? orders:i? fill_ratio:f?
maker_share:f? turnover_notional:f? turnover:f? config_hash:t? data_hash:t? code_hash:t? seed:i? result_hash:t?
run_id:t?
"""


def _columns(text):
    types = {"t": _WORD, "i": sa.BigInteger(), "f": sa.Double()}
    for word in text.split():
        name, _, kind = word.partition(":")
        yield sa.Column(name, types[kind[0]], nullable=kind.endswith("?"))


def upgrade():
    """Create them."""
    statuses = "status IN ('waiting', 'running', 'completed', 'failed', 'pruned')"
    op.create_table(
        "sweep_jobs",
        *_columns(_JOBS),
        sa.PrimaryKeyConstraint("sweep_id", "job", name="pk_sweep_jobs"),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweeps.sweep_id"], ondelete="CASCADE", name="fk_sweep_jobs_sweep_id"
        ),
        sa.CheckConstraint(statuses, name="ck_sweep_jobs_status"),
        sa.CheckConstraint("job >= 0", name="ck_sweep_jobs_job"),
    )
    op.create_index("ix_backtest_runs_config", "backtest_runs", ["config_hash"])
