-- purpose: forget a run; its folder stays.
-- grain: one row per run.
-- parameters: run_id.
DELETE FROM runs
WHERE run_id = :run_id
