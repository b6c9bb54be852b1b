-- Market data and the rows of runs. Times are int64 ns UTC, prices in quote currency, quantities in base units.
-- Every table stores a repeated insert once: its last insert tokens are remembered (non_replicated_deduplication_window),
-- and rows with equal keys are replaced (ReplacingMergeTree), for certain where a query says FINAL.
--
-- Codecs of market_data, measured on 944,088 events of BTCUSDT and ETHUSDT (bytes per row of 72; rows/s on one thread):
--   all LZ4                                                     12.45 B   33 M/s
--   all ZSTD(1)                                                  6.61 B   22 M/s
--   sequence Delta and LZ4, prices Delta and ZSTD(1), rest ZSTD(1)  5.24 B   26 M/s
--   sequence Delta and LZ4, px and qty ZSTD(3), rest ZSTD(1)     5.09 B   31 M/s   <- these
-- By column, bytes per row: times 0.12 with ZSTD(1), 0.12 with Delta and ZSTD(1), 0.19 with DoubleDelta, 0.38 with T64 (of
-- LOBSTER's GOOG 3.15, 3.42); px 4.18 with Gorilla and LZ4, 5.23 with FPC; qty 6.32 and 6.89. Inserts take the same time.

-- Grain: one row per feed event, hftbacktest's record after the feed it is of and its position in it.
CREATE TABLE IF NOT EXISTS market_data
(
    feed_id LowCardinality(String) COMMENT 'SHA-256 of all of the feed\'s events',
    symbol LowCardinality(String) COMMENT 'instrument',
    sequence UInt64 COMMENT 'position in the feed, from 0' CODEC(Delta, LZ4),
    ev UInt64 COMMENT 'kind in the low byte, flags above: exchange 1<<31, local 1<<30, buy 1<<29, sell 1<<28' CODEC(ZSTD(1)),
    exch_ts Int64 COMMENT 'time at the exchange, ns UTC' CODEC(ZSTD(1)),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    px Float64 COMMENT 'price, quote currency' CODEC(ZSTD(3)),
    qty Float64 COMMENT 'quantity, base units' CODEC(ZSTD(3)),
    order_id UInt64 COMMENT 'id of the order in feeds of single orders; else 0' CODEC(ZSTD(1)),
    ival Int64 COMMENT 'free for the reader' CODEC(ZSTD(1)),
    fval Float64 COMMENT 'free for the reader' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(fromUnixTimestamp64Nano(local_ts, 'UTC'))
ORDER BY (symbol, feed_id, sequence)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Feed events, one row each';

-- Grain: one row per feed; read FINAL: the last one written counts. Readers refuse a feed that is not complete.
CREATE TABLE IF NOT EXISTS market_data_feeds
(
    feed_id String COMMENT 'SHA-256 of all of the feed\'s events',
    symbol String COMMENT 'instrument',
    reader LowCardinality(String) COMMENT 'data plugin that read it',
    events UInt64 COMMENT 'rows that market_data has of it when it is complete',
    first_local_ts Int64 COMMENT 'first event at our side, ns UTC',
    last_local_ts Int64 COMMENT 'last event at our side, ns UTC',
    first_exch_ts Int64 COMMENT 'first event at the exchange, ns UTC',
    manifest String COMMENT 'what the event store knows of it: sizes, findings, inputs; JSON' CODEC(ZSTD(3)),
    status LowCardinality(String) COMMENT 'loading or complete',
    updated_at_ns Int64 COMMENT 'when this row was written, wall clock, ns UTC',
    CONSTRAINT status_is_known CHECK status IN ('loading', 'complete')
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY (symbol, feed_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Feeds of market_data, one row each; read FINAL';

-- Grain: one row per change of a feed's best prices, by either clock; read FINAL.
CREATE TABLE IF NOT EXISTS market_touch
(
    feed_id LowCardinality(String) COMMENT 'SHA-256 of all of the feed\'s events',
    symbol LowCardinality(String) COMMENT 'instrument',
    clock LowCardinality(String) COMMENT 'exchange, or local: whose time ts is, and whose book',
    sequence UInt64 COMMENT 'event that changed the best prices: its position in the feed' CODEC(Delta, LZ4),
    ts Int64 COMMENT 'when, ns UTC' CODEC(ZSTD(1)),
    bid_px Float64 COMMENT 'best bid from then on, quote currency; NaN if there is none' CODEC(ZSTD(3)),
    ask_px Float64 COMMENT 'best ask from then on, quote currency; NaN if there is none' CODEC(ZSTD(3)),
    CONSTRAINT clock_is_known CHECK clock IN ('exchange', 'local')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(fromUnixTimestamp64Nano(ts, 'UTC'))
ORDER BY (symbol, feed_id, clock, ts, sequence)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1
COMMENT 'Best prices of feeds, one row per change; read FINAL';

-- Grain: one row per run; read FINAL: the last one written counts.
CREATE TABLE IF NOT EXISTS backtest_runs
(
    run_id String COMMENT 'id of the run',
    sweep_id LowCardinality(Nullable(String)) COMMENT 'sweep that it belongs to',
    strategy LowCardinality(String) COMMENT 'registry name of the strategy',
    symbols String COMMENT 'instruments, a JSON array',
    status LowCardinality(String) COMMENT 'running, completed, failed or stopped; a lost run says running',
    error String COMMENT 'why it failed or was stopped',
    started_at_ns Int64 COMMENT 'wall clock, ns UTC',
    finished_at_ns Int64 COMMENT 'wall clock, ns UTC; 0 until the run has ended',
    start_ts Int64 COMMENT 'first simulated time, ns UTC',
    end_ts Int64 COMMENT 'last simulated time, ns UTC',
    config_hash String COMMENT 'SHA-256 of the configuration',
    data_hash String COMMENT 'SHA-256 of the data',
    code_hash String COMMENT 'SHA-256 of the code',
    result_hash String COMMENT 'SHA-256 of the results; empty until the run has ended',
    seed Int64 COMMENT 'seed of everything random',
    git_commit String COMMENT 'commit of the working folder\'s repository',
    tags String COMMENT 'labels, a JSON array',
    note String COMMENT 'a line for the reader',
    run_dir String COMMENT 'the run\'s folder',
    host LowCardinality(String) COMMENT 'machine that ran it',
    mode LowCardinality(String) COMMENT 'compiled or plain',
    feeds String COMMENT 'content hashes of the instruments\' events, a JSON array',
    events Int64 COMMENT 'feed events',
    capital Float64 COMMENT 'what returns are fractions of, quote currency',
    count_signals Nullable(Int64) COMMENT 'rows of signals',
    count_orders Nullable(Int64) COMMENT 'rows of orders',
    count_fills Nullable(Int64) COMMENT 'rows of fills',
    count_refusals Nullable(Int64) COMMENT 'rows of refusals',
    count_risk_events Nullable(Int64) COMMENT 'rows of risk_events',
    count_equity Nullable(Int64) COMMENT 'rows of equity',
    count_trades Nullable(Int64) COMMENT 'rows of trades',
    kernel_s Nullable(Float64) COMMENT 'time in the compiled loop, seconds',
    wall_s Nullable(Float64) COMMENT 'wall time, seconds',
    record String COMMENT 'everything known of the run: the content of run.json' CODEC(ZSTD(3)),
    updated_at_ns Int64 COMMENT 'when this row was written, wall clock, ns UTC'
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY run_id
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Runs, one row each; read FINAL';

-- Grain: one row per run that has ended; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_metrics
(
    run_id String COMMENT 'id of the run',
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
    updated_at_ns Int64 COMMENT 'when this row was written, wall clock, ns UTC'
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY run_id
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Metrics of runs, one row each; read FINAL';

-- Grain: one row per row of the run's table `signals`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_signals
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    signal_id Int64 COMMENT 'id of the signal; orders carry it' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'what the signal asks for',
    direction Int64 COMMENT '1 buys the spread, -1 sells it, 0 neither' CODEC(ZSTD(1)),
    z Float64 COMMENT 'deviation of the spread from its mean, stationary standard deviations' CODEC(ZSTD(1)),
    spread Float64 COMMENT 'the spread, as the strategy defines it' CODEC(ZSTD(1)),
    hedge_ratio Float64 COMMENT 'second leg per first leg, as the strategy defines it' CODEC(ZSTD(1)),
    half_life_s Float64 COMMENT 'half-life of the spread\'s reversion, s' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Signals of the strategies, one row each; read FINAL';

-- Grain: one row per row of the run's table `orders`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_orders
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    exch_ts Int64 COMMENT 'time at the exchange; 0 where the exchange has not seen it yet, ns UTC' CODEC(ZSTD(1)),
    order_id Int64 COMMENT 'id of the order, from 1 in order of the requests' CODEC(ZSTD(1)),
    signal_id Int64 COMMENT 'signal that the order acts on; 0 is none' CODEC(ZSTD(1)),
    symbol LowCardinality(String) COMMENT 'instrument',
    event LowCardinality(String) COMMENT 'step in the order\'s life that this row is',
    side LowCardinality(String) COMMENT 'buy or sell',
    order_type LowCardinality(String) COMMENT 'limit or market',
    time_in_force LowCardinality(String) COMMENT 'gtc, gtx (post-only), fok or ioc',
    tag LowCardinality(String) COMMENT 'why the strategy sent the order',
    px Float64 COMMENT 'limit price; for a market order the touch when it was sent, quote currency' CODEC(ZSTD(1)),
    qty Float64 COMMENT 'order quantity, base units' CODEC(ZSTD(1)),
    leaves_qty Float64 COMMENT 'quantity not filled after this step, base units' CODEC(ZSTD(1)),
    queue_ahead_qty Float64 COMMENT 'estimated queue in front of an order when it came to rest: what our book shows at its price; else NaN, base units' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Steps in the lives of orders, one row each; read FINAL';

-- Grain: one row per row of the run's table `fills`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_fills
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    exch_ts Int64 COMMENT 'time at the exchange; 0 where the exchange has not seen it yet, ns UTC' CODEC(ZSTD(1)),
    order_id Int64 COMMENT 'id of the order, from 1 in order of the requests' CODEC(ZSTD(1)),
    signal_id Int64 COMMENT 'signal that the order acts on; 0 is none' CODEC(ZSTD(1)),
    symbol LowCardinality(String) COMMENT 'instrument',
    side LowCardinality(String) COMMENT 'buy or sell',
    tag LowCardinality(String) COMMENT 'why the strategy sent the order',
    maker Bool COMMENT 'whether the order rested in the book',
    px Float64 COMMENT 'price of the fill, slippage included, quote currency' CODEC(ZSTD(1)),
    qty Float64 COMMENT 'quantity filled, base units' CODEC(ZSTD(1)),
    slippage_bps Float64 COMMENT 'part of the price that the slippage model added, bps of the price' CODEC(ZSTD(1)),
    fee Float64 COMMENT 'fee paid; negative is a rebate, settlement currency' CODEC(ZSTD(1)),
    position_qty Float64 COMMENT 'position after the fill; negative is short, base units' CODEC(ZSTD(1)),
    realised_pnl Float64 COMMENT 'realised by this fill, by average cost, before fees, settlement currency' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Fills, one row each; read FINAL';

-- Grain: one row per row of the run's table `refusals`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_refusals
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    symbol LowCardinality(Nullable(String)) COMMENT 'instrument',
    order_id Int64 COMMENT 'id of the order, from 1 in order of the requests' CODEC(ZSTD(1)),
    signal_id Int64 COMMENT 'signal that the order acts on; 0 is none' CODEC(ZSTD(1)),
    kind LowCardinality(Nullable(String)) COMMENT 'what the strategy asked for',
    side LowCardinality(Nullable(String)) COMMENT 'buy or sell; null for a cancel',
    tag LowCardinality(Nullable(String)) COMMENT 'why the strategy asked',
    reason LowCardinality(String) COMMENT 'why it was refused',
    rule LowCardinality(Nullable(String)) COMMENT 'risk rule that refused; null if the broker did',
    px Float64 COMMENT 'price asked for, quote currency' CODEC(ZSTD(1)),
    qty Float64 COMMENT 'quantity asked for, base units' CODEC(ZSTD(1)),
    value Float64 COMMENT 'what the rule measured, in its unit; NaN if the broker refused' CODEC(ZSTD(1)),
    limit Float64 COMMENT 'what the rule allows, in its unit; NaN if the broker refused' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Intents that a risk rule or the broker refused, one row each; read FINAL';

-- Grain: one row per row of the run's table `risk_events`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_risk_events
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    rule LowCardinality(String) COMMENT 'risk rule',
    event LowCardinality(String) COMMENT 'breach, resume, or flat: all positions are closed after a breach',
    action LowCardinality(String) COMMENT 'what the rule\'s breach leads to',
    until_ts Int64 COMMENT 'when trading may resume; 0 if not by time, ns UTC' CODEC(ZSTD(1)),
    value Float64 COMMENT 'what the rule measured, in its unit' CODEC(ZSTD(1)),
    limit Float64 COMMENT 'what the rule allows, in its unit' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Breaches of risk rules and what followed, one row each; read FINAL';

-- Grain: one row per row of the run's table `equity`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_timeseries
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    local_ts Int64 COMMENT 'time at our side, ns UTC' CODEC(ZSTD(1)),
    symbol LowCardinality(String) COMMENT 'instrument',
    mid_px Float64 COMMENT 'mid price at which the position is valued, quote currency' CODEC(ZSTD(1)),
    position_qty Float64 COMMENT 'position; negative is short, base units' CODEC(ZSTD(1)),
    cash Float64 COMMENT 'received for sales minus paid for purchases, since the start, settlement currency' CODEC(ZSTD(1)),
    fees Float64 COMMENT 'fees paid since the start, settlement currency' CODEC(ZSTD(1)),
    equity Float64 COMMENT 'cash + position value - fees: profit since the start, settlement currency' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Samples of position and equity, one row each; read FINAL';

-- Grain: one row per row of the run's table `trades`; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_trades
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    sequence Int64 COMMENT 'position in the run\'s table, from 0' CODEC(Delta, LZ4),
    entry_ts Int64 COMMENT 'when it was opened, at our side, ns UTC' CODEC(ZSTD(1)),
    exit_ts Int64 COMMENT 'when it was closed, at our side; of an open trade the last sample, ns UTC' CODEC(ZSTD(1)),
    symbol LowCardinality(String) COMMENT 'instrument',
    direction LowCardinality(String) COMMENT 'long or short',
    open Bool COMMENT 'whether it is still open: its exit is then the last sample\'s mid',
    entry_order_id Int64 COMMENT 'order that opened it' CODEC(ZSTD(1)),
    exit_order_id Int64 COMMENT 'order that closed it; 0 if open' CODEC(ZSTD(1)),
    entry_signal_id Int64 COMMENT 'signal of the entry; 0 is none' CODEC(ZSTD(1)),
    exit_signal_id Int64 COMMENT 'signal of the exit; 0 is none' CODEC(ZSTD(1)),
    entry_tag LowCardinality(String) COMMENT 'why it was opened',
    exit_tag LowCardinality(String) COMMENT 'why it was closed',
    entry_maker Bool COMMENT 'whether the entry rested in the book',
    exit_maker Bool COMMENT 'whether the exit rested in the book',
    qty Float64 COMMENT 'quantity, base units' CODEC(ZSTD(1)),
    entry_px Float64 COMMENT 'price of the entry, slippage included, quote currency' CODEC(ZSTD(1)),
    exit_px Float64 COMMENT 'price of the exit, slippage included, quote currency' CODEC(ZSTD(1)),
    gross_pnl Float64 COMMENT 'earned from entry to exit, before fees, settlement currency' CODEC(ZSTD(1)),
    fees Float64 COMMENT 'its part of the fees of both fills, settlement currency' CODEC(ZSTD(1)),
    net_pnl Float64 COMMENT 'gross_pnl - fees, settlement currency' CODEC(ZSTD(1)),
    slippage Float64 COMMENT 'its part of what the slippage model cost; gross_pnl includes it, settlement currency' CODEC(ZSTD(1)),
    mae Float64 COMMENT 'maximum adverse excursion: the lowest gross PnL on the way, at most 0, settlement currency' CODEC(ZSTD(1)),
    mfe Float64 COMMENT 'maximum favourable excursion: the highest gross PnL on the way, at least 0, settlement currency' CODEC(ZSTD(1)),
    duration_ns Int64 COMMENT 'exit_ts - entry_ts, ns' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, sequence)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Round trips, one row each; read FINAL';

