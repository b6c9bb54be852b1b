"""What may be written down of a configuration."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from pathlib import Path
from typing import Any

_URL_PASSWORD = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):[^\s/@]+@")
HIDDEN = "***"


def without_secrets(config: Any) -> dict[str, Any]:
    """Return the dataclass `config` as plain data; secret fields and passwords in URLs are hidden."""
    return {
        f.name: HIDDEN
        if f.metadata.get("secret") and getattr(config, f.name)
        else _plain(getattr(config, f.name))
        for f in dataclasses.fields(config)
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return without_secrets(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", value)
    return value
