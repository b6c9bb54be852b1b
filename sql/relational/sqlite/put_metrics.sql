-- purpose: insert a run's metrics, or replace them.
-- grain: one row per run.
-- parameters: one per column.
INSERT INTO backtest_metrics (run_id, pnl, gross_pnl, fees, return_frac, sharpe, max_drawdown,
max_drawdown_frac, trades, round_trips, trades_won, trades_lost, mean_trade_s, orders, fill_ratio,
maker_share, turnover_notional, turnover, updated_at_ns) VALUES (:run_id, :pnl, :gross_pnl, :fees,
:return_frac, :sharpe, :max_drawdown, :max_drawdown_frac, :trades, :round_trips, :trades_won, :trades_lost,
:mean_trade_s, :orders, :fill_ratio, :maker_share, :turnover_notional, :turnover, :updated_at_ns) ON CONFLICT
(run_id) DO UPDATE SET pnl = excluded.pnl, gross_pnl = excluded.gross_pnl, fees = excluded.fees, return_frac =
excluded.return_frac, sharpe = excluded.sharpe, max_drawdown = excluded.max_drawdown, max_drawdown_frac =
excluded.max_drawdown_frac, trades = excluded.trades, round_trips = excluded.round_trips, trades_won =
excluded.trades_won, trades_lost = excluded.trades_lost, mean_trade_s = excluded.mean_trade_s, orders =
excluded.orders, fill_ratio = excluded.fill_ratio, maker_share = excluded.maker_share, turnover_notional =
excluded.turnover_notional, turnover = excluded.turnover, updated_at_ns = excluded.updated_at_ns
