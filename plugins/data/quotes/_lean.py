"""Files of QuantConnect LEAN: what their names and first lines say."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bt_plugins.data.quotes._rows import Slot

FOREX, EQUITY = "forex", "us equity"
QUOTE_TRACK, TRADE_TRACK = "quote", "trade"

_MEMBER = re.compile(
    r"(?P<date>\d{8})_(?P<symbol>[a-z0-9.]+)_"
    r"(?:(?P<period>tick|second)_(?P<track>quote|trade)|(?P<old_track>quote|trade)_tick)\.csv",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z0-9]+")
_ZONES = {"oanda": "UTC", "fxcm": "UTC-05:00"}
"""Time zones of the FX data by market, from LEAN's market hours database."""

_FX_TICK = {0: Slot.TIME, 1: Slot.BID, 2: Slot.ASK}
_EQUITY_QUOTE = {
    0: Slot.TIME,
    1: Slot.BID,
    2: Slot.BID_SIZE,
    3: Slot.ASK,
    4: Slot.ASK_SIZE,
    5: Slot.EXCHANGE,
    7: Slot.SUSPICIOUS,
}
_EQUITY_TRADE = {
    0: Slot.TIME,
    1: Slot.PRICE,
    2: Slot.SIZE,
    3: Slot.EXCHANGE,
    4: Slot.CONDITION,
    5: Slot.SUSPICIOUS,
}
_EQUITY_BAR = {0: Slot.TIME, 4: Slot.BID, 5: Slot.BID_SIZE, 9: Slot.ASK, 10: Slot.ASK_SIZE}
_FX_BAR = {0: Slot.TIME, 4: Slot.BID, 9: Slot.ASK}

_CONDITION_NAMES = (
    "regular",
    "cash",
    "next_day",
    "seller",
    "yellow_flag",
    "intermarket_sweep",
    "opening_prints",
    "closing_prints",
    "reopening_prints",
    "derivatively_priced",
    "form_t",
    "sold",
    "stopped",
    "extended_hours",
    "out_of_sequence",
    "split",
    "acquisition",
    "bunched",
    "stock_option",
    "distribution",
    "average_price",
    "cross",
    "price_variation",
    "rule_155",
    "official_close",
    "prior_reference_price",
    "official_open",
    "cap_election",
    "auto_execution",
    "trade_through_exempt",
    "undocumented",
    "odd_lot",
)
CONDITIONS = {name: 1 << bit for bit, name in enumerate(_CONDITION_NAMES)}
"""Sale conditions by their bits."""


@dataclass(frozen=True)
class LeanFile:
    """What is known of a file before it is read.

    ``market`` is `FOREX` or `EQUITY`, ``track`` `QUOTE_TRACK` or `TRADE_TRACK`; ``bar_ns`` is 0 for ticks.
    """

    symbol: str
    market: str
    date: str
    track: str
    bar_ns: int
    time_zone: str
    price_scale: float
    slots: dict[int, Slot]
    n_columns: int


def lean_file(path: Path) -> LeanFile | None:
    """What `path` is, None if it is no zip file of LEAN's with ticks, or with bars of bids and asks."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            name = _MEMBER.fullmatch(members[0]) if len(members) == 1 else None
            if name is None:
                return None
            with archive.open(members[0]) as file:
                fields = file.readline(1024).decode("ascii").strip().split(",")
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return None
    track = (name["track"] or name["old_track"]).lower()
    second = (name["period"] or "tick").lower() == "second"
    decimal = len(fields) > 1 and "." in fields[1]
    found = _layout(track, second, len(fields), decimal)
    if found is None:
        return None
    market, slots = found
    venue = _venue(path) if market == FOREX else ""
    parts = [name["symbol"], venue, "second" if second else ""]
    return LeanFile(
        symbol="_".join(part.upper() for part in parts if part),
        market=market,
        date=name["date"],
        track=track,
        bar_ns=1_000_000_000 if second else 0,
        time_zone="America/New_York" if market == EQUITY else _ZONES.get(venue, "UTC"),
        price_scale=10_000.0 if market == EQUITY else 1.0,
        slots=slots,
        n_columns=len(fields),
    )


def _layout(track: str, second: bool, n_columns: int, decimal: bool) -> tuple[str, dict[int, Slot]] | None:
    if second:
        if track != QUOTE_TRACK or n_columns != 11:
            return None
        return (FOREX, _FX_BAR) if decimal else (EQUITY, _EQUITY_BAR)
    if track == TRADE_TRACK:
        return (EQUITY, _EQUITY_TRADE) if n_columns == 6 else None
    if n_columns == 8:
        return EQUITY, _EQUITY_QUOTE
    return (FOREX, _FX_TICK) if n_columns == 3 else None


def _venue(path: Path) -> str:
    """Market of an FX file, which only its path tells: of the file's name, else of the folder nearest to it."""
    for part in [path.name, *reversed(path.parent.parts)]:
        for word in _WORD.findall(part.lower()):
            if word in _ZONES:
                return word
    return ""
