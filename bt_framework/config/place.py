"""Where runs are: the settings and the run store, for commands that look at runs.

Hydra takes longer to start than such a command to answer. So a plain choice is read here without it, from the
same YAML options and dataclasses: overrides ``KEY=TEXT`` of keys that are texts, and a built-in store whose option
is its dataclass. Everything else, mistakes included, is left to `bt_framework.config.compose.compose_part`, and what
is read here equals what that composes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from bt_framework.config.schema import BaseConfig, ComponentConfig
from bt_framework.config.settings import Settings
from bt_framework.errors import BtError
from bt_framework.plugin_manager import discover
from bt_framework.registry import Component, Kind

# What Hydra reads as a text, as it stands.
_TEXT = re.compile(r"(?!(?:null|true|false|inf|nan)$)(?:[a-z]|\.{0,2}/)[\w./-]*", re.ASCII | re.IGNORECASE)
_OF_SETTING = re.compile(r"\$\{(\w+)\}")
_STORE = f"{Kind.STORE}."


@dataclass(frozen=True)
class Place:
    """The settings, and the component that knows the runs with its configuration."""

    settings: Settings
    component: Component
    config: ComponentConfig

    def open(self) -> Any:
        """Build the run store."""
        return self.component.build(self.config)


def place_of(overrides: Sequence[str]) -> Place:
    """Return where the runs are that `overrides` mean, such as ``["runs_dir=/data/runs", "store=postgres"]``.

    Raises
    ------
    ConfigError, PluginError
        As `bt_framework.config.compose.compose`.
    """
    given = _texts(overrides)
    place = None if given is None else _plain_place(given)
    if place is not None:
        return place
    from bt_framework.config.compose import compose_part

    composition = compose_part(Kind.STORE, overrides)
    return Place(composition.settings, *composition.one(Kind.STORE))


def _texts(overrides: Sequence[str]) -> dict[str, str] | None:
    """Values by key; None if an override is more than one, or a key is given twice."""
    pairs = [(key, value) for key, _, value in (override.partition("=") for override in overrides)]
    given = dict(pairs)
    return given if len(given) == len(pairs) and all(map(_TEXT.fullmatch, given.values())) else None


def _plain_place(given: Mapping[str, str]) -> Place | None:
    """Read the place without Hydra; None if that takes more than the dataclasses, or something is wrong."""
    name = given.get(str(Kind.STORE)) or _default_store()
    if name is None or not _is_dataclass_alone(name):
        return None
    of_store = {key.removeprefix(_STORE): text for key, text in given.items() if key.startswith(_STORE)}
    of_run = {key: text for key, text in given.items() if key != Kind.STORE and not key.startswith(_STORE)}
    try:
        component = discover((Kind.STORE,)).component(Kind.STORE, name)
        referring = _referring(component.config_class, of_run)
        are_texts = _are_texts(of_run, Settings) and _are_texts(of_store, component.config_class)
        if referring is None or not are_texts:
            return None
        settings: Any = Settings(**of_run)  # type: ignore[arg-type]
        config = component.config_class(**referring | of_store)
    except BtError:
        return None
    settings.freeze()
    config.freeze()
    return Place(settings, component, config)


def _default_store() -> str | None:
    """Return the store that the root of every composition chooses; None if it sets keys of the run, too."""
    root = _option("config")
    if not root.keys().isdisjoint(f.name for f in dataclasses.fields(Settings)):
        return None
    chosen = [e[Kind.STORE] for e in root["defaults"] if isinstance(e, dict) and Kind.STORE in e]
    return str(chosen[0]) if len(chosen) == 1 else None


def _is_dataclass_alone(name: str) -> bool:
    """Whether the store's option is built in and holds what the dataclass says, no more."""
    alone = {"defaults": [f"/schema/{Kind.STORE}/{name}@_here_", "_self_"]}
    return re.fullmatch(r"\w+", name) is not None and _option(f"{Kind.STORE}/{name}") == alone


def _option(path: str) -> dict[str, Any]:
    """Content of a built-in YAML option; empty if there is none."""
    import yaml

    file = files("bt_conf").joinpath(f"{path}.yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content


def _are_texts(given: Mapping[str, str], config_class: type[BaseConfig]) -> bool:
    """Whether `given` are keys of `config_class` that are texts; ``name`` is chosen, not given."""
    return given.keys() <= {f.name for f in dataclasses.fields(config_class) if f.type == "str"} - {"name"}


def _referring(config_class: type[BaseConfig], of_run: Mapping[str, str]) -> dict[str, str] | None:
    """Keys whose default refers to a text among the settings, resolved; None if one refers to anything else."""
    texts = {f.name: f.default for f in dataclasses.fields(Settings) if f.type == "str"} | {**of_run}
    found = {}
    for f in dataclasses.fields(config_class):
        if isinstance(f.default, str) and "${" in f.default:
            found[f.name] = _OF_SETTING.sub(lambda m: str(texts.get(m[1], m[0])), f.default)
    return None if any("${" in text for text in found.values()) else found
