"""The boundary: overrides and YAML become validated dataclasses, once; nothing below sees a DictConfig."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bt_framework.config import _messages, _overrides
from bt_framework.config._secrets import overrides_without_secrets, without_secrets
from bt_framework.config._sources import LIST_GROUPS, Provenance
from bt_framework.config.conduct import Conduct
from bt_framework.config.schema import BaseConfig, ComponentConfig
from bt_framework.config.settings import Root, Settings
from bt_framework.errors import BtError, ConfigError, PluginError
from bt_framework.plugin_manager import PluginHost, discover
from bt_framework.registry import Component, Kind

CONFIG_MODULE = "bt_conf"
CONFIG_NAME = "config"

_HYDRA_LOCK = threading.Lock()
"""Hydra keeps one composition per process in globals; two threads must take turns."""

_stored_schemas: list[tuple[str, str, type]] = []
"""Group, name and class of the schemas that Hydra has."""


class Choice(NamedTuple):
    """A component and its validated configuration."""

    component: Component
    config: ComponentConfig

    def build(self) -> Any:
        """Build the component."""
        return self.component.build(self.config)


@dataclass(frozen=True)
class Composition:
    """A validated composition; its dataclasses are frozen.

    Attributes
    ----------
    settings : Settings
        The keys that belong to no component.
    choices : mapping of Kind to tuple of Choice
        The components chosen, in the order of the configuration (of rules: chain order).
    host : PluginHost
        What the installed packages offer.
    conduct : Conduct
        How it is to be run; not part of what it is.
    """

    settings: Settings
    choices: Mapping[Kind, tuple[Choice, ...]]
    host: PluginHost
    conduct: Conduct = field(default_factory=Conduct)

    def one(self, kind: Kind) -> Choice:
        """Return the component of a group of which one is chosen.

        Raises
        ------
        ConfigError
            If none is chosen; the message lists what there is.
        """
        chosen = self.choices.get(kind, ())
        if not chosen:
            raise ConfigError(_messages.none_chosen(kind, self.host))
        return chosen[0]

    def many(self, kind: Kind) -> tuple[Choice, ...]:
        """Return the components of a group of which any number is chosen, in order."""
        return self.choices.get(kind, ())

    @property
    def resolved(self) -> dict[str, Any]:
        """The composition as plain data: defaults filled in, durations in ns, no secrets."""
        plain: dict[str, Any] = without_secrets(self.settings)
        for kind, chosen in self.choices.items():
            if kind in LIST_GROUPS:
                plain[str(kind)] = {c.component.name: without_secrets(c.config) for c in chosen}
            elif chosen:
                plain[str(kind)] = without_secrets(chosen[0].config)
        return plain


def compose(
    overrides: Sequence[str] = (), *, config_dirs: Sequence[str] = (), host: PluginHost | None = None
) -> Composition:
    """Compose a run from overrides, as the command line takes them.

    Parameters
    ----------
    overrides : sequence of str
        Such as ``["+strategy=ou_pairs", "latency=colo", "strategy.entry_z=2.5"]``.
    config_dirs : sequence of str
        Folders with YAML options of your own. They cannot replace a built-in option: give them other names.
    host : PluginHost, optional
        What is installed; found if not given.

    Raises
    ------
    ConfigError
        If the composition is wrong. The message says what, where, was, and fix.
    PluginError
        If a component is missing or ambiguous because of a broken package.
    """
    host = host or discover()
    for override in _overrides.parse(overrides):
        if _overrides.is_hydra(override) and override.key_or_group != "hydra.searchpath":
            raise ConfigError(f"{override.input_line}: keys of Hydra are for the command line, bt -m.")
    cfg = load(overrides, host, config_dirs)
    return composition_of(cfg, host=host)


def compose_part(kind: Kind, overrides: Sequence[str]) -> Composition:
    """Compose the settings and one group, in half the time: for commands that need no more.

    Overrides of other groups, and values that refer to others, are composed as `compose` does.

    Raises
    ------
    ConfigError, PluginError
        As `compose`.
    """
    own = {str(kind), *(f.name for f in dataclasses.fields(Settings))}
    keys = (o.key_or_group.partition(".")[0] for o in _overrides.parse(overrides))
    if any("${" in o for o in overrides) or not own.issuperset(keys):
        return compose(overrides)
    host = discover((kind,))
    # The defaults list chooses no strategy, so there is none to leave out.
    others = [k for k in Kind if k not in (kind, Kind.STRATEGY)]
    left_out = [f"{k}=[]" if k in LIST_GROUPS else f"~{k}" for k in others]
    return composition_of(load([*overrides, *left_out], host, kinds=(kind,)), host=host)


def load(
    overrides: Sequence[str],
    host: PluginHost,
    config_dirs: Sequence[str] = (),
    *,
    kinds: Collection[Kind] = tuple(Kind),
) -> DictConfig:
    """Let Hydra compose the groups in `kinds`, its node included, with its errors in our words."""
    lines = hydra_overrides(overrides, host, config_dirs)
    with _HYDRA_LOCK:
        store_schemas(host, kinds)
        with (
            _hydra_to_ourselves(),
            initialize_config_module(CONFIG_MODULE, version_base="1.3", job_name="bt"),
            in_our_words(host, overrides, config_dirs),
        ):
            cfg = hydra_compose(CONFIG_NAME, lines, return_hydra_config=True)
    _overrides.refuse_code_in(cfg)
    return cfg


@contextmanager
def _hydra_to_ourselves() -> Iterator[None]:
    """Put away the Hydra of a sweep that is under way, while another composition is made."""
    state = GlobalHydra.instance()
    hydra = state.hydra
    state.clear()
    try:
        yield
    finally:
        state.hydra = hydra


def in_our_words(
    host: PluginHost, overrides: Sequence[str], config_dirs: Sequence[str] = ()
) -> AbstractContextManager[None]:
    """Turn Hydra's errors while it composes `overrides` into a ConfigError."""
    paths = [f"pkg://{CONFIG_MODULE}", *search_paths(host, config_dirs)]
    return _messages.in_our_words(host, Provenance(spoken(overrides, host), {}, paths))


def spoken(overrides: Sequence[str], host: PluginHost) -> list[str]:
    """Return `overrides` as messages may show them: without the values of secret keys."""
    return overrides_without_secrets(overrides, host.registry.components())


def refuse_code(overrides: Sequence[str], host: PluginHost, config_dirs: Sequence[str] = ()) -> None:
    """Refuse options from the user's own folders that could make Hydra import code.

    The folders of packages need no check: installing a package is what makes its code run. Of several
    values swept over, each is looked at, with the first of the others.

    Raises
    ------
    ConfigError
        If one does.
    """
    if config_dirs or any(o.lstrip("+").startswith("hydra.searchpath=") for o in overrides):
        for variant in _overrides.variants(overrides):
            load(variant, host, config_dirs)


def hydra_overrides(overrides: Sequence[str], host: PluginHost, config_dirs: Sequence[str] = ()) -> list[str]:
    """Return `overrides` as Hydra wants them, with the search paths of the packages.

    Raises
    ------
    ConfigError
        If one cannot be read or is refused.
    """
    paths = search_paths(host, config_dirs)
    lines = []
    for override in _overrides.parse(overrides):
        if override.key_or_group == "hydra.searchpath":
            value = override.value()
            paths = [*(value if isinstance(value, list) else [value]), *paths]
        else:
            lines.append(_overrides.forced(override))
    if paths:
        lines.append(f"hydra.searchpath=[{','.join(_overrides.quoted(str(p)) for p in paths)}]")
    return lines


def search_paths(host: PluginHost, config_dirs: Sequence[str] = ()) -> list[str]:
    """Return the folders to search after the built-in options, the user's own first."""
    found = []
    for folder in config_dirs:
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise ConfigError(f"the folder of options {folder!r} does not exist.")
        _refuse_shadowed(path)
        found.append(f"file://{path}")
    return found + [p.path for p in host.search_paths]


def _refuse_shadowed(folder: Path) -> None:
    """Refuse options that Hydra would not find, because a built-in one has their name."""
    built_in = files(CONFIG_MODULE)
    for group in (*map(str, Kind), "experiment"):
        for file in sorted(folder.glob(f"{group}/*.yaml")):
            if built_in.joinpath(group, file.name).is_file():
                raise ConfigError(f"{file} has the name of a built-in option. Rename it.")


def store_schemas(host: PluginHost, kinds: Collection[Kind] = tuple(Kind)) -> None:
    """Give Hydra the dataclasses as ``/schema/GROUP/NAME``, which the YAML options include."""
    store = ConfigStore.instance()
    wanted = [
        (f"schema/{c.kind}", c.name, c.config_class) for c in host.registry.components() if c.kind in kinds
    ]
    if "schema" in store.repo and _stored_schemas == wanted:
        return  # Hydra copies what it composes
    store.repo.pop("schema", None)  # what an earlier composition knew of, with other packages
    store.store(group="schema", name="settings", node=Root, provider="bt")
    for group, name, config_class in wanted:
        # A dataclass that OmegaConf cannot take stops the runs that choose it, not the others.
        with suppress(OmegaConfBaseException):
            store.store(group=group, name=name, node=config_class, provider="bt")
    _stored_schemas[:] = wanted


def composition_of(cfg: DictConfig | Mapping[str, Any], *, host: PluginHost | None = None) -> Composition:
    """Validate what Hydra composed, or a composition written as a plain mapping (a run's config.yaml).

    A mapping is taken literally: ``${...}`` in it is text, so it reads nothing from the environment.

    Raises
    ------
    ConfigError
        If a key is unknown or a value wrong; the message names the key and the override or file it came from.
    PluginError
        If a component is missing or ambiguous because of a broken package.
    """
    host = host or discover()
    if not isinstance(cfg, DictConfig):
        literal: dict[str, Any] = _literal(cfg)
        cfg = OmegaConf.create(literal)
    provenance = _provenance_of(cfg, host)
    _overrides.refuse_code_in(cfg)
    with _messages.in_our_words(host, provenance):
        _refuse_unknown_keys(cfg, Root, "", provenance, also=("hydra",))
        settings, conduct = (top_keys(cfg, keys, provenance) for keys in (Settings, Conduct))
        choices = {kind: tuple(choices_of(cfg, kind, host, provenance)) for kind in Kind}
    return Composition(settings, choices, host, conduct)


def top_keys(cfg: DictConfig, config_class: type[Any], provenance: Provenance) -> Any:
    """Validate the keys of `config_class` at the top of `cfg`."""
    fields = dataclasses.fields(config_class)
    for f in fields:
        if (
            isinstance(f.default_factory, type)
            and issubclass(f.default_factory, BaseConfig)
            and f.name in cfg
        ):
            if not isinstance(cfg[f.name], DictConfig):
                raise ConfigError(_messages.not_keys(f.name, f.default_factory, cfg[f.name]))
            _refuse_unknown_keys(cfg[f.name], f.default_factory, f.name, provenance)
    given = _literal({f.name: _resolved(cfg[f.name]) for f in fields if f.name in cfg})
    return _instance(OmegaConf.merge(OmegaConf.structured(config_class), given), "", provenance)


def _resolved(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _literal(value: Any) -> Any:
    """Return plain data that OmegaConf reads as `value`, without looking for interpolations."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value


def _provenance_of(cfg: DictConfig, host: PluginHost) -> Provenance:
    """Where the values of `cfg` came from, as Hydra recorded it there, or in a job's globals."""
    hydra = cfg.get("hydra")
    if hydra is None and HydraConfig.initialized():
        hydra = HydraConfig.get()
    if hydra is None:
        return Provenance()
    # Overrides are texts: unresolved, whatever they contain.
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    assert isinstance(overrides, list)
    paths = [f"{s.schema}://{s.path}" for s in hydra.runtime.config_sources if s.schema in ("pkg", "file")]
    return Provenance(spoken([str(o) for o in overrides], host), dict(hydra.runtime.choices), paths)


def choices_of(cfg: DictConfig, kind: Kind, host: PluginHost, provenance: Provenance) -> Iterator[Choice]:
    """Yield the validated components of a group."""
    key = str(kind)
    if key not in cfg or OmegaConf.is_missing(cfg, key) or cfg[key] is None:
        return
    node = cfg[key]
    if not isinstance(node, DictConfig):
        raise ConfigError(_messages.not_an_option(kind, node, host))
    if key not in LIST_GROUPS:
        yield _choice(node, kind, key, host, provenance)
        return
    for name, child in node.items():
        if not isinstance(child, DictConfig):
            raise ConfigError(_messages.not_an_option(kind, name, host))
        yield _choice(child, kind, f"{key}.{name!s}", host, provenance)


def _choice(node: DictConfig, kind: Kind, path: str, host: PluginHost, provenance: Provenance) -> Choice:
    """Validate one component's node against its dataclass."""
    name = node.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigError(_messages.none_chosen(kind, host, given=path))
    _check_name(node, kind, path, name)
    component = host.component(kind, name)
    _refuse_unknown_keys(node, component.config_class, path, provenance)
    if OmegaConf.get_type(node) is not component.config_class:
        plain = _nested(path, _literal(_resolved(node)))
        merged = OmegaConf.merge(_nested(path, OmegaConf.structured(component.config_class)), plain)
        node = OmegaConf.select(merged, path)
    return Choice(component, _instance(node, path, provenance))


def _nested(path: str, value: Any) -> dict[str, Any]:
    """Return mappings down to `path`, so that OmegaConf's errors name the whole key."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def _check_name(node: DictConfig, kind: Kind, path: str, name: str) -> None:
    """Refuse a name that was overridden: the other keys would be those of another component."""
    config_class = OmegaConf.get_type(node)
    if isinstance(config_class, type) and issubclass(config_class, ComponentConfig):
        (declared,) = (f.default for f in dataclasses.fields(config_class) if f.name == "name")
        if name != declared:
            raise ConfigError(
                f"{path}.name must be {declared!r}, was {name!r}. To choose another {kind} write "
                f"{_messages.how_to_choose(kind, name)}."
            )


def _refuse_unknown_keys(
    node: DictConfig, config_class: type, path: str, provenance: Provenance, also: Sequence[str] = ()
) -> None:
    known = [f.name for f in dataclasses.fields(config_class)]
    for key in node:
        if key not in known and key not in also:
            raise ConfigError(_messages.unknown_key(path, str(key), config_class, provenance))


def _instance(node: Any, path: str, provenance: Provenance) -> Any:
    """Make the dataclass of `node`, whose checks run now, and close it."""
    try:
        config = OmegaConf.to_object(node)
    except ConfigError as error:
        raise ConfigError(
            _messages.with_place(str(error), path, OmegaConf.get_type(node), provenance)
        ) from error
    except OmegaConfBaseException:
        raise
    except (BtError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise PluginError(
            f"{path or 'the settings'}: the config class failed to check its values: {error!r}."
        ) from error
    assert isinstance(config, BaseConfig)
    config.freeze()
    return config
