-- Bars, by source and symbol. A load is one symbol's bars and corporate actions as they were in the bar store at one time;
-- load_id is a hash of them. Only the loads that bars_sources names count: readers join it, or bars_current does it for
-- them. Tokens of inserts are not remembered here: rows that were removed with a replaced load may come again.
--
-- Codecs, bytes per bar on disk of a million minute bars with prices in cents: prices ZSTD(1) 7.8 (ZSTD(3) the same), FPC
-- and ZSTD 10.5, Gorilla and ZSTD 12.8, LZ4 15.8; times Delta and ZSTD 0.01, DoubleDelta and ZSTD 0.02, ZSTD alone 5.6.
-- All of them are read as fast.

-- Grain: one row per bar of a load; read FINAL, and the loads of bars_sources only.
CREATE TABLE IF NOT EXISTS bars
(
    source LowCardinality(String) COMMENT 'name under which the bars are kept',
    symbol LowCardinality(String) COMMENT 'instrument',
    load_id LowCardinality(String) COMMENT 'hash of the load that the bar is of',
    datetime DateTime64(6, 'UTC') COMMENT 'when the bar opens' CODEC(Delta, ZSTD(1)),
    open Nullable(Float64) COMMENT 'first price as traded, quote currency' CODEC(ZSTD(1)),
    high Nullable(Float64) COMMENT 'highest price as traded, quote currency' CODEC(ZSTD(1)),
    low Nullable(Float64) COMMENT 'lowest price as traded, quote currency' CODEC(ZSTD(1)),
    close Nullable(Float64) COMMENT 'last price as traded, quote currency' CODEC(ZSTD(1)),
    volume Nullable(Float64) COMMENT 'as traded, base units' CODEC(ZSTD(1)),
    adj_factor Float64 COMMENT 'a price times it is comparable with the newest one; volume divided by it' CODEC(ZSTD(1)),
    outlier_flag UInt8 COMMENT 'bits: 1 outlier, 2 replaced, 4 filled, 8 interpolated' CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (source, symbol, load_id, datetime)
COMMENT 'Bars of all loads, one row each; bars_current has those that count';

-- Grain: one row per corporate action of a load; read FINAL, and the loads of bars_sources only.
CREATE TABLE IF NOT EXISTS bars_actions
(
    source LowCardinality(String) COMMENT 'name under which the bars are kept',
    symbol LowCardinality(String) COMMENT 'instrument',
    load_id LowCardinality(String) COMMENT 'hash of the load that the action is of',
    ex_date Date32 COMMENT 'first day without what was paid out',
    kind LowCardinality(String) COMMENT 'split or dividend',
    value Float64 COMMENT 'split: new shares per old one; dividend: cash per share, quote currency',
    CONSTRAINT kind_is_known CHECK kind IN ('split', 'dividend')
)
ENGINE = ReplacingMergeTree
ORDER BY (source, symbol, load_id, ex_date, kind)
COMMENT 'Corporate actions of all loads of bars, one row each';

-- Grain: one row per symbol of a source; read FINAL: the last one written counts.
CREATE TABLE IF NOT EXISTS bars_sources
(
    source LowCardinality(String) COMMENT 'name under which the bars are kept',
    symbol LowCardinality(String) COMMENT 'instrument',
    interval_ns Int64 COMMENT 'from one bar to the next, ns',
    load_id String COMMENT 'hash of the load that counts',
    bars UInt64 COMMENT 'rows of bars that it has',
    actions UInt64 COMMENT 'rows of bars_actions that it has',
    first_datetime DateTime64(6, 'UTC') COMMENT 'when its first bar opens',
    last_datetime DateTime64(6, 'UTC') COMMENT 'when its last bar opens',
    updated_at_ns Int64 COMMENT 'when it began to count, wall clock, ns UTC'
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY (source, symbol)
COMMENT 'Which load of each symbol counts; read FINAL';

-- Grain: one row per bar that counts.
CREATE OR REPLACE VIEW bars_current AS
SELECT
    b.source AS source,
    b.symbol AS symbol,
    s.interval_ns AS interval_ns,
    b.datetime AS datetime,
    b.open AS open,
    b.high AS high,
    b.low AS low,
    b.close AS close,
    b.volume AS volume,
    b.adj_factor AS adj_factor,
    b.outlier_flag AS outlier_flag
FROM bars AS b FINAL
INNER JOIN (SELECT source, symbol, load_id, interval_ns FROM bars_sources FINAL) AS s
    ON b.source = s.source AND b.symbol = s.symbol AND b.load_id = s.load_id;
