-- purpose: insert rows of a run's signals, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_signals (run_id, sequence, local_ts, signal_id, kind, direction, z, spread, hedge_ratio,
half_life_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, sequence) DO UPDATE SET local_ts =
excluded.local_ts, signal_id = excluded.signal_id, kind = excluded.kind, direction = excluded.direction, z =
excluded.z, spread = excluded.spread, hedge_ratio = excluded.hedge_ratio, half_life_s = excluded.half_life_s
