"""What has come so far: each bar once, in order of time, closed ones only."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from bt_framework.bars.building import raw_bars
from bt_framework.bars.json_bars import BadBar, at_path, bar_times, bar_values
from bt_framework.errors import DataError
from bt_framework.units import NS_PER_US
from bt_plugins.bars.websocket import Websocket

TWICE = "bars that came twice"
CHANGED = "bars that came again with other values; the first ones are kept"
LATE = "bars older than the last one"
MISSED = "bars missed"
OTHERS = "bars of other symbols"
BAD = "messages not understood"

_Bar = tuple[int, dict[str, float]]


class Collected:
    """Bars of all symbols until `take` hands them on.

    Attributes
    ----------
    total : int
        Bars that were taken up, handed on or not.
    """

    def __init__(self, config: Websocket, findings: Counter[str]) -> None:
        self._config, self._findings = config, findings
        self._step_us = int(config.interval_ns) // NS_PER_US
        self._names = {symbol.lower(): symbol for symbol in config.symbols}
        self._last: dict[str, _Bar] = {}
        self._waiting: dict[str, list[_Bar]] = {}
        self.total = 0
        self.waiting = 0

    def add(self, text: str | bytes) -> bool:
        """Take up the bars of a message; return whether it had a closed one. Other messages are passed over.

        Raises
        ------
        DataError
            If more messages are not understood than may be.
        """
        try:
            rows = at_path(orjson.loads(text), self._config.rows)
            bars = rows if isinstance(rows, list) and self._is_list_of_bars(rows) else [rows]
            return any([self._add(bar) for bar in bars if isinstance(bar, dict | list)])
        except (orjson.JSONDecodeError, BadBar) as error:
            self._findings[BAD] += 1
            if self._findings[BAD] > self._config.max_bad_messages:
                what = str(error) if isinstance(error, BadBar) else "it is no JSON"
                raise DataError(
                    f"{self._config.url}: a message is not understood: {what}. Check bars.columns, or raise"
                    f" bars.max_bad_messages, which is {self._config.max_bad_messages}."
                ) from None
            return False

    def take(self) -> list[pa.Table]:
        """The bars since the last call, a table per symbol."""
        tables = []
        for symbol, bars in self._waiting.items():
            fields = bars[0][1]
            values = {field: np.array([numbers[field] for _, numbers in bars]) for field in fields}
            tables.append(raw_bars(symbol, np.array([time for time, _ in bars], np.int64), values))
        self._waiting, self.waiting = {}, 0
        return tables

    def _is_list_of_bars(self, rows: list[Any]) -> bool:
        return all(isinstance(row, dict | list) for row in rows)

    def _add(self, bar: Any) -> bool:
        config = self._config
        closed = at_path(bar, config.columns["closed"]) if "closed" in config.columns else True
        if at_path(bar, config.columns["time"]) is None or not isinstance(closed, bool):
            if self._is_bar(bar):
                raise BadBar(f"a bar has no time, or does not say whether it is closed: {str(bar)[:100]}")
            return False
        if not closed:
            return False
        symbol = self._symbol(bar)
        time = int(bar_times([bar], config.columns, config.time_format, config.time_zone)[0])
        numbers = {field: float(values[0]) for field, values in bar_values([bar], config.columns).items()}
        if not symbol:
            self._findings[OTHERS] += 1
            return False
        return self._is_new(symbol, time, numbers)

    def _is_bar(self, bar: Any) -> bool:
        """Whether it is at least meant as one: it has a close. Others are answers to what was subscribed to."""
        return at_path(bar, self._config.columns["close"]) is not None

    def _symbol(self, bar: Any) -> str:
        columns = self._config.columns
        if "symbol" not in columns:
            return self._config.symbols[0]
        name = at_path(bar, columns["symbol"])
        if not isinstance(name, str):
            raise BadBar(f"a bar has no symbol at {columns['symbol']!r}: {str(bar)[:100]}")
        return self._names.get(name.lower(), "")

    def _is_new(self, symbol: str, time: int, numbers: dict[str, float]) -> bool:
        """Take up a bar unless it came already, or later ones did."""
        last = self._last.get(symbol)
        if last is not None and time <= last[0]:
            same = all(np.array_equal(numbers[f], last[1][f], equal_nan=True) for f in numbers)
            self._findings[LATE if time < last[0] else TWICE if same else CHANGED] += 1
            return False
        if last is not None and time > last[0] + self._step_us:
            self._findings[MISSED] += (time - last[0]) // self._step_us - 1
        self._last[symbol] = (time, numbers)
        self._waiting.setdefault(symbol, []).append((time, numbers))
        self.total += 1
        self.waiting += 1
        return True
