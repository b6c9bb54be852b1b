-- purpose: insert rows of a run's trades, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_trades (run_id, sequence, entry_ts, exit_ts, symbol, direction, open, entry_order_id,
exit_order_id, entry_signal_id, exit_signal_id, entry_tag, exit_tag, entry_maker, exit_maker, qty, entry_px,
exit_px, gross_pnl, fees, net_pnl, slippage, mae, mfe, duration_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, sequence) DO UPDATE SET entry_ts =
excluded.entry_ts, exit_ts = excluded.exit_ts, symbol = excluded.symbol, direction = excluded.direction, open
= excluded.open, entry_order_id = excluded.entry_order_id, exit_order_id = excluded.exit_order_id,
entry_signal_id = excluded.entry_signal_id, exit_signal_id = excluded.exit_signal_id, entry_tag =
excluded.entry_tag, exit_tag = excluded.exit_tag, entry_maker = excluded.entry_maker, exit_maker =
excluded.exit_maker, qty = excluded.qty, entry_px = excluded.entry_px, exit_px = excluded.exit_px, gross_pnl =
excluded.gross_pnl, fees = excluded.fees, net_pnl = excluded.net_pnl, slippage = excluded.slippage, mae =
excluded.mae, mfe = excluded.mfe, duration_ns = excluded.duration_ns
