"""Our own books, moved by the order updates that we log: pure functions on one instrument's record.

A linear contract of quantity q at price px is worth q x px x contract size in quote currency; an inverse one
q x contract size / px in base currency, and its profit has the opposite sign.
"""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def contract_value(contract, px, qty):
    """Value of `qty` at `px`, settlement currency, not negative for qty >= 0; 0 at no price."""
    if contract.inverse:
        return qty * contract.contract_size / px if px > 0 else 0.0
    return px * qty * contract.contract_size


@kernel
def position_value(contract, px, position_qty):
    """What closing a position at `px` brings, settlement currency: negative for a short (inverse: a long) one."""
    value = contract_value(contract, px, position_qty)
    return -value if contract.inverse else value


@kernel
def equity_at(row, contract, px):
    """Cash + position at `px` - fees of a `LEDGER` record: profit since the start, settlement currency."""
    return row.cash + position_value(contract, px, row.position_qty) - row.fees


@kernel
def tier_of(tiers, volume):
    """Place of the last tier whose least volume is reached; ``tiers`` are in ascending order of it."""
    place = 0
    for index in range(tiers.size):
        if volume >= tiers[index].min_volume:
            place = index
    return place


@kernel
def fill_fee(contract, tier, px, qty, maker):
    """Fee of a fill, settlement currency: value x fraction + quantity x rate + a flat amount. Negative is a rebate."""
    if maker:
        frac, per_qty = tier.maker_value_frac, contract.maker_per_qty
    else:
        frac, per_qty = tier.taker_value_frac, contract.taker_per_qty
    return contract_value(contract, px, qty) * frac + qty * per_qty + contract.per_fill


@kernel
def book_fill(row, contract, side, px, qty, fee):
    """Book a fill on a `LEDGER` record and return the PnL that it realised, by average cost, before the fee.

    The part of `qty` that reduces the position realises its value at `px` less that at ``average_px``; what goes
    beyond zero opens a new position at `px`. The average price of an inverse contract is the harmonic mean.
    """
    before = row.position_qty
    signed = side * qty
    realised = 0.0
    if before * signed >= 0:
        total = abs(before) + qty
        if contract.inverse:
            held = abs(before) / row.average_px if row.average_px > 0 else 0.0
            row.average_px = total / (held + qty / px) if total > 0 else 0.0
        else:
            row.average_px = (abs(before) * row.average_px + qty * px) / total if total > 0 else 0.0
    else:
        closed = min(qty, abs(before)) * (1.0 if before > 0 else -1.0) * contract.contract_size
        if contract.inverse:
            realised = closed * (1.0 / row.average_px - 1.0 / px)
        else:
            realised = closed * (px - row.average_px)
        if qty > abs(before):
            row.average_px = px
    # Quantities are whole lots: rounding keeps sums of decimals from drifting away from zero.
    lots = round((before + signed) / contract.lot_size)
    row.position_qty = lots * contract.lot_size
    if lots == 0:
        row.average_px = 0.0
    row.cash -= position_value(contract, px, signed)
    row.fees += fee
    row.realised_pnl += realised
    row.filled_qty += qty
    return realised


@kernel
def note_exit(row, before_qty, realised, fee, now_ts):
    """Follow the round trip that a booked fill belongs to.

    Returns
    -------
    int
        1 if the fill closed or reversed the position at a loss, -1 if it did so otherwise, 0 if it did not.
    """
    row.trip_pnl += realised - fee
    if before_qty == 0 or row.position_qty * before_qty > 0:
        return 0
    row.exits += 1
    row.last_exit_ts, row.last_exit_pnl = now_ts, row.trip_pnl
    row.trip_pnl = 0.0
    return 1 if row.last_exit_pnl < 0 else -1
