"""What stands before the records: schema, span, and which instrument ids a symbol has had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bt_framework.data.streams import decompressed_blocks
from bt_framework.errors import ConfigError, DataError

DEFINITION = "definition"
SCHEMAS = {"mbo": "MBOMsg", "mbp-1": "MBP1Msg", "mbp-10": "MBP10Msg", "trades": "TradeMsg"}
"""The library's record class of each schema that makes events; their layouts are those of all DBN versions."""

_FIXED_BYTES = 8
_ALWAYS = (-(2**63), 2**63 - 1)
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Interval:
    """An instrument id and when it was a symbol's: ``start_ts`` <= receive time < ``end_ts``, ns UTC."""

    instrument_id: int
    start_ts: int
    end_ts: int


@dataclass(frozen=True)
class Header:
    """The metadata of a file.

    Attributes
    ----------
    n_bytes : int
        Its length: the first record follows.
    start_ts : int
        Begin of the span that was asked for, ns UTC.
    symbols : dict of str to tuple of Interval
        In the order of the file.
    """

    path: Path
    schema: str
    n_bytes: int
    start_ts: int
    symbols: dict[str, tuple[Interval, ...]]

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Instrument ids of `symbol`, which may itself be one; empty if the file does not have it."""
        if symbol in self.symbols:
            return self.symbols[symbol]
        ids = {i.instrument_id for intervals in self.symbols.values() for i in intervals}
        if symbol.isdecimal() and (int(symbol) in ids or not ids):
            return (Interval(int(symbol), *_ALWAYS),)
        return ()


def library() -> Any:
    """Import databento_dbn."""
    try:
        import databento_dbn
    except ImportError:
        raise ConfigError(
            "reading DBN files needs databento-dbn. Install it: pip install 'bt-framework[databento]'."
        ) from None
    return databento_dbn


def read_header(path: Path) -> Header:
    """Decode the metadata of a file.

    Raises
    ------
    DataError
        If the file cannot be read or is not DBN, or its schema is one that makes no events.
    """
    dbn = library()
    raw = _metadata_bytes(path)
    try:
        metadata = dbn.Metadata.decode(raw)
    except (dbn.DBNError, ValueError) as error:
        raise DataError(f"{path} has no valid DBN metadata: {error}. Fetch it again.") from None
    schema = str(metadata.schema)
    if schema not in (*SCHEMAS, DEFINITION):
        what = "records of several schemas" if metadata.schema is None else f"the schema {schema}"
        raise DataError(
            f"{path} must be of one of the schemas {', '.join(SCHEMAS)} or {DEFINITION}, holds {what}."
            " Fetch one of those."
        )
    return Header(path, schema, len(raw), int(metadata.start), _symbols(path, dbn, metadata))


def _metadata_bytes(path: Path) -> bytes:
    data = b""
    with closing(decompressed_blocks(path)) as blocks:
        for block, _ in blocks:
            data += block
            if len(data) >= _FIXED_BYTES:
                if data[:3] != b"DBN":
                    break
                n_bytes = _FIXED_BYTES + int.from_bytes(data[4:_FIXED_BYTES], "little")
                if len(data) >= n_bytes:
                    return data[:n_bytes]
    if data[:3] == b"DBN":
        raise DataError(f"{path} is truncated: it ends in its DBN metadata. Fetch it again.")
    raise DataError(f"{path} is not a DBN file: it must begin with 'DBN', was {data[:3]!r}.")


def _symbols(path: Path, dbn: Any, metadata: Any) -> dict[str, tuple[Interval, ...]]:
    """Instrument ids by symbol, whichever of both was asked for."""
    found: dict[str, list[Interval]] = {}
    # The library's mappings are in no order, and in another one in each process.
    place = {name: i for i, name in enumerate(metadata.symbols)}
    mappings = sorted(metadata.mappings.items(), key=lambda item: (place.get(item[0], len(place)), item[0]))
    if metadata.stype_out == dbn.SType.INSTRUMENT_ID:
        for symbol, ranges in mappings:
            found[symbol] = [_interval(r["symbol"], r) for r in ranges if r["symbol"]]
    elif metadata.stype_in == dbn.SType.INSTRUMENT_ID:
        for instrument_id, ranges in mappings:
            for r in ranges:
                found.setdefault(r["symbol"], []).append(_interval(instrument_id, r))
    for symbol, intervals in found.items():
        intervals.sort(key=lambda i: i.start_ts)
        for one, next_one in pairwise(intervals):
            if next_one.start_ts < one.end_ts and next_one.instrument_id != one.instrument_id:
                raise DataError(
                    f"{path}: {symbol} must be one instrument at a time, was {one.instrument_id} and"
                    f" {next_one.instrument_id} at once. Fetch the file by raw symbols."
                )
    return {symbol: tuple(intervals) for symbol, intervals in found.items() if intervals}


def _interval(instrument_id: str, mapping: Any) -> Interval:
    return Interval(
        int(instrument_id), _midnight_ns(mapping["start_date"]), _midnight_ns(mapping["end_date"])
    )


def _midnight_ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * _NS_PER_S


def definitions(path: Path) -> Iterator[Any]:
    """The library's definition records of a file, older versions upgraded.

    Raises
    ------
    DataError
        If the file cannot be decoded.
    """
    dbn = library()
    decoder = dbn.DBNDecoder()
    try:
        with closing(decompressed_blocks(path)) as blocks:
            for block, _ in blocks:
                decoder.write(block)
                yield from (r for r in decoder.decode() if isinstance(r, dbn.InstrumentDefMsg))
    except dbn.DBNError as error:
        raise DataError(f"{path} cannot be decoded as DBN: {error}. Fetch it again.") from None
    if decoder.buffer():
        raise DataError(f"{path} is truncated: it ends in a record. Fetch it again.")
