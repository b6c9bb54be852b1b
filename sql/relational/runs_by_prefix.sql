-- purpose: the runs whose id begins with a text, an exact match first.
-- grain: one row per run.
-- parameters: prefix, limit.
SELECT run_id, run_dir, record
FROM runs
WHERE substr(run_id, 1, length(:prefix)) = :prefix
ORDER BY length(run_id), started_at_ns DESC, run_id
LIMIT :limit
