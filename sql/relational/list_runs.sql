-- purpose: the runs, newest first.
-- grain: one row per run.
-- parameters: strategy and status (null for all), limit.
SELECT run_id, run_dir, record
FROM runs
WHERE (:strategy IS NULL OR strategy = :strategy)
  AND (:status IS NULL OR status = :status)
ORDER BY started_at_ns DESC, run_id DESC
LIMIT :limit
