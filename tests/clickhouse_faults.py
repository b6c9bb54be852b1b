"""Faults of the HTTP front on demand, and the list of what it was asked."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

ERRORS = {
    164: "Cannot execute query in readonly mode. (READONLY)",
    202: "Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)",
    241: "(total) memory limit exceeded: would use 3.49 GiB. (MEMORY_LIMIT_EXCEEDED)",
    242: "Table is in readonly mode. (TABLE_IS_READ_ONLY)",
    243: "Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)",
    252: "Too many parts (3000). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)",
}
"""Texts of the errors that a test may ask for, by ClickHouse's code."""

WHEN = {
    "status": "before",
    "error": "before",
    "swallow": "before",
    "cut": "data",
    "no_answer": "executed",
    "error_midway": "result",
    "drop": "answer",
    "slow": "always",
}


@dataclass
class Fault:
    """What goes wrong with the next requests.

    Attributes
    ----------
    kind : str
        ``status``: answer with `status` and do nothing. ``error``: ClickHouse's error `code`, nothing is
        done. ``swallow``: take the data to insert, store nothing, and say that it is done. ``cut``: hang up
        after `after_bytes` of the data to insert. ``no_answer``: do it all, then hang up.
        ``error_midway``: error `code` after `after_bytes` of the result. ``drop``: hang up after
        `after_bytes` of the answer's body as sent, or before its end. ``slow``: wait `delay_s` before each
        piece of the data to insert and of the answer; `Faults.clear` ends the wait.
    match : str
        Only requests with this text in their statement.
    skip, times : int
        Requests that pass before the first fault, and how many fail.
    """

    kind: str
    match: str = ""
    skip: int = 0
    times: int = 1
    after_bytes: int = 0
    code: int = 243
    status: int = 503
    delay_s: float = 0.05
    cleared: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in WHEN:
            raise ValueError(f"kind must be one of {', '.join(WHEN)}, was {self.kind!r}")

    def error_text(self) -> str:
        """What ClickHouse says for `code`."""
        return f"Code: {self.code}. DB::Exception: {ERRORS.get(self.code, 'Some error. (SOME_ERROR)')}"


class Faults:
    """The faults that are to come, and the last requests; threads may share it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._added: list[Fault] = []
        self._seen: deque[dict[str, Any]] = deque(maxlen=2_000)
        self._lock = threading.Lock()

    def add(self, values: dict[str, Any]) -> None:
        """Add a fault, after those that there are."""
        with self._lock:
            self._added.append(Fault(**values))
            self._faults.append(self._added[-1])

    def clear(self) -> None:
        """Forget faults and requests."""
        with self._lock:
            for fault in self._added:
                fault.cleared.set()
            self._added.clear()
            self._faults.clear()
            self._seen.clear()

    def take(self, statement: str, request: dict[str, Any]) -> Fault | None:
        """Note a request; the fault that it meets."""
        with self._lock:
            self._seen.append({"statement": statement[:4_000], **request})
            for fault in self._faults:
                if fault.match not in statement:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def listed(self) -> dict[str, Any]:
        """What is to come and what was asked, for JSON."""
        with self._lock:
            kinds = [{"kind": fault.kind, "times": fault.times} for fault in self._faults]
            return {"faults": kinds, "requests": list(self._seen)}
