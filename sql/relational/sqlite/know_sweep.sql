-- purpose: insert a sweep of which nothing is known but its id.
-- grain: one row per sweep.
-- parameters: one per column.
INSERT INTO sweeps (sweep_id, started_at_ns, finished_at_ns, status, overrides, jobs, note) VALUES (:sweep_id,
:started_at_ns, :finished_at_ns, :status, :overrides, :jobs, :note) ON CONFLICT DO NOTHING
