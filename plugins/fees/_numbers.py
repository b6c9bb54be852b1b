"""Numbers in keys that may hold anything."""

from __future__ import annotations

import math
from typing import Any

from bt_framework.errors import ConfigError

_MOST_BPS = 10_000
_MOST = 1e15
"""Sums of amounts of this size still have their cents."""


def finite(key: str, value: Any) -> float:
    """Return a key's value as a number.

    Raises
    ------
    ConfigError
        If it is none, or a ``_bps`` of more than the whole value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key} must be a finite number, was {value!r}.")
    if key.endswith("_bps") and abs(value) > _MOST_BPS:
        raise ConfigError(
            f"{key} must be at most {_MOST_BPS:,} in size, was {value!r}: that is the whole value."
        )
    if abs(value) > _MOST:
        raise ConfigError(f"{key} must be at most {_MOST:g} in size, was {value!r}.")
    return float(value)
