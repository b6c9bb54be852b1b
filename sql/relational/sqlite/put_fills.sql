-- purpose: insert rows of a run's fills, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_fills (run_id, sequence, local_ts, exch_ts, order_id, signal_id, symbol, side, tag,
maker, px, qty, slippage_bps, fee, position_qty, realised_pnl) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
?, ?, ?) ON CONFLICT (run_id, sequence) DO UPDATE SET local_ts = excluded.local_ts, exch_ts =
excluded.exch_ts, order_id = excluded.order_id, signal_id = excluded.signal_id, symbol = excluded.symbol, side
= excluded.side, tag = excluded.tag, maker = excluded.maker, px = excluded.px, qty = excluded.qty,
slippage_bps = excluded.slippage_bps, fee = excluded.fee, position_qty = excluded.position_qty, realised_pnl =
excluded.realised_pnl
