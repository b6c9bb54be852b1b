-- How far runs are stored, and views over their rows. Times are int64 ns UTC, prices in quote currency, quantities in
-- base units, amounts in settlement currency. Give the run where you can: WHERE run_id = '...'.

-- Purpose: which rows of a run are complete. A batch of rows goes to several tables; its row here comes last, so that
--   rows of a writer that was killed in between are known by their sequence. Grain: one row per batch; read FINAL.
CREATE TABLE IF NOT EXISTS backtest_progress
(
    run_id LowCardinality(String) COMMENT 'id of the run',
    batch Int64 COMMENT 'number of the batch\'s first slice',
    local_ts Int64 COMMENT 'simulated time at its end, ns UTC',
    events Int64 COMMENT 'feed events up to then, estimated',
    signals Int64 COMMENT 'rows of signals so far, this batch included',
    orders Int64 COMMENT 'rows of orders so far, this batch included',
    fills Int64 COMMENT 'rows of fills so far, this batch included',
    refusals Int64 COMMENT 'rows of refusals so far, this batch included',
    risk_events Int64 COMMENT 'rows of risk_events so far, this batch included',
    equity Int64 COMMENT 'rows of equity so far, this batch included',
    trades Int64 COMMENT 'rows of trades so far, this batch included',
    updated_at_ns Int64 COMMENT 'when the batch was made, wall clock, ns UTC'
)
ENGINE = ReplacingMergeTree(updated_at_ns)
ORDER BY (run_id, batch)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How far the rows of runs are complete, one row per batch; read FINAL';

-- Purpose: backtest_signals in whole slices. Grain: one row per signal.
CREATE OR REPLACE VIEW whole_signals AS
SELECT r.*
FROM backtest_signals AS r FINAL
LEFT JOIN (SELECT run_id, max(signals) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: backtest_orders in whole slices. Grain: one row per step of an order.
CREATE OR REPLACE VIEW whole_orders AS
SELECT r.*
FROM backtest_orders AS r FINAL
LEFT JOIN (SELECT run_id, max(orders) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: backtest_fills in whole slices. Grain: one row per fill.
CREATE OR REPLACE VIEW whole_fills AS
SELECT r.*
FROM backtest_fills AS r FINAL
LEFT JOIN (SELECT run_id, max(fills) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: backtest_refusals in whole slices. Grain: one row per refusal.
CREATE OR REPLACE VIEW whole_refusals AS
SELECT r.*
FROM backtest_refusals AS r FINAL
LEFT JOIN (SELECT run_id, max(refusals) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: backtest_risk_events in whole slices. Grain: one row per event.
CREATE OR REPLACE VIEW whole_risk_events AS
SELECT r.*
FROM backtest_risk_events AS r FINAL
LEFT JOIN (SELECT run_id, max(risk_events) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: backtest_timeseries in whole slices. Grain: one row per sample and instrument.
CREATE OR REPLACE VIEW whole_timeseries AS
SELECT r.*
FROM backtest_timeseries AS r FINAL
LEFT JOIN (SELECT run_id, max(equity) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: backtest_trades in whole slices. Grain: one row per round trip.
CREATE OR REPLACE VIEW whole_trades AS
SELECT r.*
FROM backtest_trades AS r FINAL
LEFT JOIN (SELECT run_id, max(trades) + 1 AS bound FROM backtest_progress FINAL GROUP BY run_id) AS p ON r.run_id = p.run_id
WHERE ifNull(p.bound, 0) = 0 OR r.sequence + 1 < p.bound;

-- Purpose: what the instruments of runs are, and which feed of market_data each was run on. Grain: run, instrument.
--   feed_id is empty where it is not known; contract_size is 1 and inverse false where the record does not say.
CREATE OR REPLACE VIEW run_instruments AS
SELECT
    run_id,
    place,
    JSONExtract(symbols, 'Array(String)')[place] AS symbol,
    JSONExtract(feeds, 'Array(String)')[place] AS feed_id,
    JSONExtractFloat(record, 'instruments', place, 'tick_size') AS tick_size,
    JSONExtractFloat(record, 'instruments', place, 'lot_size') AS lot_size,
    ifNull(JSONExtract(record, 'instruments', place, 'contract_size', 'Nullable(Float64)'), 1) AS contract_size,
    JSONExtractBool(record, 'instruments', place, 'inverse') AS inverse
FROM backtest_runs FINAL
ARRAY JOIN arrayEnumerate(JSONExtract(symbols, 'Array(String)')) AS place;

-- Purpose: the mid price of the feeds that runs used, from one change of the best prices to the next. Grain: feed, clock
--   (exchange or local), ts. mid_px is null while a side is empty. A feed that is half-loaded is left out. Rows that
--   were stored twice are equal, and a search by time finds either.
CREATE OR REPLACE VIEW touch_mids AS
SELECT
    symbol,
    toString(feed_id) AS feed_id,
    clock,
    ts,
    if(isFinite(bid_px) AND isFinite(ask_px), toNullable((bid_px + ask_px) / 2), NULL) AS mid_px
FROM market_touch
WHERE feed_id IN (SELECT feed_id FROM run_instruments)
    AND feed_id NOT IN (SELECT feed_id FROM market_data_feeds FINAL WHERE status = 'loading');

-- Purpose: the life of each order. Grain: run, order.
--   ended_by: filled, cancelled, expired or rejected; empty while it goes on. requests: orders, cancels and modifications
--   sent. queue_ahead_qty: when it came to rest; null if it never did. first_fill_*: null if there is none.
CREATE OR REPLACE VIEW order_lives AS
SELECT
    o.run_id AS run_id,
    o.order_id AS order_id,
    o.symbol AS symbol,
    o.side AS side,
    o.tag AS tag,
    o.order_type AS order_type,
    o.time_in_force AS time_in_force,
    o.px AS px,
    o.qty AS qty,
    o.sent_ts AS sent_ts,
    o.ended_by AS ended_by,
    o.requests AS requests,
    o.queue_ahead_qty AS queue_ahead_qty,
    ifNull(f.fills, 0) AS fills,
    ifNull(f.filled_qty, 0) AS filled_qty,
    f.first_fill_exch_ts AS first_fill_exch_ts,
    f.first_fill_local_ts AS first_fill_local_ts
FROM
(
    SELECT
        run_id,
        order_id,
        argMin(r.symbol, sequence) AS symbol,
        argMin(r.side, sequence) AS side,
        argMin(r.tag, sequence) AS tag,
        argMin(r.order_type, sequence) AS order_type,
        argMin(r.time_in_force, sequence) AS time_in_force,
        argMin(r.px, sequence) AS px,
        argMin(r.qty, sequence) AS qty,
        argMin(local_ts, sequence) AS sent_ts,
        argMaxIf(event, sequence, event IN ('filled', 'cancelled', 'expired', 'rejected')) AS ended_by,
        countIf(event IN ('submitted', 'cancel_requested', 'modify_requested')) AS requests,
        argMaxOrNullIf(r.queue_ahead_qty, sequence, event = 'accepted') AS queue_ahead_qty
    FROM whole_orders AS r
    GROUP BY run_id, order_id
) AS o
LEFT JOIN
(
    SELECT
        run_id,
        order_id,
        count() AS fills,
        sumKahan(qty) AS filled_qty,
        toNullable(min(exch_ts)) AS first_fill_exch_ts,
        toNullable(min(local_ts)) AS first_fill_local_ts
    FROM whole_fills
    GROUP BY run_id, order_id
) AS f ON o.run_id = f.run_id AND o.order_id = f.order_id;

-- Purpose: how orders fare. Grain: run, instrument, tag.
--   filled: with any fill; partial: of those, not filled whole. Ratios are of orders, qty_fill_ratio of quantity.
--   time_to_first_fill_*: from sending until we hear of the first fill, by our clock, ns. order_to_trade: requests sent
--   (orders, cancels, modifications) per fill. queue_ahead_qty: mean of the orders that came to rest, base units.
CREATE OR REPLACE VIEW order_behaviour AS
SELECT
    run_id,
    symbol,
    tag,
    count() AS orders,
    countIf(r.fills > 0) AS filled,
    countIf(r.fills > 0 AND ended_by != 'filled') AS partial,
    countIf(ended_by = 'cancelled') AS cancelled,
    countIf(ended_by = 'expired') AS expired,
    countIf(ended_by = 'rejected') AS rejected,
    countIf(ended_by = '') AS open,
    sum(r.requests) AS requests,
    sum(r.fills) AS fills,
    filled / orders AS fill_ratio,
    sumKahan(r.filled_qty) / sumKahan(r.qty) AS qty_fill_ratio,
    partial / orders AS partial_ratio,
    cancelled / orders AS cancel_ratio,
    rejected / orders AS reject_ratio,
    if(filled > 0, toNullable(quantileExactInclusiveIf(0.5)(first_fill_local_ts - sent_ts, r.fills > 0)), NULL)
        AS time_to_first_fill_p50_ns,
    if(filled > 0, toNullable(quantileExactInclusiveIf(0.9)(first_fill_local_ts - sent_ts, r.fills > 0)), NULL)
        AS time_to_first_fill_p90_ns,
    if(fills > 0, toNullable(requests / fills), NULL) AS order_to_trade,
    avgOrNullIf(r.queue_ahead_qty, isFinite(r.queue_ahead_qty)) AS queue_ahead_qty
FROM order_lives AS r
GROUP BY run_id, symbol, tag;

-- Purpose: what fills cost against the mid. Grain: fill.
--   arrival_*: against the mid that we knew when the order was sent; fill_*: against the mid at the exchange when it was
--   filled. bps of that mid, positive is a cost. Null where market_touch does not have the feed or a side was empty.
CREATE OR REPLACE VIEW fill_slippage AS
SELECT
    f.run_id AS run_id,
    f.sequence AS sequence,
    f.order_id AS order_id,
    f.symbol AS symbol,
    f.side AS side,
    f.tag AS tag,
    f.maker AS maker,
    f.px AS px,
    f.qty AS qty,
    f.sent_ts AS sent_ts,
    f.exch_ts AS exch_ts,
    f.local_ts AS local_ts,
    a.mid_px AS arrival_mid_px,
    e.mid_px AS fill_mid_px,
    if(f.side = 'buy', 1, -1) * (f.px - a.mid_px) / a.mid_px * 10000 AS arrival_slippage_bps,
    if(f.side = 'buy', 1, -1) * (f.px - e.mid_px) / e.mid_px * 10000 AS fill_slippage_bps
FROM
(
    SELECT
        r.run_id AS run_id,
        r.sequence AS sequence,
        r.order_id AS order_id,
        r.symbol AS symbol,
        r.side AS side,
        r.tag AS tag,
        r.maker AS maker,
        r.px AS px,
        r.qty AS qty,
        r.exch_ts AS exch_ts,
        r.local_ts AS local_ts,
        i.feed_id AS feed_id,
        o.sent_ts AS sent_ts
    FROM whole_fills AS r
    LEFT JOIN run_instruments AS i ON r.run_id = i.run_id AND r.symbol = i.symbol
    LEFT JOIN
    (
        SELECT run_id, order_id, min(local_ts) AS sent_ts FROM whole_orders WHERE event = 'submitted' GROUP BY run_id, order_id
    ) AS o ON r.run_id = o.run_id AND r.order_id = o.order_id
) AS f
ASOF LEFT JOIN (SELECT feed_id, symbol, ts, mid_px FROM touch_mids WHERE clock = 'local') AS a
    ON f.feed_id = a.feed_id AND f.symbol = a.symbol AND f.sent_ts >= a.ts
ASOF LEFT JOIN (SELECT feed_id, symbol, ts, mid_px FROM touch_mids WHERE clock = 'exchange') AS e
    ON f.feed_id = e.feed_id AND f.symbol = e.symbol AND f.exch_ts >= e.ts;

-- Purpose: where the mid went after each fill. Grain: fill, horizon (1 ms, 10 ms, 100 ms, 1 s, 10 s).
--   mid_px is at the fill's time at the exchange plus horizon_ns, by the exchange's clock; markout_bps is its distance from
--   the fill's price, bps of that price, positive is good for us. Null where market_touch does not have the feed, a side
--   was empty, or the best prices of the feed do not change any more by then.
CREATE OR REPLACE VIEW fill_markouts AS
SELECT
    f.run_id AS run_id,
    f.sequence AS sequence,
    f.order_id AS order_id,
    f.symbol AS symbol,
    f.side AS side,
    f.tag AS tag,
    f.maker AS maker,
    f.px AS px,
    f.qty AS qty,
    f.exch_ts AS exch_ts,
    f.horizon_ns AS horizon_ns,
    if(f.until_ts <= l.last_ts, m.mid_px, NULL) AS mid_px,
    if(f.side = 'buy', 1, -1) * (mid_px - f.px) / f.px * 10000 AS markout_bps
FROM
(
    SELECT r.*, i.feed_id AS feed_id, horizon_ns, r.exch_ts + horizon_ns AS until_ts
    FROM whole_fills AS r
    LEFT JOIN run_instruments AS i ON r.run_id = i.run_id AND r.symbol = i.symbol
    ARRAY JOIN CAST([1000000, 10000000, 100000000, 1000000000, 10000000000], 'Array(Int64)') AS horizon_ns
) AS f
ASOF LEFT JOIN (SELECT feed_id, symbol, ts, mid_px FROM touch_mids WHERE clock = 'exchange') AS m
    ON f.feed_id = m.feed_id AND f.symbol = m.symbol AND f.until_ts >= m.ts
LEFT JOIN
(
    SELECT feed_id, symbol, max(ts) AS last_ts FROM touch_mids WHERE clock = 'exchange' GROUP BY feed_id, symbol
) AS l ON f.feed_id = l.feed_id AND f.symbol = l.symbol;

-- Purpose: markouts on average. Grain: run, instrument, tag, maker or taker, horizon.
--   fills: those with a markout. stderr_bps: standard error of the mean; null for fewer than two fills.
--   weighted_bps: mean weighted by quantity. bps, positive is good for us.
CREATE OR REPLACE VIEW markouts AS
SELECT
    run_id,
    symbol,
    tag,
    maker,
    horizon_ns,
    count(markout_bps) AS fills,
    avg(markout_bps) AS mean_bps,
    if(fills > 1, stddevSampStable(markout_bps) / sqrt(fills), NULL) AS stderr_bps,
    sumKahan(markout_bps * qty) / sumKahanIf(qty, markout_bps IS NOT NULL) AS weighted_bps
FROM fill_markouts
GROUP BY run_id, symbol, tag, maker, horizon_ns;

-- Purpose: touch_mids of one run, and the three views below of it: these read the prices of its feeds only, those above the
--   prices of all feeds that runs used. Write touch_mids_of_run(run_id = '...'). Grain: feed, clock, ts.
CREATE OR REPLACE VIEW touch_mids_of_run AS
SELECT
    symbol,
    toString(feed_id) AS feed_id,
    clock,
    ts,
    if(isFinite(bid_px) AND isFinite(ask_px), toNullable((bid_px + ask_px) / 2), NULL) AS mid_px
FROM market_touch
WHERE (symbol, feed_id) IN (SELECT symbol, feed_id FROM run_instruments WHERE run_id = {run_id:String})
    AND feed_id NOT IN (SELECT feed_id FROM market_data_feeds FINAL WHERE status = 'loading');

-- Purpose: fill_slippage of one run: fill_slippage_of_run(run_id = '...'). Grain: fill.
CREATE OR REPLACE VIEW fill_slippage_of_run AS
SELECT
    f.run_id AS run_id,
    f.sequence AS sequence,
    f.order_id AS order_id,
    f.symbol AS symbol,
    f.side AS side,
    f.tag AS tag,
    f.maker AS maker,
    f.px AS px,
    f.qty AS qty,
    f.sent_ts AS sent_ts,
    f.exch_ts AS exch_ts,
    f.local_ts AS local_ts,
    a.mid_px AS arrival_mid_px,
    e.mid_px AS fill_mid_px,
    if(f.side = 'buy', 1, -1) * (f.px - a.mid_px) / a.mid_px * 10000 AS arrival_slippage_bps,
    if(f.side = 'buy', 1, -1) * (f.px - e.mid_px) / e.mid_px * 10000 AS fill_slippage_bps
FROM
(
    SELECT
        r.run_id AS run_id,
        r.sequence AS sequence,
        r.order_id AS order_id,
        r.symbol AS symbol,
        r.side AS side,
        r.tag AS tag,
        r.maker AS maker,
        r.px AS px,
        r.qty AS qty,
        r.exch_ts AS exch_ts,
        r.local_ts AS local_ts,
        i.feed_id AS feed_id,
        o.sent_ts AS sent_ts
    FROM whole_fills AS r
    LEFT JOIN (SELECT * FROM run_instruments WHERE run_id = {run_id:String}) AS i ON r.run_id = i.run_id AND r.symbol = i.symbol
    LEFT JOIN
    (
        SELECT run_id, order_id, min(local_ts) AS sent_ts FROM whole_orders
        WHERE run_id = {run_id:String} AND event = 'submitted' GROUP BY run_id, order_id
    ) AS o ON r.run_id = o.run_id AND r.order_id = o.order_id
    WHERE r.run_id = {run_id:String}
) AS f
ASOF LEFT JOIN (SELECT feed_id, symbol, ts, mid_px FROM touch_mids_of_run(run_id = {run_id:String}) WHERE clock = 'local') AS a
    ON f.feed_id = a.feed_id AND f.symbol = a.symbol AND f.sent_ts >= a.ts
ASOF LEFT JOIN (SELECT feed_id, symbol, ts, mid_px FROM touch_mids_of_run(run_id = {run_id:String}) WHERE clock = 'exchange') AS e
    ON f.feed_id = e.feed_id AND f.symbol = e.symbol AND f.exch_ts >= e.ts;

-- Purpose: fill_markouts of one run: fill_markouts_of_run(run_id = '...'). Grain: fill, horizon.
CREATE OR REPLACE VIEW fill_markouts_of_run AS
SELECT
    f.run_id AS run_id,
    f.sequence AS sequence,
    f.order_id AS order_id,
    f.symbol AS symbol,
    f.side AS side,
    f.tag AS tag,
    f.maker AS maker,
    f.px AS px,
    f.qty AS qty,
    f.exch_ts AS exch_ts,
    f.horizon_ns AS horizon_ns,
    if(f.until_ts <= l.last_ts, m.mid_px, NULL) AS mid_px,
    if(f.side = 'buy', 1, -1) * (mid_px - f.px) / f.px * 10000 AS markout_bps
FROM
(
    SELECT r.*, i.feed_id AS feed_id, horizon_ns, r.exch_ts + horizon_ns AS until_ts
    FROM whole_fills AS r
    LEFT JOIN (SELECT * FROM run_instruments WHERE run_id = {run_id:String}) AS i ON r.run_id = i.run_id AND r.symbol = i.symbol
    ARRAY JOIN CAST([1000000, 10000000, 100000000, 1000000000, 10000000000], 'Array(Int64)') AS horizon_ns
    WHERE r.run_id = {run_id:String}
) AS f
ASOF LEFT JOIN (SELECT feed_id, symbol, ts, mid_px FROM touch_mids_of_run(run_id = {run_id:String}) WHERE clock = 'exchange') AS m
    ON f.feed_id = m.feed_id AND f.symbol = m.symbol AND f.until_ts >= m.ts
LEFT JOIN
(
    SELECT feed_id, symbol, max(ts) AS last_ts FROM touch_mids_of_run(run_id = {run_id:String}) WHERE clock = 'exchange' GROUP BY feed_id, symbol
) AS l ON f.feed_id = l.feed_id AND f.symbol = l.symbol;

-- Purpose: markouts of one run: markouts_of_run(run_id = '...'). Grain: instrument, tag, maker or taker, horizon.
CREATE OR REPLACE VIEW markouts_of_run AS
SELECT
    run_id,
    symbol,
    tag,
    maker,
    horizon_ns,
    count(markout_bps) AS fills,
    avg(markout_bps) AS mean_bps,
    if(fills > 1, stddevSampStable(markout_bps) / sqrt(fills), NULL) AS stderr_bps,
    sumKahan(markout_bps * qty) / sumKahanIf(qty, markout_bps IS NOT NULL) AS weighted_bps
FROM fill_markouts_of_run(run_id = {run_id:String})
GROUP BY run_id, symbol, tag, maker, horizon_ns;

-- Purpose: every amount that PnL is made of. Grain: fill, and round trip (first in, first out).
--   A closed trade belongs to its exit, an open one to its entry, fees and slippage to their fill. slippage is what the
--   slippage model cost; realised_pnl and unrealised_pnl include it. Settlement currency.
CREATE OR REPLACE VIEW pnl_entries AS
SELECT
    run_id,
    symbol,
    if(open, entry_tag, exit_tag) AS tag,
    if(open, entry_signal_id, exit_signal_id) AS signal_id,
    if(open, entry_maker, exit_maker) AS maker,
    exit_ts AS ts,
    toInt64(NOT open) AS trades,
    if(open, 0, gross_pnl) AS realised_pnl,
    if(open, gross_pnl, 0) AS unrealised_pnl,
    toFloat64(0) AS fees,
    toFloat64(0) AS slippage
FROM whole_trades
UNION ALL
SELECT
    f.run_id,
    f.symbol,
    f.tag,
    f.signal_id,
    f.maker,
    f.local_ts,
    toInt64(0),
    toFloat64(0),
    toFloat64(0),
    f.fee,
    if(f.side = 'buy', 1, -1) * f.qty * if(i.contract_size = 0, 1, i.contract_size)
        * if(i.inverse, 1 / clean_px - 1 / f.px, f.px - clean_px)
FROM
(
    SELECT r.*, r.px / (1 + if(r.side = 'buy', 1, -1) * r.slippage_bps * 0.0001) AS clean_px FROM whole_fills AS r
) AS f
LEFT JOIN run_instruments AS i ON f.run_id = i.run_id AND f.symbol = i.symbol;

-- Purpose: who earned what. Grain: run, instrument. The sum over a run is its equity at the last sample.
--   trades: closed ones. net_pnl = realised_pnl + unrealised_pnl - fees. Settlement currency.
CREATE OR REPLACE VIEW pnl_by_symbol AS
SELECT
    run_id,
    symbol,
    sum(e.trades) AS trades,
    sumKahan(e.realised_pnl) AS realised_pnl,
    sumKahan(e.unrealised_pnl) AS unrealised_pnl,
    sumKahan(e.fees) AS fees,
    sumKahan(e.slippage) AS slippage,
    realised_pnl + unrealised_pnl - fees AS net_pnl
FROM pnl_entries AS e
GROUP BY run_id, symbol;

-- Purpose: what earned it. Grain: run, tag of the order. The sum over a run is its equity at the last sample.
--   A closed trade's PnL belongs to the tag of its exit, an open one's to that of its entry. Settlement currency.
CREATE OR REPLACE VIEW pnl_by_tag AS
SELECT
    run_id,
    tag,
    sum(e.trades) AS trades,
    sumKahan(e.realised_pnl) AS realised_pnl,
    sumKahan(e.unrealised_pnl) AS unrealised_pnl,
    sumKahan(e.fees) AS fees,
    sumKahan(e.slippage) AS slippage,
    realised_pnl + unrealised_pnl - fees AS net_pnl
FROM pnl_entries AS e
GROUP BY run_id, tag;

-- Purpose: when it was earned. Grain: run, instrument, hour (UTC, simulated time) with samples or fills.
--   hour_ts: its begin, ns UTC. pnl: change of equity since the last sample of the hours before; over a run it adds up to
--   its equity at the last sample. realised_pnl: of trades that were closed in it; fees: of its fills.
CREATE OR REPLACE VIEW pnl_by_hour AS
SELECT
    run_id,
    symbol,
    hour_ts,
    toHour(fromUnixTimestamp64Nano(hour_ts, 'UTC')) AS hour_of_day,
    sumKahan(h.pnl) AS pnl,
    sumKahan(h.realised_pnl) AS realised_pnl,
    sumKahan(h.fees) AS fees,
    sum(h.trades) AS trades,
    sum(h.fills) AS fills
FROM
(
    SELECT
        run_id,
        symbol,
        hour_ts,
        equity - lagInFrame(equity, 1, 0) OVER (
            PARTITION BY run_id, symbol ORDER BY hour_ts ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS pnl,
        0 AS realised_pnl,
        0 AS fees,
        0 AS trades,
        0 AS fills
    FROM
    (
        SELECT run_id, symbol, intDiv(local_ts, 3600000000000) * 3600000000000 AS hour_ts, argMax(t.equity, sequence) AS equity
        FROM whole_timeseries AS t
        GROUP BY run_id, symbol, hour_ts
    )
    UNION ALL
    SELECT run_id, symbol, intDiv(exit_ts, 3600000000000) * 3600000000000, 0, gross_pnl, 0, 1, 0
    FROM whole_trades
    WHERE NOT open
    UNION ALL
    SELECT run_id, symbol, intDiv(local_ts, 3600000000000) * 3600000000000, 0, 0, fee, 0, 1
    FROM whole_fills
) AS h
GROUP BY run_id, symbol, hour_ts;

-- Purpose: a session as it went. Grain: run, sample of equity.
--   equity: profit since the start, all instruments. peak: highest so far, the start included. drawdown: fall from it;
--   drawdown_frac: of capital + peak, null without capital. position_qty: by instrument, base units. fills, trades: so
--   far, closed trades. Settlement currency.
CREATE OR REPLACE VIEW session_progress AS
SELECT
    s.run_id AS run_id,
    s.local_ts AS local_ts,
    s.equity AS equity,
    greatest(0, max(s.equity) OVER (PARTITION BY s.run_id ORDER BY s.local_ts ROWS UNBOUNDED PRECEDING)) AS peak,
    peak - s.equity AS drawdown,
    if(c.capital > 0, toNullable(drawdown / (c.capital + peak)), NULL) AS drawdown_frac,
    s.fees AS fees,
    s.position_qty AS position_qty,
    ifNull(f.fills, 0) AS fills,
    ifNull(t.trades, 0) AS trades
FROM
(
    SELECT
        run_id,
        local_ts,
        sumKahan(r.equity) AS equity,
        sumKahan(r.fees) AS fees,
        CAST(arraySort(groupArray((toString(r.symbol), r.position_qty))), 'Map(String, Float64)') AS position_qty
    FROM whole_timeseries AS r
    GROUP BY run_id, local_ts
) AS s
LEFT JOIN (SELECT run_id, capital FROM backtest_runs FINAL) AS c ON s.run_id = c.run_id
ASOF LEFT JOIN
(
    SELECT run_id, local_ts, max(sequence) + 1 AS fills FROM whole_fills GROUP BY run_id, local_ts
) AS f ON s.run_id = f.run_id AND s.local_ts >= f.local_ts
ASOF LEFT JOIN
(
    SELECT run_id, exit_ts, max(sequence) + 1 AS trades FROM whole_trades WHERE NOT open GROUP BY run_id, exit_ts
) AS t ON s.run_id = t.run_id AND s.local_ts >= t.exit_ts;

-- Purpose: runs side by side. Grain: run.
--   peers: completed runs of the same data and interval, itself included. *_rank: 1 is the best of them, null unless it is
--   completed; *_behind: distance to the best (pnl: settlement currency). same_result: completed runs with the same orders,
--   fills and equity, itself included.
CREATE OR REPLACE VIEW run_comparison AS
SELECT
    run_id,
    strategy,
    JSONExtract(symbols, 'Array(String)') AS symbols,
    JSONExtract(tags, 'Array(String)') AS tags,
    note,
    status,
    toDateTime64(started_at_ns / 1000000000, 3, 'UTC') AS started_at,
    start_ts,
    end_ts,
    git_commit,
    config_hash,
    data_hash,
    result_hash,
    seed,
    pnl,
    return_frac,
    sharpe,
    max_drawdown,
    max_drawdown_frac,
    fees,
    trades,
    round_trips,
    trades_won / nullIf(trades_won + trades_lost, 0) AS won_frac,
    fill_ratio,
    maker_share,
    turnover,
    wall_s,
    countIf(status = 'completed') OVER same_data AS peers,
    max(if(status = 'completed', pnl, NULL)) OVER same_data - pnl AS pnl_behind,
    max(if(status = 'completed', sharpe, NULL)) OVER same_data - sharpe AS sharpe_behind,
    max_drawdown - min(if(status = 'completed', max_drawdown, NULL)) OVER same_data AS max_drawdown_behind,
    if(
        status = 'completed' AND pnl IS NOT NULL,
        toNullable(rank() OVER (PARTITION BY data_hash, start_ts, end_ts ORDER BY status = 'completed' DESC, pnl DESC NULLS LAST)),
        NULL
    ) AS pnl_rank,
    if(
        status = 'completed' AND sharpe IS NOT NULL,
        toNullable(rank() OVER (PARTITION BY data_hash, start_ts, end_ts ORDER BY status = 'completed' DESC, sharpe DESC NULLS LAST)),
        NULL
    ) AS sharpe_rank,
    countIf(status = 'completed') OVER (PARTITION BY data_hash, start_ts, end_ts, result_hash) AS same_result
FROM
(
    SELECT r.*, m.* EXCEPT (run_id, updated_at_ns)
    FROM backtest_runs AS r FINAL
    LEFT JOIN backtest_metrics AS m FINAL ON r.run_id = m.run_id
)
WINDOW same_data AS (PARTITION BY data_hash, start_ts, end_ts);
