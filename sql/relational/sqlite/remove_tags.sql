-- purpose: forget the tags of a run.
-- grain: one row per run and tag.
-- parameters: run_id.
DELETE FROM backtest_run_tags WHERE backtest_run_tags.run_id = :run_id
