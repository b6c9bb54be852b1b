"""Our own books, moved by the order updates that we log: pure functions on one instrument's record."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def fill_fee(contract, px, qty, maker):
    """Fee of a fill, quote currency: value x fraction + quantity x rate + a flat amount. Negative is a rebate."""
    if maker:
        frac, per_qty = contract.maker_value_frac, contract.maker_per_qty
    else:
        frac, per_qty = contract.taker_value_frac, contract.taker_per_qty
    return px * qty * contract.contract_size * frac + qty * per_qty + contract.per_fill


@kernel
def book_fill(row, contract, side, px, qty, fee):
    """Book a fill on a `LEDGER` record and return the PnL that it realised, by average cost, before the fee.

    The part of `qty` that reduces the position realises (px - average_px) x sign x contract size; what goes beyond
    zero opens a new position at `px`.
    """
    before = row.position_qty
    signed = side * qty
    realised = 0.0
    if before * signed >= 0:
        total = abs(before) + qty
        row.average_px = (abs(before) * row.average_px + qty * px) / total if total > 0 else 0.0
    else:
        closed = min(qty, abs(before))
        sign = 1.0 if before > 0 else -1.0
        realised = closed * (px - row.average_px) * sign * contract.contract_size
        if qty > abs(before):
            row.average_px = px
    # Quantities are whole lots: rounding keeps sums of decimals from drifting away from zero.
    lots = round((before + signed) / contract.lot_size)
    row.position_qty = lots * contract.lot_size
    if lots == 0:
        row.average_px = 0.0
    row.cash -= signed * px * contract.contract_size
    row.fees += fee
    row.realised_pnl += realised
    row.filled_qty += qty
    return realised
