-- purpose: find the completed runs of an identity, the newest first.
-- grain: one row per run.
-- parameters: config_hash, data_hash, code_hash, seed.
SELECT backtest_runs.run_id, backtest_runs.run_dir, backtest_runs.record FROM backtest_runs WHERE
backtest_runs.config_hash = :config_hash AND backtest_runs.data_hash = :data_hash AND backtest_runs.code_hash
= :code_hash AND backtest_runs.seed = :seed AND backtest_runs.status = 'completed' ORDER BY
backtest_runs.started_at_ns DESC, backtest_runs.run_id
