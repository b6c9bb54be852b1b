-- purpose: insert rows of a run's risk_events, or replace those whose position is there.
-- grain: one row per run and position.
-- parameters: one per column, in order.
INSERT INTO backtest_risk_events (run_id, sequence, local_ts, rule, event, action, until_ts, value, "limit")
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, sequence) DO UPDATE SET local_ts = excluded.local_ts,
rule = excluded.rule, event = excluded.event, action = excluded.action, until_ts = excluded.until_ts, value =
excluded.value, "limit" = excluded."limit"
