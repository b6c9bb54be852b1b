"""The boundary of commands that are no runs: overrides become one validated dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from hydra.core.override_parser.types import OverrideType
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bt_framework.config import _messages, _overrides
from bt_framework.config._sources import Provenance
from bt_framework.config.schema import BaseConfig
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name

C = TypeVar("C", bound=BaseConfig)


def from_overrides(config_class: type[C], overrides: Sequence[str]) -> C:
    """Return a closed `config_class` with the values of `overrides`, such as ``["source=etf", "window=250"]``.

    Raises
    ------
    ConfigError
        If a key is unknown or a value wrong. The message says what, where, was, and fix.
    """
    keys = [f.name for f in dataclasses.fields(config_class)]
    provenance = Provenance(overrides)
    node = OmegaConf.structured(config_class)
    try:
        for override in _overrides.parse(overrides):
            key = override.key_or_group
            if key.partition(".")[0] not in keys:
                raise ConfigError(f"{override.input_line}: {unknown_name('the key', key, keys)}")
            if override.type is OverrideType.DEL:
                raise ConfigError(f"{override.input_line}: leave the key out for its default.")
            if override.is_sweep_override():
                raise ConfigError(
                    f"{key} gives several values. A list is written {key}=[A,B], a text {key}='A,B'."
                )
            OmegaConf.update(node, key, override.value())
        config = OmegaConf.to_object(node)
    except OmegaConfBaseException as error:
        raise ConfigError(_messages.value_error(error, "", provenance)) from error
    except ConfigError as error:
        raise ConfigError(_messages.with_place(str(error), "", config_class, provenance)) from error
    assert isinstance(config, config_class)
    config.freeze()
    return config
