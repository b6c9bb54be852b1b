-- purpose: the whole schema, in an empty file.
-- grain: one row per what its table says.
-- parameters: none.
CREATE TABLE screens (
    screen_id TEXT NOT NULL,
    source TEXT NOT NULL,
    finished_at DATETIME NOT NULL,
    settings TEXT NOT NULL,
    summary TEXT NOT NULL,
    CONSTRAINT pk_screens PRIMARY KEY (screen_id)
);
CREATE INDEX ix_screens_source ON screens (source, finished_at);
CREATE TABLE sweeps (
    sweep_id TEXT NOT NULL,
    started_at_ns BIGINT NOT NULL,
    finished_at_ns BIGINT NOT NULL,
    status TEXT NOT NULL,
    overrides TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    note TEXT NOT NULL,
    CONSTRAINT pk_sweeps PRIMARY KEY (sweep_id),
    CONSTRAINT ck_sweeps_status CHECK (status IN ('running', 'completed', 'failed', 'stopped')),
    CONSTRAINT ck_sweeps_jobs CHECK (jobs >= 0)
);
CREATE INDEX ix_sweeps_start ON sweeps (started_at_ns);
CREATE TABLE symbols (
    source TEXT NOT NULL,
    symbol TEXT NOT NULL,
    first_seen DATETIME NOT NULL,
    CONSTRAINT pk_symbols PRIMARY KEY (source, symbol)
);
CREATE TABLE backtest_runs (
    run_id TEXT NOT NULL,
    sweep_id TEXT,
    strategy TEXT NOT NULL,
    symbols TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT NOT NULL,
    started_at_ns BIGINT NOT NULL,
    finished_at_ns BIGINT NOT NULL,
    start_ts BIGINT NOT NULL,
    end_ts BIGINT NOT NULL,
    config_hash TEXT NOT NULL,
    data_hash TEXT NOT NULL,
    code_hash TEXT NOT NULL,
    result_hash TEXT NOT NULL,
    seed BIGINT NOT NULL,
    git_commit TEXT NOT NULL,
    tags TEXT NOT NULL,
    note TEXT NOT NULL,
    run_dir TEXT NOT NULL,
    host TEXT NOT NULL,
    mode TEXT NOT NULL,
    feeds TEXT NOT NULL,
    events BIGINT NOT NULL,
    capital DOUBLE NOT NULL,
    count_signals BIGINT,
    count_orders BIGINT,
    count_fills BIGINT,
    count_refusals BIGINT,
    count_risk_events BIGINT,
    count_equity BIGINT,
    count_trades BIGINT,
    kernel_s DOUBLE,
    wall_s DOUBLE,
    record TEXT NOT NULL,
    updated_at_ns BIGINT NOT NULL,
    CONSTRAINT pk_backtest_runs PRIMARY KEY (run_id),
    CONSTRAINT fk_backtest_runs_sweep_id FOREIGN KEY(sweep_id) REFERENCES sweeps (sweep_id) ON DELETE SET NULL,
    CONSTRAINT ck_backtest_runs_status CHECK (status IN ('running', 'completed', 'failed', 'stopped'))
);
CREATE INDEX ix_backtest_runs_commit ON backtest_runs (git_commit);
CREATE INDEX ix_backtest_runs_config ON backtest_runs (config_hash);
CREATE INDEX ix_backtest_runs_start ON backtest_runs (started_at_ns, run_id);
CREATE INDEX ix_backtest_runs_status ON backtest_runs (status, started_at_ns);
CREATE INDEX ix_backtest_runs_strategy ON backtest_runs (strategy, started_at_ns);
CREATE INDEX ix_backtest_runs_sweep ON backtest_runs (sweep_id);
CREATE TABLE corporate_actions (
    source TEXT NOT NULL,
    symbol TEXT NOT NULL,
    ex_date DATE NOT NULL,
    kind TEXT NOT NULL,
    value DOUBLE NOT NULL,
    CONSTRAINT pk_corporate_actions PRIMARY KEY (source, symbol, ex_date, kind),
    CONSTRAINT fk_corporate_actions_symbol FOREIGN KEY(source, symbol) REFERENCES symbols (source, symbol),
    CONSTRAINT ck_corporate_actions_kind CHECK (kind IN ('split', 'dividend'))
);
CREATE TABLE pair_universe (
    source TEXT NOT NULL,
    pair_id TEXT NOT NULL,
    symbol_a TEXT NOT NULL,
    symbol_b TEXT NOT NULL,
    first_seen DATETIME NOT NULL,
    CONSTRAINT pk_pair_universe PRIMARY KEY (source, pair_id),
    CONSTRAINT fk_pair_universe_symbol_a FOREIGN KEY(source, symbol_a) REFERENCES symbols (source, symbol),
    CONSTRAINT fk_pair_universe_symbol_b FOREIGN KEY(source, symbol_b) REFERENCES symbols (source, symbol),
    CONSTRAINT ck_pair_universe_order CHECK (symbol_a < symbol_b),
    CONSTRAINT ck_pair_universe_pair_id CHECK (pair_id = symbol_a || '_' || symbol_b)
);
CREATE UNIQUE INDEX uq_pair_universe_symbols ON pair_universe (source, symbol_a, symbol_b);
CREATE TABLE sweep_jobs (
    sweep_id TEXT NOT NULL,
    job BIGINT NOT NULL,
    varied TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT NOT NULL,
    pnl DOUBLE,
    gross_pnl DOUBLE,
    fees DOUBLE,
    return_frac DOUBLE,
    sharpe DOUBLE,
    max_drawdown DOUBLE,
    max_drawdown_frac DOUBLE,
    trades BIGINT,
    round_trips BIGINT,
    trades_won BIGINT,
    trades_lost BIGINT,
    mean_trade_s DOUBLE,
    orders BIGINT,
    fill_ratio DOUBLE,
    maker_share DOUBLE,
    turnover_notional DOUBLE,
    turnover DOUBLE,
    config_hash TEXT,
    data_hash TEXT,
    code_hash TEXT,
    seed BIGINT,
    result_hash TEXT,
    run_id TEXT,
    CONSTRAINT pk_sweep_jobs PRIMARY KEY (sweep_id, job),
    CONSTRAINT fk_sweep_jobs_sweep_id FOREIGN KEY(sweep_id) REFERENCES sweeps (sweep_id) ON DELETE CASCADE,
    CONSTRAINT ck_sweep_jobs_status CHECK (status IN ('waiting', 'running', 'completed', 'failed', 'pruned')),
    CONSTRAINT ck_sweep_jobs_job CHECK (job >= 0)
);
CREATE TABLE backtest_equity (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    local_ts BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    mid_px DOUBLE,
    position_qty DOUBLE,
    cash DOUBLE,
    fees DOUBLE,
    equity DOUBLE,
    CONSTRAINT pk_backtest_equity PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_equity_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_equity_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE backtest_fills (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    local_ts BIGINT NOT NULL,
    exch_ts BIGINT NOT NULL,
    order_id BIGINT NOT NULL,
    signal_id BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    tag TEXT NOT NULL,
    maker BOOLEAN NOT NULL,
    px DOUBLE,
    qty DOUBLE,
    slippage_bps DOUBLE,
    fee DOUBLE,
    position_qty DOUBLE,
    realised_pnl DOUBLE,
    CONSTRAINT pk_backtest_fills PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_fills_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_fills_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE backtest_metrics (
    run_id TEXT NOT NULL,
    pnl DOUBLE,
    gross_pnl DOUBLE,
    fees DOUBLE,
    return_frac DOUBLE,
    sharpe DOUBLE,
    max_drawdown DOUBLE,
    max_drawdown_frac DOUBLE,
    trades BIGINT,
    round_trips BIGINT,
    trades_won BIGINT,
    trades_lost BIGINT,
    mean_trade_s DOUBLE,
    orders BIGINT,
    fill_ratio DOUBLE,
    maker_share DOUBLE,
    turnover_notional DOUBLE,
    turnover DOUBLE,
    updated_at_ns BIGINT NOT NULL,
    CONSTRAINT pk_backtest_metrics PRIMARY KEY (run_id),
    CONSTRAINT fk_backtest_metrics_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE
);
CREATE INDEX ix_backtest_metrics_max_drawdown_frac ON backtest_metrics (max_drawdown_frac);
CREATE INDEX ix_backtest_metrics_pnl ON backtest_metrics (pnl);
CREATE INDEX ix_backtest_metrics_return_frac ON backtest_metrics (return_frac);
CREATE INDEX ix_backtest_metrics_sharpe ON backtest_metrics (sharpe);
CREATE INDEX ix_backtest_metrics_trades ON backtest_metrics (trades);
CREATE INDEX ix_backtest_metrics_turnover ON backtest_metrics (turnover);
CREATE TABLE backtest_orders (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    local_ts BIGINT NOT NULL,
    exch_ts BIGINT NOT NULL,
    order_id BIGINT NOT NULL,
    signal_id BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    event TEXT NOT NULL,
    side TEXT NOT NULL,
    order_type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    tag TEXT NOT NULL,
    px DOUBLE,
    qty DOUBLE,
    leaves_qty DOUBLE,
    queue_ahead_qty DOUBLE,
    CONSTRAINT pk_backtest_orders PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_orders_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_orders_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE backtest_refusals (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    local_ts BIGINT NOT NULL,
    symbol TEXT,
    order_id BIGINT NOT NULL,
    signal_id BIGINT NOT NULL,
    kind TEXT,
    side TEXT,
    tag TEXT,
    reason TEXT NOT NULL,
    rule TEXT,
    px DOUBLE,
    qty DOUBLE,
    value DOUBLE,
    "limit" DOUBLE,
    CONSTRAINT pk_backtest_refusals PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_refusals_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_refusals_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE backtest_risk_events (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    local_ts BIGINT NOT NULL,
    rule TEXT NOT NULL,
    event TEXT NOT NULL,
    action TEXT NOT NULL,
    until_ts BIGINT NOT NULL,
    value DOUBLE,
    "limit" DOUBLE,
    CONSTRAINT pk_backtest_risk_events PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_risk_events_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_risk_events_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE backtest_run_tags (
    run_id TEXT NOT NULL,
    tag TEXT NOT NULL,
    CONSTRAINT pk_backtest_run_tags PRIMARY KEY (run_id, tag),
    CONSTRAINT fk_backtest_run_tags_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX ix_backtest_run_tags_tag ON backtest_run_tags (tag);
CREATE TABLE backtest_signals (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    local_ts BIGINT NOT NULL,
    signal_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    direction BIGINT NOT NULL,
    z DOUBLE,
    spread DOUBLE,
    hedge_ratio DOUBLE,
    half_life_s DOUBLE,
    CONSTRAINT pk_backtest_signals PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_signals_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_signals_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE backtest_trades (
    run_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    entry_ts BIGINT NOT NULL,
    exit_ts BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    direction TEXT NOT NULL,
    open BOOLEAN NOT NULL,
    entry_order_id BIGINT NOT NULL,
    exit_order_id BIGINT NOT NULL,
    entry_signal_id BIGINT NOT NULL,
    exit_signal_id BIGINT NOT NULL,
    entry_tag TEXT NOT NULL,
    exit_tag TEXT NOT NULL,
    entry_maker BOOLEAN NOT NULL,
    exit_maker BOOLEAN NOT NULL,
    qty DOUBLE,
    entry_px DOUBLE,
    exit_px DOUBLE,
    gross_pnl DOUBLE,
    fees DOUBLE,
    net_pnl DOUBLE,
    slippage DOUBLE,
    mae DOUBLE,
    mfe DOUBLE,
    duration_ns BIGINT NOT NULL,
    CONSTRAINT pk_backtest_trades PRIMARY KEY (run_id, sequence),
    CONSTRAINT fk_backtest_trades_run_id FOREIGN KEY(run_id) REFERENCES backtest_runs (run_id) ON DELETE CASCADE,
    CONSTRAINT ck_backtest_trades_sequence CHECK (sequence >= 0)
)
 WITHOUT ROWID;
CREATE TABLE cointegration_results (
    screen_id TEXT NOT NULL,
    source TEXT NOT NULL,
    pair_id TEXT NOT NULL,
    window_start DATETIME NOT NULL,
    window_end DATETIME NOT NULL,
    as_of DATETIME NOT NULL,
    interval_ns BIGINT NOT NULL,
    observations BIGINT NOT NULL,
    status TEXT NOT NULL,
    ab_t DOUBLE,
    ab_p DOUBLE,
    ab_hedge_ratio DOUBLE,
    ab_intercept DOUBLE,
    ab_half_life_bars DOUBLE,
    ab_hurst DOUBLE,
    ba_t DOUBLE,
    ba_p DOUBLE,
    ba_hedge_ratio DOUBLE,
    ba_intercept DOUBLE,
    ba_half_life_bars DOUBLE,
    ba_hurst DOUBLE,
    johansen_hedge_ratio DOUBLE,
    eigenvalue_0 DOUBLE,
    eigenvalue_1 DOUBLE,
    trace_0 DOUBLE,
    trace_1 DOUBLE,
    trace_p_0 DOUBLE,
    trace_p_1 DOUBLE,
    max_0 DOUBLE,
    max_1 DOUBLE,
    max_p_0 DOUBLE,
    max_p_1 DOUBLE,
    trend_trace_0 DOUBLE,
    trend_trace_p_0 DOUBLE,
    p_value DOUBLE,
    p_bh DOUBLE,
    q_storey DOUBLE,
    found_bh BOOLEAN NOT NULL,
    found_storey BOOLEAN NOT NULL,
    CONSTRAINT pk_cointegration_results PRIMARY KEY (screen_id, pair_id, window_end),
    CONSTRAINT fk_cointegration_results_ FOREIGN KEY(screen_id) REFERENCES screens (screen_id) ON DELETE CASCADE,
    CONSTRAINT fk_cointegration_results_pair_id FOREIGN KEY(source, pair_id) REFERENCES pair_universe (source, pair_id)
);
CREATE INDEX ix_cointegration_results_p ON cointegration_results (screen_id, p_value);
CREATE INDEX ix_cointegration_results_pair ON cointegration_results (pair_id, window_end);
CREATE TABLE kalman_params (
    source TEXT NOT NULL,
    pair_id TEXT NOT NULL,
    as_of DATETIME NOT NULL,
    window_start DATETIME NOT NULL,
    window_end DATETIME NOT NULL,
    interval_ns BIGINT NOT NULL,
    y_symbol TEXT NOT NULL,
    log_prices BOOLEAN NOT NULL,
    adjust TEXT NOT NULL,
    dt_s DOUBLE NOT NULL,
    observations BIGINT NOT NULL,
    intercept DOUBLE,
    hedge_ratio DOUBLE,
    p00 DOUBLE,
    p01 DOUBLE,
    p11 DOUBLE,
    q_intercept DOUBLE,
    q_slope DOUBLE,
    r DOUBLE,
    log_likelihood DOUBLE,
    CONSTRAINT pk_kalman_params PRIMARY KEY (source, pair_id, interval_ns, y_symbol, log_prices, adjust, as_of),
    CONSTRAINT fk_kalman_params_pair_id FOREIGN KEY(source, pair_id) REFERENCES pair_universe (source, pair_id)
);
CREATE INDEX ix_kalman_params_pair ON kalman_params (pair_id, as_of);
CREATE TABLE ou_params (
    source TEXT NOT NULL,
    pair_id TEXT NOT NULL,
    as_of DATETIME NOT NULL,
    window_start DATETIME NOT NULL,
    window_end DATETIME NOT NULL,
    interval_ns BIGINT NOT NULL,
    y_symbol TEXT NOT NULL,
    log_prices BOOLEAN NOT NULL,
    adjust TEXT NOT NULL,
    dt_s DOUBLE NOT NULL,
    observations BIGINT NOT NULL,
    hedge_ratio DOUBLE,
    intercept DOUBLE,
    theta DOUBLE,
    mu DOUBLE,
    sigma DOUBLE,
    stationary_sd DOUBLE,
    half_life_s DOUBLE,
    CONSTRAINT pk_ou_params PRIMARY KEY (source, pair_id, interval_ns, y_symbol, log_prices, adjust, as_of),
    CONSTRAINT fk_ou_params_pair_id FOREIGN KEY(source, pair_id) REFERENCES pair_universe (source, pair_id)
);
CREATE INDEX ix_ou_params_pair ON ou_params (pair_id, as_of);
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version (version_num) VALUES ('0003');
