-- purpose: insert rows of a run's equity, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_equity (run_id, sequence, local_ts, symbol, mid_px, position_qty, cash, fees, equity)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, sequence) DO UPDATE SET local_ts = excluded.local_ts,
symbol = excluded.symbol, mid_px = excluded.mid_px, position_qty = excluded.position_qty, cash =
excluded.cash, fees = excluded.fees, equity = excluded.equity
