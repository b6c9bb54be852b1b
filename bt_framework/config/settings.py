"""The keys of a run that belong to no component."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bt_framework.config.conduct import Conduct
from bt_framework.config.schema import BaseConfig, Duration, param
from bt_framework.errors import ConfigError

MISSING = "???"
"""How OmegaConf writes a value that must be given."""

LONGEST_TAG = 64
LONGEST_NOTE = 1_000

_TAG = re.compile(r"""[^\s()\[\],"'<>=!]+""")

_BELOW_US = re.compile(r"[.,]\d{6}(\d+)")
"""What `datetime` drops of a fraction of a second: everything below a microsecond."""


@dataclass
class Settings(BaseConfig):
    """What a run is, apart from its components."""

    seed: int = param(1, "seed of everything random in the run; part of its identity")
    capital: float = param(100_000.0, "what returns and drawdowns are fractions of", unit="quote currency")
    equity_interval_ns: Duration = param(
        "1s", "simulated time between equity samples; on bars at least a bar", unit="ns"
    )
    start: str | None = param(
        None, "first simulated time, ISO-8601, UTC unless it says otherwise; null: the data's"
    )
    end: str | None = param(
        None, "last simulated time, ISO-8601, UTC unless it says otherwise; null: the data's"
    )
    plain: bool = param(
        False, "run the strategy as plain Python, for breakpoints; the results are the same, the time is not"
    )
    repair: bool = param(
        False,
        "repair defects of the data that rules can repair; every change is in a table beside the events",
    )
    slice_wakes: int = param(200_000, "strategy wake-ups per slice; no influence on results")
    runs_dir: str = param("runs", "folder of run folders")
    store_dir: str = param("", "folder of the event store; empty: $BT_STORE_DIR, else the user's data folder")
    tags: list[str] = param([], "labels of the run")
    note: str = param("", "a line for the reader of the run")

    def __post_init__(self) -> None:
        """Check ranges and expand folders."""
        super().__post_init__()
        if self.seed < 0:
            raise ConfigError(f"seed must be >= 0, was {self.seed}.")
        if not 0 < self.capital < float("inf"):
            raise ConfigError(f"capital must be > 0 and finite, was {self.capital}.")
        for key in ("equity_interval_ns", "slice_wakes"):
            if getattr(self, key) <= 0:
                raise ConfigError(f"{key} must be > 0, was {getattr(self, key)}.")
        check_labels(self.tags, self.note)
        start_ts, end_ts = self.start_ts, self.end_ts
        if start_ts is not None and end_ts is not None and start_ts >= end_ts:
            raise ConfigError(f"end must be later than start ({self.start}), was {self.end}.")
        self.runs_dir = str(Path(self.runs_dir or "runs").expanduser())
        self.store_dir = str(Path(self.store_dir or default_store_dir()).expanduser())

    @property
    def start_ts(self) -> int | None:
        """`start` in ns UTC."""
        return None if self.start is None else parse_time_ns(self.start, "start")

    @property
    def end_ts(self) -> int | None:
        """`end` in ns UTC."""
        return None if self.end is None else parse_time_ns(self.end, "end")


def default_store_dir() -> str:
    """Return where events are stored unless the user says otherwise."""
    from platformdirs import user_data_path

    return os.environ.get("BT_STORE_DIR") or str(user_data_path("bt", appauthor=False) / "store")


def check_labels(tags: Sequence[str], note: str) -> None:
    """Check tags and note of a run: a tag is a word that a filter can name, a note one line.

    Raises
    ------
    ConfigError
        If one is neither, or too long.
    """
    for tag in tags:
        if len(tag) > LONGEST_TAG or not _TAG.fullmatch(tag) or not tag.isprintable():
            raise ConfigError(
                f"a tag must be a word of up to {LONGEST_TAG} characters without quotes, commas, brackets and "
                f"operators, was {tag!r}."
            )
    for tag, count in Counter(tags).items():
        if count > 1:
            raise ConfigError(f"tags must differ, was {tag!r} {count} times.")
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise ConfigError(f"a note must be one line of up to {LONGEST_NOTE:,} characters, was {note[:80]!r}.")


def parse_time_ns(text: str, name: str) -> int:
    """ns UTC of an ISO-8601 time with up to nine digits of a second; `name` is the key, for the message."""
    below_us = _BELOW_US.search(text)
    digits = below_us[1].rstrip("0") if below_us else ""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{name} must be an ISO-8601 time, was {text!r}. Write for example 2024-08-09T12:00:00Z."
        ) from None
    if len(digits) > 3:
        raise ConfigError(f"{name} must have at most nine digits after the second, was {text!r}.")
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since // timedelta(microseconds=1)) * 1_000 + int(digits.ljust(3, "0"))


@dataclass
class Root(Conduct, Settings):
    """The keys at the top of a composition: settings, conduct, and one per group, filled by the option chosen."""

    data: Any = MISSING
    bars: Any = MISSING
    strategy: Any = MISSING
    latency: Any = MISSING
    queue: Any = MISSING
    exchange: Any = MISSING
    fees: Any = MISSING
    slippage: Any = MISSING
    contract: Any = MISSING
    depth: Any = MISSING
    risk: dict[str, Any] = field(default_factory=dict)
    sizing: Any = MISSING
    writer: dict[str, Any] = field(default_factory=dict)
    store: Any = MISSING
    console: Any = MISSING
