-- purpose: insert a job of a sweep, or replace it.
-- grain: one row per sweep and job.
-- parameters: one per column.
INSERT INTO sweep_jobs (sweep_id, job, varied, status, error, pnl, gross_pnl, fees, return_frac, sharpe,
max_drawdown, max_drawdown_frac, trades, round_trips, trades_won, trades_lost, mean_trade_s, orders,
fill_ratio, maker_share, turnover_notional, turnover, config_hash, data_hash, code_hash, seed, result_hash,
run_id) VALUES (:sweep_id, :job, :varied, :status, :error, :pnl, :gross_pnl, :fees, :return_frac, :sharpe,
:max_drawdown, :max_drawdown_frac, :trades, :round_trips, :trades_won, :trades_lost, :mean_trade_s, :orders,
:fill_ratio, :maker_share, :turnover_notional, :turnover, :config_hash, :data_hash, :code_hash, :seed,
:result_hash, :run_id) ON CONFLICT (job, sweep_id) DO UPDATE SET varied = excluded.varied, status =
excluded.status, error = excluded.error, pnl = excluded.pnl, gross_pnl = excluded.gross_pnl, fees =
excluded.fees, return_frac = excluded.return_frac, sharpe = excluded.sharpe, max_drawdown =
excluded.max_drawdown, max_drawdown_frac = excluded.max_drawdown_frac, trades = excluded.trades, round_trips =
excluded.round_trips, trades_won = excluded.trades_won, trades_lost = excluded.trades_lost, mean_trade_s =
excluded.mean_trade_s, orders = excluded.orders, fill_ratio = excluded.fill_ratio, maker_share =
excluded.maker_share, turnover_notional = excluded.turnover_notional, turnover = excluded.turnover,
config_hash = excluded.config_hash, data_hash = excluded.data_hash, code_hash = excluded.code_hash, seed =
excluded.seed, result_hash = excluded.result_hash, run_id = excluded.run_id
