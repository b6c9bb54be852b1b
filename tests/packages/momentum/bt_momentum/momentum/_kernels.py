"""Kernels of the momentum strategy."""

from __future__ import annotations

import math

from bt_framework.jit import kernel
from bt_framework.records import Side, SignalKind, Tag

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_ENTRY, _ENTER = int(Tag.ENTRY), int(SignalKind.ENTER)


@kernel
def direction(fast_px, slow_px, threshold_bps):
    """1, -1, or 0 while the averages are closer than `threshold_bps`."""
    gap_bps = (fast_px / slow_px - 1.0) * 1e4
    if abs(gap_bps) < threshold_bps:
        return 0
    return 1 if gap_bps > 0 else -1


@kernel
def on_timer(market, account, out, p, s, w):
    """Move the averages; trade the difference between the position wanted and the one there is."""
    s.samples += 1
    for asset in range(market.count()):
        mid, lot = market.mid_px(asset), market.lot_size(asset)
        if not mid > 0:
            continue
        for column, span in ((0, p.fast_samples), (1, p.slow_samples)):
            before = w[asset, column]
            w[asset, column] = mid if before == 0 else before + (mid - before) * 2.0 / (span + 1.0)
        qty = math.floor(account.unit_qty(asset) / lot + 1e-9) * lot
        busy = account.open_qty(asset, _BUY) + account.open_qty(asset, _SELL) > 0
        if s.samples < p.slow_samples or qty <= 0 or busy:
            continue
        wanted = direction(w[asset, 0], w[asset, 1], p.threshold_bps)
        units = account.position_qty(asset) / qty
        if wanted != 0 and abs(wanted - units) > 0.5:
            out.signal(_ENTER, wanted, math.nan, math.nan, math.nan, math.nan)
            out.market(asset, wanted, max(lot, round(abs(wanted - units) * qty / lot) * lot), _ENTRY)
