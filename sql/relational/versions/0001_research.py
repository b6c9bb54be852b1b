"""Symbols, corporate actions, pairs, screenings and parameters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def _word(name):
    return sa.Column(name, _WORD, nullable=False)


def _time(name):
    return sa.Column(name, _TIME, nullable=False)


def _whole(name):
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _number(name):
    return sa.Column(name, sa.Double())


def _symbol_of(table, column):
    target = ["symbols.source", "symbols.symbol"]
    return sa.ForeignKeyConstraint(["source", column], target, name=f"fk_{table}_{column}")


def _pair_of(table):
    target = ["pair_universe.source", "pair_universe.pair_id"]
    return sa.ForeignKeyConstraint(["source", "pair_id"], target, name=f"fk_{table}_pair_id")


def _key(table, *columns):
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _parameters(table, *numbers):
    key = ("source", "pair_id", "interval_ns", "y_symbol", "log_prices", "adjust", "as_of")
    op.create_table(
        table,
        _word("source"),
        _word("pair_id"),
        _time("as_of"),
        _time("window_start"),
        _time("window_end"),
        _whole("interval_ns"),
        _word("y_symbol"),
        sa.Column("log_prices", sa.Boolean(), nullable=False),
        _word("adjust"),
        sa.Column("dt_s", sa.Double(), nullable=False),
        _whole("observations"),
        *map(_number, numbers),
        _key(table, *key),
        _pair_of(table),
    )
    op.create_index(f"ix_{table}_pair", table, ["pair_id", "as_of"])


def _symbols():
    op.create_table(
        "symbols",
        _word("source"),
        _word("symbol"),
        _time("first_seen"),
        _key("symbols", "source", "symbol"),
    )
    op.create_table(
        "corporate_actions",
        _word("source"),
        _word("symbol"),
        sa.Column("ex_date", sa.Date(), nullable=False),
        _word("kind"),
        sa.Column("value", sa.Double(), nullable=False),
        _key("corporate_actions", "source", "symbol", "ex_date", "kind"),
        _symbol_of("corporate_actions", "symbol"),
        sa.CheckConstraint("kind IN ('split', 'dividend')", name="ck_corporate_actions_kind"),
    )
    op.create_table(
        "pair_universe",
        _word("source"),
        _word("pair_id"),
        _word("symbol_a"),
        _word("symbol_b"),
        _time("first_seen"),
        _key("pair_universe", "source", "pair_id"),
        _symbol_of("pair_universe", "symbol_a"),
        _symbol_of("pair_universe", "symbol_b"),
        sa.CheckConstraint("symbol_a < symbol_b", name="ck_pair_universe_order"),
        sa.CheckConstraint("pair_id = symbol_a || '_' || symbol_b", name="ck_pair_universe_pair_id"),
    )


def _screens():
    op.create_table(
        "screens",
        _word("screen_id"),
        _word("source"),
        _time("finished_at"),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        _key("screens", "screen_id"),
    )
    op.create_index("ix_screens_source", "screens", ["source", "finished_at"])
    engle_granger = ("t", "p", "hedge_ratio", "intercept", "half_life_bars", "hurst")
    johansen = ("eigenvalue", "trace", "trace_p", "max", "max_p")
    numbers = (
        *(f"{way}_{name}" for way in ("ab", "ba") for name in engle_granger),
        "johansen_hedge_ratio",
        *(f"{name}_{rank}" for name in johansen for rank in (0, 1)),
        *("trend_trace_0", "trend_trace_p_0", "p_value", "p_bh", "q_storey"),
    )
    table = "cointegration_results"
    op.create_table(
        table,
        *map(_word, ("screen_id", "source", "pair_id")),
        *map(_time, ("window_start", "window_end", "as_of")),
        *map(_whole, ("interval_ns", "observations")),
        _word("status"),
        *map(_number, numbers),
        sa.Column("found_bh", sa.Boolean(), nullable=False),
        sa.Column("found_storey", sa.Boolean(), nullable=False),
        _key(table, "screen_id", "pair_id", "window_end"),
        sa.ForeignKeyConstraint(
            ["screen_id"], ["screens.screen_id"], ondelete="CASCADE", name=f"fk_{table}_"
        ),
        _pair_of(table),
    )
    op.create_index(f"ix_{table}_pair", table, ["pair_id", "window_end"])
    op.create_index(f"ix_{table}_p", table, ["screen_id", "p_value"])


def upgrade():
    """Create them."""
    version = op.create_table(
        "research_schema", sa.Column("version", sa.Integer()), _key("research_schema", "version")
    )
    op.bulk_insert(version, [{"version": 1}])
    _symbols()
    _screens()
    _parameters(
        "ou_params", "hedge_ratio", "intercept", "theta", "mu", "sigma", "stationary_sd", "half_life_s"
    )
    variances = ("p00", "p01", "p11", "q_intercept", "q_slope", "r", "log_likelihood")
    _parameters("kalman_params", "intercept", "hedge_ratio", *variances)
