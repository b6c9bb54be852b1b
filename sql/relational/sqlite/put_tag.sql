-- purpose: give a run a tag, if it has it not yet.
-- grain: one row per run and tag.
-- parameters: run_id, tag.
INSERT INTO backtest_run_tags (run_id, tag) VALUES (:run_id, :tag) ON CONFLICT DO NOTHING
