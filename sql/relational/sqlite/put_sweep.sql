-- purpose: insert a sweep, or replace what is known of it.
-- grain: one row per sweep.
-- parameters: one per column.
INSERT INTO sweeps (sweep_id, started_at_ns, finished_at_ns, status, overrides, jobs, note) VALUES (:sweep_id,
:started_at_ns, :finished_at_ns, :status, :overrides, :jobs, :note) ON CONFLICT (sweep_id) DO UPDATE SET
started_at_ns = excluded.started_at_ns, finished_at_ns = excluded.finished_at_ns, status = excluded.status,
overrides = excluded.overrides, jobs = excluded.jobs, note = excluded.note
