"""What users may override, and what a configuration may never do: import code."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, OverrideType, QuotedString
from hydra.errors import HydraException
from omegaconf import Container, DictConfig, ListConfig

from bt_framework.config._secrets import unreadable_without_secrets
from bt_framework.config._sources import LIST_GROUPS
from bt_framework.config.settings import Settings
from bt_framework.errors import ConfigError
from bt_framework.registry import Kind

_HYDRA_KEYS = (
    "hydra.job",
    "hydra.launcher",
    "hydra.mode",
    "hydra.searchpath",
    "hydra.sweep",
    "hydra.sweeper",
    "hydra.verbose",
    "hydra/launcher",
    "hydra/sweeper",
)
# Our launchers and sweepers; some of others take code as text, such as the commands to run before a job.
_TRUSTED_TARGETS = ("hydra._internal.core_plugins.", "hydra_plugins.bt_sweeps.")
_TARGETS = ("hydra.launcher._target_", "hydra.sweeper._target_")
_LOGGING_KEYS = {"version", "root", "disable_existing_loggers"}
# Keys made from text, and resolvers whose name is made from text, are seen by Hydra and not by the checks here.
_MAKES_KEYS = re.compile(r"\$\{\s*oc\s*\.\s*(create|decode)\b|\$\{[^:{}$]*\$\{.*:", re.DOTALL)
_SETTINGS = frozenset(f.name for f in dataclasses.fields(Settings))


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse `overrides` and refuse those that could make Hydra import code.

    Raises
    ------
    ConfigError
        If one cannot be read, sets a key that starts with an underscore or makes keys from text, sets one of
        Hydra's that is no job knob, or looks for an option outside of the folders of options.
    """
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        _refuse_no_text(text)
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            shown = unreadable_without_secrets(text)
            why = f": {_first_line(error)}" if shown == text else ""
            raise ConfigError(f"cannot read the override {shown!r}{why}. {_how_to_write(shown)}") from None
        if not override.key_or_group.strip():
            raise ConfigError(f"cannot read the override {text!r}: it has no key. Write KEY=VALUE.")
        _refuse_code(override, text)
        _refuse_paths(override, text)
        _check_group(override, text)
        parsed.append(override)
    return parsed


def _how_to_write(text: str) -> str:
    """Advice on an override that cannot be read."""
    key, _, value = text.partition("=")
    braced = re.search(r"\{\w*\}", value)
    return f"Quote what has {braced[0]}: {key}='[\"FILE\"]'." if braced else "Write KEY=VALUE."


def _refuse_no_text(text: str) -> None:
    """Refuse bytes of the command line that are no text: no file or database could hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the override {text!r} must be text in UTF-8.") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip().rstrip(".")


def _refuse_code(override: Override, text: str) -> None:
    key = override.key_or_group
    for name in [*re.split(r"[./]", key), *_keys_in(override._value)]:
        if name.startswith("_"):
            raise ConfigError(
                f"the override {text!r} sets {name}: keys that start with an underscore are refused, because "
                "a configuration must not import code. Choose components by name, GROUP=NAME."
            )
    if any(_MAKES_KEYS.search(value) for value in _texts_in(override._value)):
        raise ConfigError(
            f"the override {text!r} is refused: it makes keys from text, which a configuration must not. "
            "Write the value itself."
        )
    is_hydra = re.match(r"hydra([./]|$)", key)
    if is_hydra and not any(key == k or key.startswith(k + ".") for k in _HYDRA_KEYS):
        raise ConfigError(
            f"the override {text!r} is refused: of Hydra's own keys one may set {', '.join(_HYDRA_KEYS)}."
        )
    if is_hydra and override.is_sweep_override():
        raise ConfigError(f"{text}: keys of Hydra cannot be swept over.")


def _refuse_paths(override: Override, text: str) -> None:
    """Refuse options outside of the folders of options, and packages as folders: looking there imports them."""
    key, values = override.key_or_group, list(_texts_in(override._value))
    if key == "hydra.searchpath" and any("pkg:" in value for value in values):
        raise ConfigError(
            f"the override {text!r} is refused: a configuration must not import code. Give a folder, or install "
            "a package that brings its own options."
        )
    is_group = "." not in key and key not in _SETTINGS
    if is_group and any(".." in re.split(r"[/\\]", value) for value in values):
        raise ConfigError(
            f"the override {text!r} is refused: an option lies in the folders of options. Give your own with "
            "--config-dir."
        )


def _check_group(override: Override, text: str) -> None:
    """Refuse what Hydra would misunderstand, or take without a word, in the choice of a group's option."""
    key = override.key_or_group
    if key not in list(Kind) or override.type is OverrideType.DEL or override.is_sweep_override():
        return
    value = override.value()
    if value is None:
        raise ConfigError(
            f"{text}: leave the group out with {f'{key}=[]' if key in LIST_GROUPS else f'~{key}'}."
        )
    if override.type is not OverrideType.CHANGE and key != Kind.STRATEGY:
        raise ConfigError(
            f"{text}: every composition has a {key}, so nothing is added. Write {text.lstrip('+')}."
        )
    if isinstance(value, list) and key not in LIST_GROUPS:
        raise ConfigError(f"{text}: {key} takes one option. Write {key}=NAME, or sweep with bt -m {key}=A,B.")
    if isinstance(value, list) and len(set(map(str, value))) < len(value):
        raise ConfigError(f"{text}: an option can be chosen once only.")


def _keys_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(getattr(key, "text", key))
            yield from _keys_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys_in(item)
    elif isinstance(value, ChoiceSweep):
        yield from _keys_in(value.list)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
    elif isinstance(value, ChoiceSweep):
        yield from _texts_in(value.list)


def quoted(text: str) -> str:
    """Return `text` as a quoted value of an override, taken literally."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # Within quotes a backslash means something only in front of a quote, the last one included.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def is_hydra(override: Override) -> bool:
    """Whether `override` sets one of Hydra's own keys."""
    return bool(re.match(r"hydra([./]|$)", override.key_or_group))


def forced(override: Override) -> str:
    """Return the text of `override`, with ``++`` where it sets a key of a component.

    Hydra refuses new keys in any mapping unless told to add them, so ``data.tick_size={BTCUSDT:0.1}`` would
    fail. Keys that are not in the dataclass are refused at the boundary, with a better message.
    """
    text = str(override.input_line)
    plain = override.type is OverrideType.CHANGE
    ours = not is_hydra(override) or override.key_or_group.startswith("hydra.sweeper.")
    if plain and "." in override.key_or_group and override.package is None and ours:
        return "++" + text
    return text


def variants(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Yield `overrides` without sweeps: the first value of each, then every other option of a group.

    Raises
    ------
    ConfigError
        If a sweep does not list its values.
    """
    swept = []
    for override in parse(overrides):
        if not override.is_sweep_override():
            swept.append([str(override.input_line)])
            continue
        if not override.is_discrete_sweep() or isinstance(override.value(), Glob):
            raise ConfigError(
                f"{override.input_line}: list the values, when options come from a folder of your own."
            )
        sign = str(override.input_line)[: -len(str(override.input_line).lstrip("+"))]
        key = sign + override.key_or_group
        values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        swept.append(values[:1] if "." in override.key_or_group else values)
    first = [values[0] for values in swept]
    yield first
    for index, values in enumerate(swept):
        for value in values[1:]:
            yield [*first[:index], value, *first[index + 1 :]]


def refuse_code_in(cfg: DictConfig) -> None:
    """Refuse a composed configuration that could import code, from whatever file it came.

    Raises
    ------
    ConfigError
        If a key starts with an underscore or is made from text, Hydra would build a class of nobody's
        launcher or sweeper, or call back or log through one.
    """
    for path, value in _leaves(cfg):
        if isinstance(value, str) and _MAKES_KEYS.search(value):
            raise ConfigError(
                f"{path} is refused: it makes keys from text, which a configuration must not, was {value!r}. "
                "Write the value itself."
            )
        name = path.rpartition(".")[2]
        if not name.startswith("_"):
            continue
        if path in _TARGETS:
            _refuse_target(path, value)
        else:
            raise ConfigError(
                f"{path} is refused: keys that start with an underscore would let a configuration import "
                "code. "
                "Choose components by name, GROUP=NAME."
            )
    if "hydra" not in cfg:
        return
    if cfg.hydra.callbacks:
        raise ConfigError("hydra.callbacks must be empty: a configuration must not import code.")
    for key in ("job_logging", "hydra_logging"):
        if set(cfg.hydra[key]) - _LOGGING_KEYS:
            raise ConfigError(f"hydra.{key} must be left alone: a configuration must not import code.")


def _refuse_target(path: str, value: Any) -> None:
    """Refuse another class than our launchers and sweepers."""
    if isinstance(value, str) and value.startswith(_TRUSTED_TARGETS):
        return
    group = path.split(".")[1]
    options = sorted(
        f.name.removesuffix(".yaml") for f in files("bt_conf").joinpath("hydra", group).iterdir()
    )
    raise ConfigError(
        f"hydra/{group} must be one of {', '.join(options)}, was one of another package or file ({value}): those may "
        "run what they are given, and a configuration must not import code."
    )


def _leaves(cfg: Container, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield (dotted key, raw value) of every key, interpolations unresolved."""
    items: Iterable[tuple[Any, Any]] = cfg.items_ex(resolve=False) if isinstance(cfg, DictConfig) else ()
    if isinstance(cfg, ListConfig):
        items = enumerate(cfg._iter_ex(resolve=False))
    for key, value in items:
        path = f"{prefix}{key}"
        if isinstance(value, Container) and value._is_interpolation():
            value = value._value()  # the text, as of any other interpolation
        yield path, value
        if isinstance(value, Container) and not value._is_none():
            yield from _leaves(value, path + ".")
