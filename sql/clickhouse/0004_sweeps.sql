-- Sweeps: runs that were started together, and what became of each job. Times are int64 ns UTC.

-- Grain: one row per sweep; read FINAL: the last one written counts.
CREATE TABLE IF NOT EXISTS sweeps
(
    sweep_id String COMMENT 'id of the sweep',
    started_at_ns Int64 COMMENT 'wall clock, ns UTC',
    finished_at_ns Int64 COMMENT 'wall clock, ns UTC; 0 until the sweep has ended',
    status LowCardinality(String) COMMENT 'running, completed, failed (a job has) or stopped',
    overrides String COMMENT 'as on the command line, a JSON array',
    jobs Int64 COMMENT 'jobs planned',
    note String COMMENT 'a line for the reader',
    updated_at_ns Int64 COMMENT 'when this row was written, wall clock, ns UTC'
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY sweep_id
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Sweeps, one row each; read FINAL';

-- Grain: one row per job of a sweep; read FINAL. It stays when its run is removed.
CREATE TABLE IF NOT EXISTS sweep_jobs
(
    sweep_id String COMMENT 'id of the sweep',
    job Int64 COMMENT 'position in the plan, from 0',
    varied String COMMENT 'what varies: key and value, a JSON object',
    status LowCardinality(String) COMMENT 'one of waiting, running, completed, failed, pruned',
    error String COMMENT 'first line of why it failed; empty if it did not',
    pnl Nullable(Float64) COMMENT 'profit after fees, settlement currency',
    gross_pnl Nullable(Float64) COMMENT 'profit before fees',
    fees Nullable(Float64) COMMENT 'fees paid',
    return_frac Nullable(Float64) COMMENT 'pnl / capital',
    sharpe Nullable(Float64) COMMENT 'annualised Sharpe ratio of equity changes',
    max_drawdown Nullable(Float64) COMMENT 'largest fall of equity',
    max_drawdown_frac Nullable(Float64) COMMENT 'the same as a fraction of capital and peak',
    trades Nullable(Int64) COMMENT 'fills',
    round_trips Nullable(Int64) COMMENT 'closed positions',
    trades_won Nullable(Int64) COMMENT 'closed trades that earned',
    trades_lost Nullable(Int64) COMMENT 'closed trades that lost',
    mean_trade_s Nullable(Float64) COMMENT 'mean duration of closed trades, seconds',
    orders Nullable(Int64) COMMENT 'orders sent',
    fill_ratio Nullable(Float64) COMMENT 'orders with a fill, of all',
    maker_share Nullable(Float64) COMMENT 'part of the notional that rested in the book',
    turnover_notional Nullable(Float64) COMMENT 'notional traded',
    turnover Nullable(Float64) COMMENT 'turnover_notional / capital',
    config_hash Nullable(String) COMMENT 'SHA-256 of the configuration',
    data_hash Nullable(String) COMMENT 'SHA-256 of the data',
    code_hash Nullable(String) COMMENT 'SHA-256 of the code',
    seed Nullable(Int64) COMMENT 'seed of everything random',
    result_hash Nullable(String) COMMENT 'SHA-256 of the results',
    run_id Nullable(String) COMMENT 'run of the job; it may have been removed since',
    updated_at_ns Int64 COMMENT 'when this row was written, wall clock, ns UTC'
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY (sweep_id, job)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Jobs of sweeps, one row each; read FINAL';
