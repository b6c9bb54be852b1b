"""How a component declares its configuration: one dataclass, which owns names, types, defaults and units."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from bt_framework.errors import ConfigError
from bt_framework.units import parse_duration_ns

Duration: TypeAlias = int | str
"""Whole nanoseconds, or text with a unit (``250us``); `ComponentConfig` turns it into nanoseconds."""

_LONGEST_NS = 2**60
"""Times are int64 ns; a few durations of this size, added to today, still are."""


def param(default: Any, doc: str, *, unit: str = "", secret: bool = False) -> Any:
    """Return a dataclass field with its one-line description and unit, as `bt plugins` prints them.

    The value of a `secret` field, such as a password, is not written to run folders, stores or screens.
    """
    metadata = {"doc": doc, "unit": unit, "secret": secret}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class BaseConfig:
    """Durations and freezing, for everything that a user may configure.

    Hydra merges overrides into instances, so these dataclasses cannot be frozen ones; what leaves the
    boundary is.
    """

    def __post_init__(self) -> None:
        """Turn durations into nanoseconds, and refuse numbers that no column or clock can hold."""
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.type in (Duration, "Duration"):
                value = parse_duration_ns(value, f.name)
                setattr(self, f.name, value)
                if abs(value) > _LONGEST_NS:
                    raise ConfigError(f"{f.name} must be at most 36 years, was {value}.")
            elif isinstance(value, int) and abs(value) >= 2**63:
                raise ConfigError(f"{f.name} must fit into 64 bits, was {value}.")

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse changes after `freeze`."""
        if "_frozen" in self.__dict__:
            raise dataclasses.FrozenInstanceError(f"cannot assign to {name!r}: the composition is closed")
        object.__setattr__(self, name, value)

    def freeze(self) -> None:
        """Let nobody change the configuration any more."""
        object.__setattr__(self, "_frozen", True)


@dataclass
class ComponentConfig(BaseConfig):
    """Base of every component's configuration.

    ``name`` is the registry name; each subclass gives its own as the default. Fields of type `Duration` must
    end in ``_ns`` and are whole nanoseconds after construction. Check ranges in ``__post_init__`` (call super
    first) and raise a `ConfigError` that starts with the key: ``KEY must be ..., was ....``
    """

    name: str = param("", "registry name; choose another with GROUP=NAME")


@dataclass(frozen=True)
class FieldInfo:
    """One configuration key, for people."""

    name: str
    type: str
    default: Any
    unit: str
    doc: str
    secret: bool = False


def type_names(config_class: type) -> dict[str, str]:
    """Return the type of every key for people: the members of an enum, ``Duration``, else as annotated."""
    try:
        hints = typing.get_type_hints(config_class)
    except NameError:
        hints = {}
    names = {}
    for f in dataclasses.fields(config_class):
        hint = hints.get(f.name)
        if isinstance(hint, type) and issubclass(hint, Enum):
            names[f.name] = "|".join(hint.__members__)
        else:
            names[f.name] = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
            if f.type == Duration:
                names[f.name] = "Duration"
    return names


def field_infos(config_class: type) -> list[FieldInfo]:
    """Describe the keys of `config_class`, without ``name``."""
    names = type_names(config_class)
    infos = []
    for f in dataclasses.fields(config_class):
        if f.name == "name":
            continue
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if isinstance(default, Enum):
            default = default.name
        meta = f.metadata
        infos.append(
            FieldInfo(
                f.name,
                names[f.name],
                default,
                meta.get("unit", ""),
                meta.get("doc", ""),
                meta.get("secret", False),
            )
        )
    return infos
