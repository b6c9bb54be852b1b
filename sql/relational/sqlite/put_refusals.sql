-- purpose: insert rows of a run's refusals, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_refusals (run_id, sequence, local_ts, symbol, order_id, signal_id, kind, side, tag,
reason, rule, px, qty, value, "limit") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT
(run_id, sequence) DO UPDATE SET local_ts = excluded.local_ts, symbol = excluded.symbol, order_id =
excluded.order_id, signal_id = excluded.signal_id, kind = excluded.kind, side = excluded.side, tag =
excluded.tag, reason = excluded.reason, rule = excluded.rule, px = excluded.px, qty = excluded.qty, value =
excluded.value, "limit" = excluded."limit"
