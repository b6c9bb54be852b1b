"""Numbers in keys that may hold anything."""

from __future__ import annotations

import math
from typing import Any

from bt_framework.errors import ConfigError


def finite(key: str, value: Any) -> float:
    """Return a key's value as a number.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key} must be a finite number, was {value!r}.")
    return float(value)
