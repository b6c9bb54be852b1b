"""Columns of the kinds of file, and what tells them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bt_framework.data.csv_blocks import DECIMAL, OPTIONAL_DECIMAL, WHOLE, Column

_COMMON = ("exchange", "symbol", "timestamp", "local_timestamp")
_INCREMENTAL = (*_COMMON, "is_snapshot", "side", "price", "amount")
_TRADES = (*_COMMON, "id", "side", "price", "amount")
_QUOTES = (*_COMMON, "ask_amount", "ask_price", "bid_price", "bid_amount")
_LEVEL = ("asks[{0}].price", "asks[{0}].amount", "bids[{0}].price", "bids[{0}].amount")

SNAPSHOT_WORDS = ("false", "true")
BOOK_SIDES = ("bid", "ask", "buy", "sell")
"""An odd place is the ask side."""
TRADE_SIDES = ("buy", "sell", "unknown")

_INVERSE = {
    "binance-delivery": r".+",
    "bitmex": r"XBT(USD|[FGHJKMNQUVXZ]\d\d)",
    "bybit": r"[A-Z]+USD([FGHJKMNQUVXZ]\d\d)?",
    "cryptofacilities": r"[PF]I_.+",
    "deribit": r"(BTC|ETH)-(PERPETUAL|\d+[A-Z]{3}\d\d)",
    "huobi-dm": r".+",
    "huobi-dm-swap": r".+",
    "okex-futures": r".+-USD-\d+",
    "okex-swap": r".+-USD-SWAP",
}


class Content(StrEnum):
    """What a file holds; books in the order of preference."""

    TRADES = "trades"
    INCREMENTAL = "incremental"
    SNAPSHOT = "snapshot"
    QUOTES = "quotes"


@dataclass(frozen=True)
class Format:
    """A kind of file; ``depth`` is how many levels a row has, 0 if it is one level or a trade."""

    content: Content
    depth: int = 0


def format_of(names: Sequence[str]) -> Format | None:
    """The kind of file with these columns; None if there is none.

    >>> format_of("exchange,symbol,timestamp,local_timestamp,id,side,price,amount".split(","))
    Format(content=<Content.TRADES: 'trades'>, depth=0)
    """
    columns = tuple(names)
    if columns == _INCREMENTAL:
        return Format(Content.INCREMENTAL)
    if columns == _TRADES:
        return Format(Content.TRADES)
    if columns == _QUOTES:
        return Format(Content.QUOTES, 1)
    depth, rest = divmod(len(columns) - len(_COMMON), len(_LEVEL))
    if (
        depth > 0
        and rest == 0
        and columns == (*_COMMON, *(name for i in range(depth) for name in level_names(i)))
    ):
        return Format(Content.SNAPSHOT, depth)
    return None


def level_names(level: int) -> list[str]:
    """Columns of a level: ask price, ask amount, bid price, bid amount."""
    return [name.format(level) for name in _LEVEL]


def value_names(found: Format) -> list[str]:
    """Columns with prices and amounts, four for each level as in `level_names`."""
    if found.content == Content.QUOTES:
        return ["ask_price", "ask_amount", "bid_price", "bid_amount"]
    return [name for level in range(found.depth) for name in level_names(level)]


def columns_of(names: Sequence[str], symbol: str) -> list[Column]:
    """How the columns of a file of `symbol` are read."""
    found = format_of(names)
    assert found is not None
    kinds: dict[str, str | tuple[str, ...]] = {
        "symbol": (symbol,),
        "timestamp": WHOLE,
        "local_timestamp": WHOLE,
    }
    if found.depth:
        kinds |= dict.fromkeys(value_names(found), OPTIONAL_DECIMAL)
    else:
        kinds |= {"price": DECIMAL, "amount": DECIMAL, "is_snapshot": SNAPSHOT_WORDS}
        kinds["side"] = TRADE_SIDES if found.content == Content.TRADES else BOOK_SIDES
    return [Column(name, kinds.get(name, "")) for name in names]


def pays_in_base(exchange: str, symbol: str) -> bool:
    """Whether a contract is inverse: its amounts are in quote currency, and it pays in its base.

    >>> pays_in_base("deribit", "BTC-PERPETUAL"), pays_in_base("deribit", "BTC_USDC-PERPETUAL")
    (True, False)
    """
    return re.fullmatch(_INVERSE.get(exchange, "(?!)"), symbol) is not None
