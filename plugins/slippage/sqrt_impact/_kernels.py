"""Kernel of the square-root law."""

from __future__ import annotations

import math

from bt_framework.jit import kernel


@kernel
def slippage_bps(market, asset, side, px, qty, p):
    """Y x daily volatility x sqrt(quantity / daily volume), bps of price, at most ``p.max_bps``.

    Parameters
    ----------
    qty : float
        Of this fill, as the daily volume: base units, or contracts of an inverse contract.
    p.scale_bps : float64 array of shape (n_instruments,)
        1e4 x Y x daily volatility / sqrt(daily volume).

    References
    ----------
    Almgren, Thum, Hauptmann, Li (2005), Direct Estimation of Equity Market Impact; Toth et al. (2011), Anomalous Price
    Impact and the Critical Nature of Liquidity in Financial Markets, Phys. Rev. X 1, 021006, equation 1.
    """
    return min(p.scale_bps[asset] * math.sqrt(qty), p.max_bps)
