-- Which migrations this database has.
-- Grain: one row per migration; two processes that migrate at once may both write it.
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version Int64 COMMENT 'number of the file',
    name String COMMENT 'its name',
    applied_at_ns Int64 COMMENT 'when all of its statements had run, wall clock, ns UTC',
    sha256 String COMMENT 'SHA-256 of the file'
)
ENGINE = MergeTree
ORDER BY version
COMMENT 'Migrations of the tables';
