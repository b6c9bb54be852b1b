"""Components by kind and name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bt_framework.config.schema import ComponentConfig, FieldInfo, field_infos
from bt_framework.errors import ConfigError, PluginError


class Kind(StrEnum):
    """What a component is: the name of its group in the configuration."""

    DATA = "data"
    BARS = "bars"
    STRATEGY = "strategy"
    LATENCY = "latency"
    QUEUE = "queue"
    EXCHANGE = "exchange"
    FEES = "fees"
    SLIPPAGE = "slippage"
    CONTRACT = "contract"
    DEPTH = "depth"
    RISK = "risk"
    SIZING = "sizing"
    WRITER = "writer"
    STORE = "store"
    CONSOLE = "console"


@dataclass(frozen=True)
class Component:
    """A registered component: what it is called, how it is configured, how it is built, whose it is."""

    kind: Kind
    name: str
    config_class: type[ComponentConfig]
    build: Callable[[Any], Any]
    package: str
    version: str

    @property
    def doc(self) -> str:
        """First line of the config dataclass's docstring."""
        return (self.config_class.__doc__ or "").strip().partition("\n")[0]

    @property
    def fields(self) -> list[FieldInfo]:
        """The configuration keys."""
        return field_infos(self.config_class)


class Registry:
    """All components that the installed packages offer."""

    def __init__(self) -> None:
        self._components: dict[tuple[Kind, str], Component] = {}

    def add(self, component: Component) -> None:
        """Register `component`.

        Raises
        ------
        PluginError
            If the name is taken (names both packages), or the config dataclass does not carry it.
        """
        key = (component.kind, component.name)
        taken = self._components.get(key)
        if taken is not None:
            raise PluginError(
                f"{component.kind} {component.name!r} is registered twice, by {taken.package} {taken.version} and "
                f"{component.package} {component.version}. Uninstall one of them or rename it."
            )
        declared = component.config_class().name
        if declared != component.name:
            raise PluginError(
                f"{component.package}: {component.kind} {component.name!r} has the config class "
                f"{component.config_class.__name__}, whose default name is {declared!r}. Make them equal."
            )
        self._components[key] = component

    def get(self, kind: Kind, name: str) -> Component:
        """Return the component called `name`.

        Raises
        ------
        ConfigError
            If there is none; the message lists what there is.
        """
        component = self._components.get((kind, name))
        if component is None:
            raise ConfigError(unknown_name(str(kind), name, self.names(kind)))
        return component

    def names(self, kind: Kind) -> list[str]:
        """Names registered for `kind`, sorted."""
        return sorted(name for k, name in self._components if k == kind)

    def components(self) -> list[Component]:
        """All components, by kind and name."""
        order = list(Kind)
        return sorted(self._components.values(), key=lambda c: (order.index(c.kind), c.name))


def unknown_name(what: str, name: str, options: Iterable[str]) -> str:
    """Say that `name` is no `what`, what there is, and the nearest."""
    options = sorted(options)
    near = difflib.get_close_matches(name, options, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{what} must be one of {', '.join(options) or '(none installed)'}, was {name!r}.{hint}"
