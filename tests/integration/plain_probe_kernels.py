"""A strategy that asks market and account everything, and sends every kind of intent."""

from __future__ import annotations

from bt_framework.jit import kernel
from bt_framework.records import SignalKind, Tag, TimeInForce

COLUMNS = 44
_QUOTE, _ENTER, _ENTRY, _GTC = int(Tag.QUOTE), int(SignalKind.ENTER), int(Tag.ENTRY), int(TimeInForce.GTC)


@kernel
def note(market, account, row):
    """Write the answer of every method into `row`."""
    bid, ask = market.best_bid_px(0), market.best_ask_px(0)
    row[0] = market.count()
    row[1] = market.now_ts()
    row[2] = market.end_ts()
    row[3] = market.tick_size(0)
    row[4] = market.lot_size(0)
    row[5] = market.contract_size(0)
    row[6] = 1.0 if market.is_inverse(0) else 0.0
    row[7] = market.notional(0, 1_000.0, 0.5)
    row[8] = bid
    row[9] = ask
    row[10] = market.best_bid_qty(0)
    row[11] = market.best_ask_qty(0)
    row[12] = market.bid_qty_at(0, bid - 0.1)
    row[13] = market.ask_qty_at(0, ask + 0.1)
    row[14] = market.bid_level_px(0, 1)
    row[15] = market.ask_level_px(0, 1)
    row[16] = market.mid_px(0)
    row[17] = market.micro_px(0)
    row[18] = account.position_qty(0)
    row[19] = account.average_px(0)
    row[20] = account.unit_qty(0)
    row[21] = account.open_qty(0, 1)
    row[22] = account.open_qty(0, -1)
    row[23] = account.order_count()
    row[24] = account.equity(0)
    row[25] = account.equity_at(0, 1_000.0)
    row[26] = account.mark_px(0)
    row[27] = account.realised_pnl(0)
    row[28] = account.fees(0)
    row[29] = account.capital()
    row[30] = account.exits(0)
    row[31] = account.last_exit_ts(0)
    row[32] = account.last_exit_pnl(0)
    row[33] = account.losing_exits()
    row[42] = 1.0 if market.is_due(21_000_000) else 0.0
    row[43] = market.update_ts(0)
    if account.order_count() > 0:
        order = account.order(0)
        row[34], row[35], row[36] = order.order_id, order.px, order.leaves_qty
        row[37], row[38] = order.request, order.tag


@kernel
def act(market, account, out, s, row):
    """Send one intent of a kind that changes with each wake-up."""
    turn = s.wakes % 9
    bid, ask = market.best_bid_px(0), market.best_ask_px(0)
    if turn == 0:
        row[39] = out.signal(_ENTER, 1, 1.5, 0.5, 1.0, 3.0)
        row[40] = out.limit(0, 1, bid, 0.01, _QUOTE)
    elif turn == 2:
        row[40] = out.limit_with(0, -1, ask, 0.01, _QUOTE, _GTC)
    elif turn == 4:
        row[40] = out.market(0, 1 if account.position_qty(0) <= 0 else -1, 0.02, _ENTRY)
    elif account.order_count() > 0 and account.order(0).request == 0:
        if turn == 6:
            out.modify(account.order(0), account.order(0).px, 0.005)
        elif turn == 8:
            out.cancel(account.order(0))


@kernel
def wake(reason, market, account, out, s, w):
    """Note and act."""
    if s.row < w.shape[0]:
        w[s.row, 41] = reason
        note(market, account, w[s.row])
        act(market, account, out, s, w[s.row])
        s.row += 1
        s.wakes += 1


@kernel
def on_timer(market, account, out, p, s, w):
    """Timer."""
    wake(1, market, account, out, s, w)


@kernel
def on_book(market, account, out, p, s, w):
    """Book."""
    wake(2, market, account, out, s, w)


@kernel
def on_order(market, account, out, p, s, w):
    """Order."""
    wake(3, market, account, out, s, w)
