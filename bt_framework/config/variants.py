"""Many compositions of one sweep: Hydra composes each choice of groups once, values are set on copies."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, flag_override

from bt_framework.config import _overrides
from bt_framework.config.compose import Choice, Composition, composition_of, in_our_words, load
from bt_framework.plugin_manager import PluginHost
from bt_framework.registry import Kind


class VariantComposer:
    """Composes jobs; what `compose` returns is what `bt_framework.config.compose.compose` would, sooner.

    Threads may share one.

    Parameters
    ----------
    host : PluginHost
        What is installed.
    config_dirs : sequence of str
        Folders with options of the user's own.
    """

    def __init__(self, host: PluginHost, config_dirs: Sequence[str] = ()) -> None:
        self._host = host
        self._config_dirs = tuple(config_dirs)
        self._parsed: dict[str, Override] = {}
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._known: dict[tuple[Kind, str], Choice] = {}
        self._lock = threading.Lock()

    def compose(self, overrides: Sequence[str]) -> Composition:
        """Compose one job.

        Raises
        ------
        ConfigError, PluginError
            As `bt_framework.config.compose.compose`.
        """
        with self._lock:  # OmegaConf's nodes are not made for threads
            parsed = [self._parse(text) for text in overrides]
            values = [o for o in parsed if _sets_a_value(o)]
            base = self._base(tuple(str(o.input_line) for o in parsed if not _sets_a_value(o)))
            cfg = copy.deepcopy(base)
            with in_our_words(self._host, overrides, self._config_dirs), flag_override(cfg, "struct", False):
                for override in values:
                    OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
            return composition_of(cfg, host=self._host, overrides=overrides, known=self._known)

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            (self._parsed[text],) = _overrides.parse([text])
        return self._parsed[text]

    def _base(self, overrides: tuple[str, ...]) -> DictConfig:
        """Let Hydra compose what is not only a value."""
        if overrides not in self._bases:
            cfg = load(overrides, self._host, self._config_dirs)
            with flag_override(cfg, "struct", False):
                del cfg["hydra"]
            self._bases[overrides] = cfg
        return self._bases[overrides]


def _sets_a_value(override: Override) -> bool:
    """Whether `override` changes one plain value that is no choice of an option, and does nothing else."""
    key = override.key_or_group
    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and not _overrides.is_hydra(override)
        and key not in list(Kind)
        and key != "experiment"
        and "/" not in key
        and "@" not in key
        and "${" not in str(override.input_line)
    )
