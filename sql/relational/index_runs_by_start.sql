-- purpose: the newest runs first, without a sort.
-- grain: one entry per run.
-- parameters: none.
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started_at_ns, run_id)
