"""Registers the built-in components, by the same door as any other package.

Each hook imports what it registers: a command that asks for one kind loads no other.
"""

from __future__ import annotations

from bt_framework.hookspecs import Register, hookimpl


@hookimpl
def register_data(register: Register) -> None:
    """Register data sources."""
    from bt_plugins.data import (
        bars,
        binance,
        bitstamp,
        bybit,
        clickhouse,
        databento,
        lobster,
        npz,
        quotes,
        synthetic_pair,
        tardis,
    )

    register(bars.Bars, bars.build)
    register(binance.Binance, binance.build)
    register(bitstamp.Bitstamp, bitstamp.build)
    register(bybit.Bybit, bybit.build)
    register(clickhouse.Clickhouse, clickhouse.build)
    register(databento.Databento, databento.build)
    register(lobster.Lobster, lobster.build)
    register(npz.Npz, npz.build)
    register(quotes.Quotes, quotes.build)
    register(synthetic_pair.SyntheticPair, synthetic_pair.build)
    register(tardis.Tardis, tardis.build)


@hookimpl
def register_bar_sources(register: Register) -> None:
    """Register sources of bars."""
    from bt_plugins.bars import binance_klines, clickhouse, csv, parquet, rest, synthetic, websocket

    register(binance_klines.BinanceKlines, binance_klines.build)
    register(clickhouse.Clickhouse, clickhouse.build)
    register(csv.Csv, csv.build)
    register(parquet.Parquet, parquet.build)
    register(rest.Rest, rest.build)
    register(synthetic.Synthetic, synthetic.build)
    register(websocket.Websocket, websocket.build)


@hookimpl
def register_strategies(register: Register) -> None:
    """Register strategies."""
    from bt_plugins.strategies import (
        basis,
        bollinger_pairs,
        imbalance,
        johansen_basket,
        market_maker,
        ou_pairs,
    )

    register(basis.Basis, basis.build)
    register(bollinger_pairs.BollingerPairs, bollinger_pairs.build)
    register(imbalance.Imbalance, imbalance.build)
    register(johansen_basket.JohansenBasket, johansen_basket.build)
    register(market_maker.MarketMaker, market_maker.build)
    register(ou_pairs.OuPairs, ou_pairs.build)


@hookimpl
def register_latency_models(register: Register) -> None:
    """Register latency models."""
    from bt_plugins.latency import constant, feed_derived, historical, jitter

    for config_class in (
        constant.Constant,
        constant.Colo,
        constant.SameRegion,
        constant.Retail,
        constant.Zero,
    ):
        register(config_class, constant.build)
    register(feed_derived.FeedDerived, feed_derived.build)
    register(historical.Historical, historical.build)
    register(jitter.JitterLatency, jitter.build)


@hookimpl
def register_queue_models(register: Register) -> None:
    """Register queue models."""
    from bt_plugins.queue import models

    for config_class in (
        models.L3Fifo,
        models.LogProb,
        models.LogProb2,
        models.PowerProb,
        models.PowerProb2,
        models.PowerProb3,
        models.RiskAverse,
    ):
        register(config_class, models.build)


@hookimpl
def register_exchange_models(register: Register) -> None:
    """Register exchange models."""
    from bt_plugins.exchange import models

    for config_class in (models.NoPartialFill, models.PartialFill):
        register(config_class, models.build)


@hookimpl
def register_fee_models(register: Register) -> None:
    """Register fee schedules."""
    from bt_plugins.fees import schedules, tiers

    for config_class in (
        schedules.BinanceUsdmVip0,
        schedules.ByQty,
        schedules.ByValue,
        schedules.FlatPerTrade,
        schedules.ZeroFees,
    ):
        register(config_class, schedules.build)
    for tiered_class in (tiers.BinanceUsdmTiers, tiers.Tiered):
        register(tiered_class, tiers.build)


@hookimpl
def register_slippage_models(register: Register) -> None:
    """Register slippage models."""
    from bt_plugins.slippage import fixed_bps, none, sqrt_impact

    register(fixed_bps.FixedBps, fixed_bps.build)
    register(none.NoSlippage, none.build)
    register(sqrt_impact.SqrtImpact, sqrt_impact.build)


@hookimpl
def register_contract_models(register: Register) -> None:
    """Register contract models."""
    from bt_plugins.contract import models

    for config_class in (models.FromData, models.Linear, models.Inverse):
        register(config_class, models.build)


@hookimpl
def register_depth_models(register: Register) -> None:
    """Register forms of order book."""
    from bt_plugins.depth import models

    for config_class in (models.Auto, models.PriceVector, models.HashMap):
        register(config_class, models.build)


@hookimpl
def register_risk_rules(register: Register) -> None:
    """Register risk rules."""
    from bt_plugins.risk import (
        cooldown,
        daily_loss,
        loss_streak,
        max_drawdown,
        max_gross_exposure,
        max_leverage,
        max_net_exposure,
        max_open_orders,
        max_open_positions,
        max_order_notional,
        max_order_qty,
        max_position,
        order_rate,
        price_collar,
        self_cross,
        trading_windows,
    )

    register(cooldown.Cooldown, cooldown.build)
    register(daily_loss.DailyLoss, daily_loss.build)
    register(loss_streak.LossStreak, loss_streak.build)
    register(max_drawdown.MaxDrawdown, max_drawdown.build)
    register(max_gross_exposure.MaxGrossExposure, max_gross_exposure.build)
    register(max_leverage.MaxLeverage, max_leverage.build)
    register(max_net_exposure.MaxNetExposure, max_net_exposure.build)
    register(max_open_orders.MaxOpenOrders, max_open_orders.build)
    register(max_open_positions.MaxOpenPositions, max_open_positions.build)
    register(max_order_notional.MaxOrderNotional, max_order_notional.build)
    register(max_order_qty.MaxOrderQty, max_order_qty.build)
    register(max_position.MaxPosition, max_position.build)
    register(order_rate.OrderRate, order_rate.build)
    register(price_collar.PriceCollar, price_collar.build)
    register(self_cross.SelfCross, self_cross.build)
    register(trading_windows.TradingWindows, trading_windows.build)


@hookimpl
def register_sizings(register: Register) -> None:
    """Register sizing rules."""
    from bt_plugins.sizing import (
        atr,
        fixed_notional,
        fixed_qty,
        kelly,
        percent_of_equity,
        risk_parity,
        volatility_target,
    )

    register(atr.Atr, atr.build)
    register(fixed_notional.FixedNotional, fixed_notional.build)
    register(fixed_qty.FixedQty, fixed_qty.build)
    register(kelly.Kelly, kelly.build)
    register(percent_of_equity.PercentOfEquity, percent_of_equity.build)
    register(risk_parity.RiskParity, risk_parity.build)
    register(volatility_target.VolatilityTarget, volatility_target.build)


@hookimpl
def register_writers(register: Register) -> None:
    """Register writers."""
    from bt_plugins.writers import clickhouse, parquet

    register(clickhouse.Clickhouse, clickhouse.build)
    register(parquet.Parquet, parquet.build)


@hookimpl
def register_stores(register: Register) -> None:
    """Register run stores."""
    from bt_plugins.stores import postgres, sqlite

    register(sqlite.Sqlite, sqlite.build)
    register(postgres.Postgres, postgres.build)


@hookimpl
def register_consoles(register: Register) -> None:
    """Register consoles."""
    from bt_plugins.consoles import json, plain, rich

    register(rich.RichConsole, rich.build)
    register(plain.PlainConsole, plain.build)
    register(json.JsonConsole, json.build)
