"""What may be written down of a configuration."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from bt_framework.registry import Component

# A password may hold @ and /; what begins with a port is a path, and the next URL begins at ://.
_URL_PASSWORD = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):(?!\d{1,5}/)(?:(?!://)[^\s'\"])+@")
_QUERY_PASSWORD = re.compile(r"(\w://\S*?[?&](?:password|passwd|pwd)=)[^\s&'\"]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"password|passwd|secret|token|headers|api_?key", re.IGNORECASE)
_OF_ENVIRONMENT = re.compile(r"\$\{oc\.env:\w+\}")
HIDDEN = "***"


def without_secrets(config: Any) -> dict[str, Any]:
    """Return the dataclass `config` as plain data; secret fields and passwords in URLs are hidden."""
    return {
        f.name: HIDDEN
        if f.metadata.get("secret") and getattr(config, f.name)
        else _plain(getattr(config, f.name))
        for f in dataclasses.fields(config)
    }


def without_passwords(text: str) -> str:
    """Return `text` with the passwords of URLs hidden."""
    return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", _QUERY_PASSWORD.sub(rf"\1{HIDDEN}", text))


def unreadable_without_secrets(text: str) -> str:
    """Return an override that nobody can read for a message; the name of its key says whether it may hold a secret."""
    key, sign, _ = text.partition("=")
    return f"{key}={HIDDEN}" if sign and _SECRET_NAME.search(text) else without_passwords(text)


def overrides_without_secrets(overrides: Iterable[str], components: Sequence[Component]) -> list[str]:
    """Return `overrides` with the values of secret keys and passwords in URLs hidden, for messages."""
    secret = _secret_keys(components)
    return [_without_secret(text, secret) for text in overrides]


def secrets_in(overrides: Iterable[str], components: Sequence[Component]) -> Iterator[str]:
    """Yield, without the secret, those of `overrides` that hold one rather than the name of a variable that does."""
    secret = _secret_keys(components)
    for text in overrides:
        shown = _without_secret(text, secret)
        if shown == text or _OF_ENVIRONMENT.fullmatch(text.partition("=")[2].strip("'\"")):
            continue
        # A name of a variable in the place of a password is none.
        named = without_passwords(_OF_ENVIRONMENT.sub("", text))
        if HIDDEN in named or without_passwords(text) != shown:
            yield shown


def _secret_keys(components: Sequence[Component]) -> set[tuple[str, str]]:
    """Group and name of the keys that are secret."""
    return {
        (str(c.kind), f.name)
        for c in components
        for f in dataclasses.fields(c.config_class)
        if f.metadata.get("secret")
    }


def _without_secret(text: str, secret: Collection[tuple[str, str]]) -> str:
    key, _, value = text.partition("=")
    parts = key.lstrip("+~").split(".")
    whole_group = value.startswith("{") and any(parts[0] == group for group, _ in secret)
    hide = whole_group or (parts[0], parts[-1]) in secret
    return f"{key}={HIDDEN}" if hide else without_passwords(text)


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
        return without_passwords(value)
    return value
