"""DBN files written with the library, record by record, and what is read of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn
import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.databento import Databento, build

T0 = 1_700_000_000_000_000_000  # 2023-11-14
LATENCY_NS = 1_000
DAY_NS = 86_400_000_000_000
BUY, SELL = int(EventFlag.BUY), int(EventFlag.SELL)
ADD, CANCEL, MODIFY = (
    EventKind.ADD_ORDER,
    EventKind.CANCEL_ORDER,
    EventKind.MODIFY_ORDER,
)
FILL, TRADE, CLEAR = EventKind.FILL, EventKind.TRADE, EventKind.DEPTH_CLEAR
DEPTH, SNAPSHOT = EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT
LAST, IN_SNAPSHOT, BAD_BOOK = dbn.F_LAST, dbn.F_SNAPSHOT, dbn.F_MAYBE_BAD_BOOK


def interval(
    instrument_id: int | str,
    start: date = date(2023, 11, 14),
    end: date = date(2023, 11, 20),
) -> Any:
    return SimpleNamespace(start_date=start, end_date=end, symbol=str(instrument_id))


def metadata(
    schema: str | None,
    symbols: dict[str, list[Any]] | None = None,
    start: int = T0,
    **more: Any,
) -> bytes:
    symbols = {"ABC": [interval(7)]} if symbols is None else symbols
    of = {"stype_in": dbn.SType.RAW_SYMBOL, "stype_out": dbn.SType.INSTRUMENT_ID} | more
    return bytes(
        dbn.Metadata(
            dataset="XNAS.ITCH",
            start=start,
            schema=dbn.Schema.from_str(schema) if schema else None,
            symbols=list(symbols),
            mappings=[SimpleNamespace(raw_symbol=name, intervals=found) for name, found in symbols.items()],
            **of,
        )
    )


def order(
    action: str,
    order_id: int = 1,
    side: str = "B",
    px: float | None = 100.0,
    qty: int = 5,
    t: int = 0,
    **more: Any,
) -> bytes:
    """One MBO record at `t` ns after T0; the last of its packet unless `flags` says otherwise."""
    of = {
        "flags": LAST,
        "ts_recv": T0 + t + LATENCY_NS,
        "instrument_id": 7,
        "ts_event": T0 + t,
    } | more
    price = dbn.UNDEF_PRICE if px is None else round(px * 1e9)
    return bytes(
        dbn.MBOMsg(
            1,
            order_id=order_id,
            price=price,
            size=qty,
            action=action_of(action),
            side=side_of(side),
            **of,
        )
    )


def action_of(letter: str) -> Any:
    return dbn.Action.from_str(letter)


def side_of(letter: str) -> Any:
    return dbn.Side.from_str(letter)


def window(
    bids: list[tuple[float | None, int]],
    asks: list[tuple[float | None, int]],
    action: str = "A",
    side: str = "B",
    **more: Any,
) -> bytes:
    """One MBP-1 or MBP-10 record, by `depth`."""
    depth, t, px, qty = (
        more.pop("depth", 10),
        more.pop("t", 0),
        more.pop("px", 100.0),
        more.pop("qty", 1),
    )
    of = {
        "flags": LAST,
        "ts_recv": T0 + t + LATENCY_NS,
        "instrument_id": 7,
        "ts_event": T0 + t,
    } | more
    levels = []
    for k in range(depth):
        bid = bids[k] if k < len(bids) else (None, 0)
        ask = asks[k] if k < len(asks) else (None, 0)
        prices = [dbn.UNDEF_PRICE if p is None else round(p * 1e9) for p, _ in (bid, ask)]
        levels.append(dbn.BidAskPair(prices[0], prices[1], bid[1], ask[1], 1, 1))
    kind = dbn.MBP10Msg if depth == 10 else dbn.MBP1Msg
    return bytes(
        kind(
            1,
            price=round(px * 1e9),
            size=qty,
            action=action_of(action),
            side=side_of(side),
            depth=0,
            levels=levels if depth == 10 else levels[0],
            **of,
        )
    )


def definition(**more: Any) -> bytes:
    of = {
        "min_price_increment": 250_000_000,
        "unit_of_measure_qty": 50_000_000_000,
        "raw_symbol": "ABC",
    } | more
    return bytes(
        dbn.InstrumentDefMsg(
            1,
            7,
            T0,
            T0,
            display_factor=1,
            asset="",
            security_type="",
            instrument_class=dbn.InstrumentClass.FUTURE,
            security_update_action=dbn.SecurityUpdateAction.ADD,
            currency="USD",
            **of,
        )
    )


def write(path: Path, *records: bytes, schema: str | None = "mbo", **more: Any) -> Path:
    path.write_bytes(metadata(schema, **more) + b"".join(records))
    return path


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Databento(files=[str(path) for path in paths], **options)).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def orders(rows: np.ndarray) -> list[tuple[int, int, float, float]]:
    return [(int(r["ev"]), int(r["order_id"]), float(r["px"]), float(r["qty"])) for r in rows]


def levels(rows: np.ndarray) -> list[tuple[int, float, float]]:
    assert (rows["order_id"] == 0).all()
    return [(int(r["ev"]), float(r["px"]), float(r["qty"])) for r in rows]
