"""Many compositions of one sweep: Hydra composes each choice of groups once, values are set on copies of its parts."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from bt_framework.config import _overrides
from bt_framework.config._sources import Provenance
from bt_framework.config.compose import Composition, choices_of, compose, load, top_keys
from bt_framework.config.conduct import Conduct
from bt_framework.config.settings import Root, Settings
from bt_framework.errors import BtError, ConfigError
from bt_framework.plugin_manager import PluginHost
from bt_framework.registry import Kind

_GROUPS = frozenset(map(str, Kind))
_ROOT_KEYS = frozenset(f.name for f in dataclasses.fields(Root))
_PARTS: Mapping[type | Kind, frozenset[str]] = {
    **{part: frozenset(f.name for f in dataclasses.fields(part)) for part in (Settings, Conduct)},
    **{kind: frozenset((str(kind),)) for kind in Kind},
}
"""What a composition consists of, each validated by itself, and the keys at the top that it is made from."""

_REFERENCE = re.compile(r"\$\{([^{}]*)\}?")
_PLAIN_REFERENCE = re.compile(r"[A-Za-z]\w*(\.\w+)*")


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
        self._lock = threading.Lock()
        self._parsed = lru_cache(maxsize=4096)(_parsed)
        self._base = lru_cache(maxsize=64)(self._load)
        self._copy = lru_cache(maxsize=1024)(self._copies)
        self._part = lru_cache(maxsize=1024)(self._validated)

    def compose(self, overrides: Sequence[str]) -> Composition:
        """Compose one job.

        Raises
        ------
        ConfigError, PluginError
            As `bt_framework.config.compose.compose`.
        """
        # OmegaConf's nodes are not made for threads. Of what is wrong, a whole composition knows where it came from.
        with suppress(BtError, OmegaConfBaseException, ValueError), self._lock:
            return self._composed(overrides)
        return compose(overrides, config_dirs=self._config_dirs, host=self._host)

    def _composed(self, overrides: Sequence[str]) -> Composition:
        others, values = _split([self._parsed(text) for text in overrides])
        base = self._base(others)

        def part(which: type | Kind) -> Any:
            needs = base.needs[which]
            return self._part(others, which, tuple(text for key, text in values if key in needs))

        if not _ROOT_KEYS.issuperset(key for key, _ in values):
            raise ConfigError("a key at the top is unknown.")
        return Composition(part(Settings), {kind: part(kind) for kind in Kind}, self._host, part(Conduct))

    def _load(self, overrides: tuple[str, ...]) -> _Base:
        """Let Hydra compose what is not only a value."""
        cfg = load(overrides, self._host, self._config_dirs)
        with flag_override(cfg, "struct", False):
            del cfg["hydra"]
        if not _ROOT_KEYS.issuperset(map(str, cfg)):
            raise ConfigError("a key at the top is unknown.")
        return _Base(cfg, {part: _needs(cfg, keys) for part, keys in _PARTS.items()})

    def _copies(self, others: tuple[str, ...], which: type | Kind) -> Callable[[], DictConfig]:
        """Return what makes a copy of what a part reads of a base; by pickle, if it can, in a seventh of the time."""
        base = self._base(others)
        keys = [key for key in base.cfg if key in base.needs[which]]
        own = OmegaConf.masked_copy(base.cfg, keys)
        try:
            return partial(pickle.loads, pickle.dumps(own))
        except (pickle.PicklingError, AttributeError, TypeError):  # a config class that is in no module
            return partial(copy.deepcopy, own)

    def _validated(self, others: tuple[str, ...], which: type | Kind, values: tuple[str, ...]) -> Any:
        """Set the values that concern a part, and make its dataclasses."""
        cfg = self._copy(others, which)()
        for text in values:
            override = self._parsed(text)
            OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
        _overrides.refuse_code_in(cfg)
        nowhere = Provenance()
        if isinstance(which, Kind):
            return tuple(choices_of(cfg, which, self._host, nowhere))
        return top_keys(cfg, which, nowhere)


@dataclass(frozen=True)
class _Base:
    """What Hydra composed, and the keys at its top that each part reads."""

    cfg: DictConfig
    needs: Mapping[type | Kind, frozenset[str]]


def _parsed(text: str) -> Override:
    (override,) = _overrides.parse([text])
    if _overrides.is_hydra(override) and override.key_or_group != "hydra.searchpath":
        raise ConfigError("a key of Hydra is for the command line.")
    return override


def _split(parsed: Sequence[Override]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Part what Hydra must compose from values to set afterwards: (key at the top, text) each, in order."""
    # Options are chosen before anything is set, wherever they are written; all else happens in order.
    in_order = [index for index, o in enumerate(parsed) if not (_sets_a_value(o) or _chooses(o))]
    first = in_order[-1] + 1 if in_order else 0
    others, values = [], []
    for index, override in enumerate(parsed):
        text = str(override.input_line)
        if index >= first and _sets_a_value(override):
            values.append((override.key_or_group.partition(".")[0], text))
        else:
            others.append(text)
    return tuple(others), values


def _chooses(override: Override) -> bool:
    """Whether `override` chooses options of a group."""
    key = override.key_or_group
    return key in _GROUPS or key == "experiment" or "/" in key


def _sets_a_value(override: Override) -> bool:
    """Whether `override` changes one plain value that is no choice of an option, and does nothing else."""
    key = override.key_or_group
    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and not _chooses(override)
        and "@" not in key
        and key != "hydra.searchpath"
        and "${" not in str(override.input_line)
    )


def _needs(cfg: DictConfig, keys: frozenset[str]) -> frozenset[str]:
    """Keys at the top that those of a part refer to, however indirectly, themselves included; all if in doubt."""
    found: set[str] = set()
    todo = [key for key in keys if key in cfg]
    while todo:
        key = todo.pop()
        if key in found:
            continue
        found.add(key)
        for reference in _references(cfg._get_node(key)):
            if not _PLAIN_REFERENCE.fullmatch(reference):
                return frozenset(map(str, cfg))
            todo.append(reference.partition(".")[0])
    return keys | found


def _references(node: Any) -> Iterator[str]:
    """Yield what the interpolations in `node` refer to."""
    if isinstance(node, DictConfig | ListConfig) and not _has_no_children(node):
        keys: Iterable[Any] = node if isinstance(node, DictConfig) else range(len(node))
        for key in keys:
            yield from _references(node._get_node(key))
    elif node is not None:
        yield from _REFERENCE.findall(str(node._value()))


def _has_no_children(node: DictConfig | ListConfig) -> bool:
    return bool(node._is_none() or node._is_missing() or node._is_interpolation())
