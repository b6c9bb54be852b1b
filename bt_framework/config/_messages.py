"""What is said of a wrong composition: what, where, was, and fix. Hydra's errors are put in our words."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from bt_framework.config._secrets import without_passwords
from bt_framework.config._sources import LIST_GROUPS, Provenance
from bt_framework.config.schema import ComponentConfig, field_infos, type_names
from bt_framework.errors import BtError, ConfigError, PluginError
from bt_framework.plugin_manager import PluginHost
from bt_framework.registry import Component, Kind

_TYPE_WORDS = {
    "Duration": "a duration, whole nanoseconds or text with a unit such as 250us",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
}


def how_to_choose(kind: Kind, name: str) -> str:
    """Return the override that chooses `name`."""
    if kind in LIST_GROUPS:
        return f"{kind}=[{name}]"
    return f"+{kind}={name}" if kind is Kind.STRATEGY else f"{kind}={name}"


def none_chosen(kind: Kind, host: PluginHost, given: str = "") -> str:
    """Say that a group has no option, and list the options with their one-line docs."""
    components = [c for c in host.registry.components() if c.kind is kind]
    width = max((len(c.name) for c in components), default=0)
    lines = [f"  {c.name:<{width}}  {c.doc}" for c in components]
    what = f"{given} has keys but no name: " if given else ""
    plural = "strategies" if kind is Kind.STRATEGY else f"{kind} options"
    return "\n".join(
        [
            f"{what}no {kind} is chosen. Choose one with {how_to_choose(kind, 'NAME')}. "
            f"The {plural} there are:",
            *lines,
        ]
    )


def not_an_option(kind: Kind, value: object, host: PluginHost) -> str:
    """Say that a group holds a plain value instead of an option."""
    names = ", ".join(host.registry.names(kind))
    return f"{kind} must be one of {names}, chosen with {how_to_choose(kind, 'NAME')}, was {value!r}."


def not_keys(name: str, config_class: type, value: object) -> str:
    """Say that `name` holds a plain value instead of keys."""
    keys = ", ".join(f"{name}.{key}" for key in _field_names(config_class))
    return f"{name} must be a mapping of keys, was {value!r}. Set {keys}."


def unknown_key(path: str, key: str, config_class: type, provenance: Provenance, file: str = "") -> str:
    """Say that `key` is no key of the component at `path`, which there are, and the nearest."""
    is_component = issubclass(config_class, ComponentConfig)
    keys = [i.name for i in field_infos(config_class)] if is_component else _field_names(config_class)
    full = f"{path}.{key}" if path else key
    near = difflib.get_close_matches(key, keys, n=1)
    hint = f" Did you mean {path + '.' if path else ''}{near[0]}?" if near else ""
    place = provenance.of(full) or file
    owner = f"{path} ({config_class.__name__})" if path else "the run"
    return (
        f"unknown key {full}{f' ({place})' if place else ''}.{hint} "
        f"The keys of {owner} are: {', '.join(keys) or '(none)'}."
    )


def _field_names(config_class: type) -> list[str]:
    return [f.name for f in dataclasses.fields(config_class)]


def with_place(text: str, path: str, config_class: Any, provenance: Provenance) -> str:
    """Complete a component's message ``KEY must be ..., was ....`` with its group and its origin."""
    text = without_passwords(text)
    key = re.split(r"[\s\[]", text, maxsplit=1)[0]
    known = key.partition(".")[0] in _field_names(config_class)
    full = f"{path}.{key}" if known and path else key if known else path
    place = provenance.of(full) or f"default of {config_class.__name__}"
    if not known:
        return f"{path}: {text}" if path else text
    if path:
        text = f"{path}.{text}"
    sentence = re.fullmatch(r"(?s)(.*?[^.\s])\.((?:\s+[A-Z].*)?)", text)
    return f"{sentence[1]} ({place}).{sentence[2]}" if sentence else f"{text} ({place})"


@contextmanager
def in_our_words(host: PluginHost, provenance: Provenance) -> Iterator[None]:
    """Turn the errors of Hydra, OmegaConf and YAML into a ConfigError.

    Raises
    ------
    ConfigError
        In place of theirs, which is chained.
    """
    try:
        yield
    except BtError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a YAML file"
        raise ConfigError(f"{where} cannot be read: {error.problem or error.context}.") from error
    except MissingConfigException as error:
        raise _missing_option(error, host) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(without_passwords(_translated(error, host, provenance))) from error


def _missing_option(error: MissingConfigException, host: PluginHost) -> BtError:
    """Name the option that there is not, and those that there are."""
    missing = error.missing_cfg_file
    name = missing[0] if isinstance(missing, Sequence) and not isinstance(missing, str) else missing
    group, _, option = str(name).rpartition("/")
    options = error.options
    if options is None and GlobalHydra.instance().is_initialized():
        options = GlobalHydra.instance().config_loader().get_group_options(group)
    schema = group.removeprefix("schema/")
    if schema != group:
        if option in host.registry.names(Kind(schema)):
            return _unusable_schema(host.component(Kind(schema), option))
        # A YAML file names a dataclass that no package registers.
        return host.unknown(f"the YAML option {schema}/{option}: its schema", option, options or [])
    if group in list(Kind) and option in host.registry.names(Kind(group)):
        owner = host.component(Kind(group), option)
        return ConfigError(
            f"{owner.package} {owner.version} registers the {group} {option!r} but has no option "
            f"{group}/{option}.yaml on the search path. It should return its folder of options from "
            "config_search_path."
        )
    if not options:
        return ConfigError(f"there is no option {name!r}: the group {group or name!r} has no options.")
    return host.unknown(group, option, options)


def _unusable_schema(component: Component) -> PluginError:
    """Say why OmegaConf cannot take a component's dataclass."""
    try:
        OmegaConf.structured(component.config_class)
        reason = "is not known to Hydra"
    except OmegaConfBaseException as error:
        reason = f"has a key that cannot be configured: {str(error).partition(chr(10))[0].rstrip('.')}"
    return PluginError(
        f"{component.package} {component.version}: the {component.kind} {component.name!r} {reason}. "
        "Use int, float, bool, str, an enum, lists and dicts of these, or None."
    )


def _translated(error: Exception, host: PluginHost, provenance: Provenance) -> str:
    cause = _omegaconf_cause(error)
    if cause is not None:
        return value_error(cause, str(error), provenance)
    text = str(error).strip()
    unmatched = re.match(r"Could not override '(\w+)'\. No match in the defaults list", text)
    if unmatched:
        return _not_in_defaults(unmatched[1], provenance)
    twice = re.match(r"Multiple values for (\w+)\.", text)
    if twice:
        given = provenance.override_of(twice[1])
        return f"+{given}: an experiment has chosen a {twice[1]} already. To choose another, write {given}."
    sweep = re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'", text)
    if sweep:
        return (
            f"{sweep[1].lstrip('+')} gives several values. Sweep over them with bt -m; "
            "a list is written KEY=[A,B], a text KEY='A,B'."
        )
    return re.sub(r"\s*\n\s*", " ", text).rstrip(".") + "."


def _omegaconf_cause(error: BaseException | None) -> OmegaConfBaseException | None:
    while error is not None:
        if isinstance(error, OmegaConfBaseException):
            return error
        error = error.__cause__ or error.__context__
    return None


def _not_in_defaults(group: str, provenance: Provenance) -> str:
    given = provenance.override_of(group)
    if group == Kind.STRATEGY:
        return f"{given}: no strategy is chosen yet, so it has to be added. Write +{given}."
    return f"{given}: the group {group!r} is not part of this composition. Write +{given}."


def value_error(error: OmegaConfBaseException, context: str, provenance: Provenance) -> str:
    """Say which key has a wrong value, or is none."""
    key = str(error.full_key or error.key or "")
    owner = error.object_type if isinstance(error.object_type, type) else None
    path, _, name = key.rpartition(".")
    if isinstance(error, AttributeError | KeyError) and owner is not None and dataclasses.is_dataclass(owner):
        return unknown_key(path, name, owner, provenance, _file_in(context))
    reason = str(error.msg or error).partition("\n")[0].rstrip(".")
    # A resolver's own words, without those that OmegaConf puts around them.
    reason = re.sub(r"^\w+ raised while resolving interpolation: [\"']?(.*?)[\"']?$", r"\1", reason)
    place = provenance.of(key) or _file_in(context)
    where = f" ({place})" if place else ""
    if isinstance(error, MissingMandatoryValue):
        return f"{key} must be given. Write {key}=VALUE."
    words = _type_words(owner, name) or _element_words(reason)
    if isinstance(error, ValueError) and words and not isinstance(error, InterpolationResolutionError):
        return f"{key} must be {words}, was {error.value!r}{where}."
    return f"{key or 'the configuration'} cannot be used: {reason}{where}."


def _file_in(context: str) -> str:
    found = re.match(r"In '([^']+)'", context)
    return f"{found[1]}.yaml" if found else ""


def _element_words(reason: str) -> str:
    """Say in words what type an element of a list or mapping has, from OmegaConf's message."""
    found = re.search(r"could not be converted to (Integer|Float|Boolean)$", reason)
    types = {"Integer": "int", "Float": "float", "Boolean": "bool"}
    return _TYPE_WORDS[types[found[1]]] if found else ""


def _type_words(owner: type | None, name: str) -> str:
    """Say in words what type the key `name` of the dataclass `owner` has."""
    if owner is None or not dataclasses.is_dataclass(owner):
        return ""
    type_name = type_names(owner).get(name, "")
    bare = type_name.removesuffix("| None").strip()
    if bare.startswith("list["):
        words = "a list such as [a,b]"
    elif bare.startswith("dict["):
        words = "a mapping such as {a:1}"
    elif "|" in bare:
        words = f"one of {bare.replace('|', ', ')}"
    else:
        words = _TYPE_WORDS.get(bare, bare)
    return f"{words}, or null" if type_name != bare else words
