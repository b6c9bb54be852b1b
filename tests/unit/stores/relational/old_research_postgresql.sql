-- The research store as it was before it had versions of Alembic.
CREATE TABLE research_schema (
    version SERIAL NOT NULL,
    CONSTRAINT pk_research_schema PRIMARY KEY (version)
);
CREATE TABLE screens (
    screen_id TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
    settings TEXT NOT NULL,
    summary TEXT NOT NULL,
    CONSTRAINT pk_screens PRIMARY KEY (screen_id)
);
CREATE INDEX ix_screens_source ON screens (source, finished_at);
CREATE TABLE symbols (
    source TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C" NOT NULL,
    first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_symbols PRIMARY KEY (source, symbol)
);
CREATE TABLE corporate_actions (
    source TEXT COLLATE "C" NOT NULL,
    symbol TEXT COLLATE "C" NOT NULL,
    ex_date DATE NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_corporate_actions PRIMARY KEY (source, symbol, ex_date, kind),
    CONSTRAINT fk_corporate_actions_symbol FOREIGN KEY(source, symbol) REFERENCES symbols (source, symbol),
    CONSTRAINT ck_corporate_actions_kind CHECK (kind IN ('split', 'dividend'))
);
CREATE TABLE pair_universe (
    source TEXT COLLATE "C" NOT NULL,
    pair_id TEXT COLLATE "C" NOT NULL,
    symbol_a TEXT COLLATE "C" NOT NULL,
    symbol_b TEXT COLLATE "C" NOT NULL,
    first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_pair_universe PRIMARY KEY (source, pair_id),
    CONSTRAINT fk_pair_universe_symbol_a FOREIGN KEY(source, symbol_a) REFERENCES symbols (source, symbol),
    CONSTRAINT fk_pair_universe_symbol_b FOREIGN KEY(source, symbol_b) REFERENCES symbols (source, symbol),
    CONSTRAINT ck_pair_universe_order CHECK (symbol_a < symbol_b),
    CONSTRAINT ck_pair_universe_pair_id CHECK (pair_id = symbol_a || '_' || symbol_b)
);
CREATE TABLE cointegration_results (
    screen_id TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    pair_id TEXT COLLATE "C" NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    window_end TIMESTAMP WITH TIME ZONE NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_ns BIGINT NOT NULL,
    observations BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    ab_t DOUBLE PRECISION,
    ab_p DOUBLE PRECISION,
    ab_hedge_ratio DOUBLE PRECISION,
    ab_intercept DOUBLE PRECISION,
    ab_half_life_bars DOUBLE PRECISION,
    ab_hurst DOUBLE PRECISION,
    ba_t DOUBLE PRECISION,
    ba_p DOUBLE PRECISION,
    ba_hedge_ratio DOUBLE PRECISION,
    ba_intercept DOUBLE PRECISION,
    ba_half_life_bars DOUBLE PRECISION,
    ba_hurst DOUBLE PRECISION,
    johansen_hedge_ratio DOUBLE PRECISION,
    eigenvalue_0 DOUBLE PRECISION,
    eigenvalue_1 DOUBLE PRECISION,
    trace_0 DOUBLE PRECISION,
    trace_1 DOUBLE PRECISION,
    trace_p_0 DOUBLE PRECISION,
    trace_p_1 DOUBLE PRECISION,
    max_0 DOUBLE PRECISION,
    max_1 DOUBLE PRECISION,
    max_p_0 DOUBLE PRECISION,
    max_p_1 DOUBLE PRECISION,
    trend_trace_0 DOUBLE PRECISION,
    trend_trace_p_0 DOUBLE PRECISION,
    p_value DOUBLE PRECISION,
    p_bh DOUBLE PRECISION,
    q_storey DOUBLE PRECISION,
    found_bh BOOLEAN NOT NULL,
    found_storey BOOLEAN NOT NULL,
    CONSTRAINT pk_cointegration_results PRIMARY KEY (screen_id, pair_id, window_end),
    CONSTRAINT fk_cointegration_results_ FOREIGN KEY(screen_id) REFERENCES screens (screen_id) ON DELETE CASCADE,
    CONSTRAINT fk_cointegration_results_pair_id FOREIGN KEY(source, pair_id) REFERENCES pair_universe (source, pair_id)
);
CREATE INDEX ix_cointegration_results_p ON cointegration_results (screen_id, p_value);
CREATE INDEX ix_cointegration_results_pair ON cointegration_results (pair_id, window_end);
CREATE TABLE kalman_params (
    source TEXT COLLATE "C" NOT NULL,
    pair_id TEXT COLLATE "C" NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    window_end TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_ns BIGINT NOT NULL,
    y_symbol TEXT COLLATE "C" NOT NULL,
    log_prices BOOLEAN NOT NULL,
    adjust TEXT COLLATE "C" NOT NULL,
    dt_s DOUBLE PRECISION NOT NULL,
    observations BIGINT NOT NULL,
    intercept DOUBLE PRECISION,
    hedge_ratio DOUBLE PRECISION,
    p00 DOUBLE PRECISION,
    p01 DOUBLE PRECISION,
    p11 DOUBLE PRECISION,
    q_intercept DOUBLE PRECISION,
    q_slope DOUBLE PRECISION,
    r DOUBLE PRECISION,
    log_likelihood DOUBLE PRECISION,
    CONSTRAINT pk_kalman_params PRIMARY KEY (source, pair_id, interval_ns, y_symbol, log_prices, adjust, as_of),
    CONSTRAINT fk_kalman_params_pair_id FOREIGN KEY(source, pair_id) REFERENCES pair_universe (source, pair_id)
);
CREATE INDEX ix_kalman_params_pair ON kalman_params (pair_id, as_of);
CREATE TABLE ou_params (
    source TEXT COLLATE "C" NOT NULL,
    pair_id TEXT COLLATE "C" NOT NULL,
    as_of TIMESTAMP WITH TIME ZONE NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    window_end TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_ns BIGINT NOT NULL,
    y_symbol TEXT COLLATE "C" NOT NULL,
    log_prices BOOLEAN NOT NULL,
    adjust TEXT COLLATE "C" NOT NULL,
    dt_s DOUBLE PRECISION NOT NULL,
    observations BIGINT NOT NULL,
    hedge_ratio DOUBLE PRECISION,
    intercept DOUBLE PRECISION,
    theta DOUBLE PRECISION,
    mu DOUBLE PRECISION,
    sigma DOUBLE PRECISION,
    stationary_sd DOUBLE PRECISION,
    half_life_s DOUBLE PRECISION,
    CONSTRAINT pk_ou_params PRIMARY KEY (source, pair_id, interval_ns, y_symbol, log_prices, adjust, as_of),
    CONSTRAINT fk_ou_params_pair_id FOREIGN KEY(source, pair_id) REFERENCES pair_universe (source, pair_id)
);
CREATE INDEX ix_ou_params_pair ON ou_params (pair_id, as_of);
INSERT INTO research_schema (version) VALUES (1);
