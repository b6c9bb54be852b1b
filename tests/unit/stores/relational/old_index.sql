-- The index of runs as it was before it had versions of Alembic.
CREATE TABLE IF NOT EXISTS runs (
    run_id            TEXT PRIMARY KEY,
    strategy          TEXT NOT NULL,
    symbols           TEXT NOT NULL,             -- JSON array
    status            TEXT NOT NULL,             -- running, completed, failed or stopped; a lost run says running
    error             TEXT NOT NULL,
    started_at_ns     BIGINT NOT NULL,           -- wall clock, ns UTC
    finished_at_ns    BIGINT NOT NULL,           -- 0 until the run has ended
    config_hash       TEXT NOT NULL,
    data_hash         TEXT NOT NULL,
    code_hash         TEXT NOT NULL,
    result_hash       TEXT NOT NULL,
    seed              BIGINT NOT NULL,
    run_dir           TEXT NOT NULL,
    events            BIGINT NOT NULL,
    capital           DOUBLE PRECISION NOT NULL, -- quote currency, as are the amounts below
    count_signals     BIGINT,
    count_orders      BIGINT,
    count_fills       BIGINT,
    count_refusals    BIGINT,
    pnl               DOUBLE PRECISION,          -- metrics are null where they are undefined
    gross_pnl         DOUBLE PRECISION,
    fees              DOUBLE PRECISION,
    return_frac       DOUBLE PRECISION,
    sharpe            DOUBLE PRECISION,
    max_drawdown      DOUBLE PRECISION,
    max_drawdown_frac DOUBLE PRECISION,
    trades            BIGINT,
    round_trips       BIGINT,
    fill_ratio        DOUBLE PRECISION,
    maker_share       DOUBLE PRECISION,
    turnover_notional DOUBLE PRECISION,
    turnover          DOUBLE PRECISION,
    kernel_s          DOUBLE PRECISION,
    wall_s            DOUBLE PRECISION,
    record            TEXT NOT NULL              -- the content of run.json
)
;
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started_at_ns, run_id)
;
PRAGMA user_version = 1;
