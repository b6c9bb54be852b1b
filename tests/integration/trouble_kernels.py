"""The kernel of a strategy that trades a little, or gets into trouble."""

from __future__ import annotations

from bt_framework.jit import kernel
from bt_framework.records import Tag

_ENTRY = int(Tag.ENTRY)


@kernel
def on_timer(market, account, out, p, s, w):
    """Buy `p.lots` lots now and then; loop for ever, raise, or write far out of bounds if told to."""
    s.wakes += 1
    if p.spins > 0 and s.wakes > 2:
        while w[0, 0] >= 0.0:
            w[0, 0] += 1.0
    if p.raises > 0 and s.wakes > 2:
        raise ValueError("in trouble")
    if p.pokes > 0 and s.wakes > 2:
        w[p.pokes, 0] = 1.0
    if s.wakes % 5 == 0 and account.order_count() == 0:
        out.market(0, 1, p.lots * market.lot_size(0), _ENTRY)
