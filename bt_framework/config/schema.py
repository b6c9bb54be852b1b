"""How a component declares its configuration: one dataclass, which owns names, types, defaults and units."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

from bt_framework.units import parse_duration_ns

Duration: TypeAlias = int | str
"""Whole nanoseconds, or text with a unit (``250us``); `ComponentConfig` turns it into nanoseconds."""


def param(default: Any, doc: str, *, unit: str = "") -> Any:
    """Return a dataclass field with its one-line description and unit, as `bt plugins` prints them."""
    metadata = {"doc": doc, "unit": unit}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class ComponentConfig:
    """Base of every component's configuration.

    ``name`` is the registry name; each subclass gives its own as the default. Fields of type `Duration` must
    end in ``_ns`` and are whole nanoseconds after construction. Check ranges in ``__post_init__`` (call super first).
    """

    name: str = param("", "registry name; choose another with GROUP=NAME")

    def __post_init__(self) -> None:
        """Turn durations into nanoseconds."""
        for f in dataclasses.fields(self):
            if f.type in (Duration, "Duration"):
                setattr(self, f.name, parse_duration_ns(getattr(self, f.name), f.name))


@dataclass(frozen=True)
class FieldInfo:
    """One configuration key, for people."""

    name: str
    type: str
    default: Any
    unit: str
    doc: str


def field_infos(config_class: type) -> list[FieldInfo]:
    """Describe the keys of `config_class`, without ``name``."""
    infos = []
    for f in dataclasses.fields(config_class):
        if f.name == "name":
            continue
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        type_name = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
        infos.append(FieldInfo(f.name, type_name, default, f.metadata.get("unit", ""), f.metadata.get("doc", "")))
    return infos
