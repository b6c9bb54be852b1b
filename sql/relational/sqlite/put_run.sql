-- purpose: insert a run, or replace what is known of it.
-- grain: one row per run.
-- parameters: one per column.
INSERT INTO backtest_runs (run_id, sweep_id, strategy, symbols, status, error, started_at_ns, finished_at_ns,
start_ts, end_ts, config_hash, data_hash, code_hash, result_hash, seed, git_commit, tags, note, run_dir, host,
mode, feeds, events, capital, count_signals, count_orders, count_fills, count_refusals, count_risk_events,
count_equity, count_trades, kernel_s, wall_s, record, updated_at_ns) VALUES (:run_id, :sweep_id, :strategy,
:symbols, :status, :error, :started_at_ns, :finished_at_ns, :start_ts, :end_ts, :config_hash, :data_hash,
:code_hash, :result_hash, :seed, :git_commit, :tags, :note, :run_dir, :host, :mode, :feeds, :events, :capital,
:count_signals, :count_orders, :count_fills, :count_refusals, :count_risk_events, :count_equity,
:count_trades, :kernel_s, :wall_s, :record, :updated_at_ns) ON CONFLICT (run_id) DO UPDATE SET sweep_id =
excluded.sweep_id, strategy = excluded.strategy, symbols = excluded.symbols, status = excluded.status, error =
excluded.error, started_at_ns = excluded.started_at_ns, finished_at_ns = excluded.finished_at_ns, start_ts =
excluded.start_ts, end_ts = excluded.end_ts, config_hash = excluded.config_hash, data_hash =
excluded.data_hash, code_hash = excluded.code_hash, result_hash = excluded.result_hash, seed = excluded.seed,
git_commit = excluded.git_commit, tags = excluded.tags, note = excluded.note, run_dir = excluded.run_dir, host
= excluded.host, mode = excluded.mode, feeds = excluded.feeds, events = excluded.events, capital =
excluded.capital, count_signals = excluded.count_signals, count_orders = excluded.count_orders, count_fills =
excluded.count_fills, count_refusals = excluded.count_refusals, count_risk_events =
excluded.count_risk_events, count_equity = excluded.count_equity, count_trades = excluded.count_trades,
kernel_s = excluded.kernel_s, wall_s = excluded.wall_s, record = excluded.record, updated_at_ns =
excluded.updated_at_ns
