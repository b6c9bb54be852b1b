"""One line at a time, for what the scan does not understand: slow, and able to say what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.binance._protocol import Kind, Market, epoch_ns, follow

_NS_PER_DIGITS = {19: 1, 16: 1_000, 13: 1_000_000}
_INT64_MAX = (1 << 63) - 1
_TRADES = {"trade": Kind.TRADE, "aggTrade": Kind.AGG_TRADE}
_BOOK_TICKER_KEYS = frozenset({"u", "b", "B", "a", "A"})

Row = tuple[int, int, int, float, float]


class MalformedLine(Exception):
    """A line is not what a collector writes; the text says why."""


class WrongSymbol(Exception):
    """A message is of another symbol, which is the text."""


class Dropped(Exception):
    """A message makes no row; the text says why in a word or two."""


def split_line(line: bytes) -> tuple[int, str, Mapping[str, Any]]:
    """Receive time in ns, stream name (empty if there is none) and message of a line.

    Raises
    ------
    MalformedLine
        If it has no receive time or no JSON object.
    """
    head, _, body = line.partition(b" ")
    factor = _NS_PER_DIGITS.get(len(head))
    if factor is None or not head.isdigit() or int(head) * factor > _INT64_MAX:
        raise MalformedLine("it does not start with a receive time of 19, 16 or 13 digits and a space")
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedLine(f"it holds no valid JSON after the receive time ({error})") from None
    if not isinstance(message, dict):
        raise MalformedLine("it holds no JSON object after the receive time")
    stream = message.get("stream")
    data = message.get("data")
    return (
        int(head) * factor,
        stream if isinstance(stream, str) else "",
        data if isinstance(data, dict) else message,
    )


def symbol_of(stream: str, message: Mapping[str, Any]) -> str:
    """Symbol of a message, in capitals; empty if it does not say."""
    for key in ("s", "symbol"):
        if isinstance(message.get(key), str):
            return str(message[key]).upper()
    return stream.partition("@")[0].upper() if "@" in stream else ""


def rows_of(line: bytes, symbol: str, state: Any) -> np.ndarray[Any, Any]:
    """Rows of a line, as `_kernels.scan` makes them; `state` is the scan's and follows it.

    Raises
    ------
    MalformedLine, WrongSymbol, Dropped
        See there.
    """
    local_ts, stream, message = split_line(line)
    found = symbol_of(stream, message)
    if found and found != symbol:
        raise WrongSymbol(found)
    try:
        rows = _rows(message, local_ts, state)
    except KeyError as error:
        raise MalformedLine(f"its {_title(message)} has no {error.args[0]!r}") from None
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise MalformedLine(f"its {_title(message)} is broken ({error})") from None
    events = np.zeros(len(rows), EVENT)
    for name, column in zip(
        ("ev", "exch_ts", "local_ts", "px", "qty"), zip(*rows, strict=True), strict=False
    ):
        events[name] = column
    if len(rows):
        state.last_exch_ts = rows[-1][1]
    return events


def _title(message: Mapping[str, Any]) -> str:
    return f"{message['e']} message" if isinstance(message.get("e"), str) else "message"


def _rows(message: Mapping[str, Any], local_ts: int, state: Any) -> list[Row]:
    event = message.get("e")
    if event == "depthUpdate":
        return _depth(message, local_ts, state)
    if event in _TRADES:
        return _trade(message, local_ts, state)
    if event == "bookTicker" or (event is None and message.keys() >= _BOOK_TICKER_KEYS):
        return _book_ticker(message, local_ts, state)
    if isinstance(event, str):
        raise Dropped(event)
    if "lastUpdateId" in message:
        return _snapshot(message, local_ts, state)
    if message.keys() & {"code", "result", "error"}:
        raise Dropped("control")
    raise MalformedLine("its message is neither an event, a snapshot nor a control message")


def _depth(message: Mapping[str, Any], local_ts: int, state: Any) -> list[Row]:
    exch_ts = _time(message["T"] if "T" in message else message["E"])
    bids, asks = _levels(message["b"]), _levels(message["a"])
    numbers = _whole(message["U"]), _whole(message["u"]), _whole(message.get("pu", -1))
    state.market = Market.FUTURES if "pu" in message else Market.SPOT
    follow(state, *numbers)
    if state.bbo:
        state.depth_messages += 1
        return []
    rows = []
    for flag, levels in ((EventFlag.BUY, bids), (EventFlag.SELL, asks)):
        rows += [(EventKind.DEPTH | flag, exch_ts, local_ts, px, qty) for px, qty in levels]
    return rows


def _trade(message: Mapping[str, Any], local_ts: int, state: Any) -> list[Row]:
    exch_ts = _time(message["T"])
    px, qty = _number(message["p"]), _number(message["q"])
    if not isinstance(message["m"], bool):
        raise ValueError(f"m must be true or false, was {message['m']!r}")
    kind = _TRADES[message["e"]]
    state.trade_stream = state.trade_stream or kind
    if state.market == Market.UNKNOWN and kind == Kind.TRADE:
        state.market = Market.FUTURES if "X" in message else Market.SPOT
    if state.trade_stream != kind:
        state.other_trades += 1
        return []
    if message.get("X", "MARKET") != "MARKET":
        state.not_market += 1
        return []
    flag = EventFlag.SELL if message["m"] else EventFlag.BUY
    return [(EventKind.TRADE | flag, exch_ts, local_ts, px, qty)]


def _book_ticker(message: Mapping[str, Any], local_ts: int, state: Any) -> list[Row]:
    bid, ask = _levels([[message["b"], message["B"]], [message["a"], message["A"]]])
    if not state.bbo:
        state.book_tickers += 1
        return []
    if "T" not in message:
        raise Dropped("bookTicker without exchange time")
    exch_ts = _time(message["T"])
    rows = []
    for flag, (px, qty) in ((EventFlag.BUY, bid), (EventFlag.SELL, ask)):
        if qty > 0:
            rows.append((EventKind.DEPTH_CLEAR | flag, exch_ts, local_ts, px, 0.0))
            rows.append((EventKind.DEPTH | flag, exch_ts, local_ts, px, qty))
    return rows


def _snapshot(message: Mapping[str, Any], local_ts: int, state: Any) -> list[Row]:
    """Clear each side as far as the snapshot reaches, then its levels.

    Spot snapshots carry no time: the exchange time is the last one seen, or else the receive time.
    """
    bids, asks = _levels(message["bids"]), _levels(message["asks"])
    if state.bbo:
        state.depth_messages += 1
        return []
    if "T" in message or "E" in message:
        exch_ts = _time(message["T"] if "T" in message else message["E"])
    else:
        exch_ts = int(state.last_exch_ts) or local_ts
    rows = []
    for flag, levels in ((EventFlag.BUY, bids), (EventFlag.SELL, asks)):
        if levels:
            rows.append((EventKind.DEPTH_CLEAR | flag, exch_ts, local_ts, levels[-1][0], 0.0))
            rows += [(EventKind.DEPTH_SNAPSHOT | flag, exch_ts, local_ts, px, qty) for px, qty in levels]
    return rows


def _levels(levels: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    """Prices and quantities; old spot streams have a third, empty member per level."""
    return [(_number(level[0]), _number(level[1])) for level in levels]


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not (math.isfinite(number) and number >= 0):
        raise ValueError(f"prices and quantities must be finite and >= 0, was {value!r}")
    return number


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= _INT64_MAX:
        raise ValueError(f"times and sequence numbers must be whole numbers, was {value!r}")
    return value


def _time(value: Any) -> int:
    time = epoch_ns(_whole(value))
    if time < 0:
        raise ValueError(f"times must be ms, us or ns since 1970 and in 2001 to 2262, was {value!r}")
    return time
