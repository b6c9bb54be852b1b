"""Sizes of a few well-known instruments; the data settle all others and overrule these if need be."""

from __future__ import annotations

import re

from bt_framework.results.run import Instrument

USDM = "usd-m futures"
COINM = "coin-m futures"
SPOT = "spot"

_COINM_SYMBOL = re.compile(r"[A-Z0-9]+USD_(PERP|\d{6})")

# Exchange information of 2024: (market, symbol): (tick size in quote currency, lot size in base units).
_SIZES = {
    (USDM, "BTCUSDT"): (0.1, 0.001),
    (USDM, "ETHUSDT"): (0.01, 0.001),
    (SPOT, "BTCUSDT"): (0.01, 0.00001),
    (SPOT, "ETHUSDT"): (0.01, 0.0001),
}


def futures_market(symbol: str) -> str:
    """Which of the two futures markets lists `symbol`.

    >>> futures_market("BTCUSD_PERP"), futures_market("BTCUSDT")
    ('coin-m futures', 'usd-m futures')
    """
    return COINM if _COINM_SYMBOL.fullmatch(symbol) else USDM


def instrument(market: str, symbol: str) -> Instrument | None:
    """What is known of `symbol` on `market`; None if nothing is."""
    sizes = _SIZES.get((market, symbol))
    return Instrument(symbol, *sizes) if sizes else None
