-- purpose: insert rows of a run's orders, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_orders (run_id, sequence, local_ts, exch_ts, order_id, signal_id, symbol, event, side,
order_type, time_in_force, tag, px, qty, leaves_qty, queue_ahead_qty) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?) ON CONFLICT (run_id, sequence) DO UPDATE SET local_ts = excluded.local_ts, exch_ts =
excluded.exch_ts, order_id = excluded.order_id, signal_id = excluded.signal_id, symbol = excluded.symbol,
event = excluded.event, side = excluded.side, order_type = excluded.order_type, time_in_force =
excluded.time_in_force, tag = excluded.tag, px = excluded.px, qty = excluded.qty, leaves_qty =
excluded.leaves_qty, queue_ahead_qty = excluded.queue_ahead_qty
