-- The research store as it was before it had versions of Alembic.
CREATE TABLE research_schema (
    version INTEGER NOT NULL,
    CONSTRAINT pk_research_schema PRIMARY KEY (version)
);
CREATE TABLE screens (
    screen_id TEXT NOT NULL,
    source TEXT NOT NULL,
    finished_at DATETIME NOT NULL,
    settings TEXT NOT NULL,
    summary TEXT NOT NULL,
    CONSTRAINT pk_screens PRIMARY KEY (screen_id)
);
CREATE INDEX ix_screens_source ON screens (source, finished_at);
CREATE TABLE symbols (
    source TEXT NOT NULL,
    symbol TEXT NOT NULL,
    first_seen DATETIME NOT NULL,
    CONSTRAINT pk_symbols PRIMARY KEY (source, symbol)
);
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
INSERT INTO research_schema (version) VALUES (1);
