"""Where a value came from: an override, a YAML file, or the dataclass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

LIST_GROUPS = ("risk", "writer")
"""Groups of which several options may be chosen; each lands at GROUP.NAME."""


@dataclass(frozen=True)
class Provenance:
    """What a composition was made from.

    Attributes
    ----------
    overrides : sequence of str
        As given.
    choices : mapping of str to object
        Option chosen per group.
    search_paths : sequence of str
        ``pkg://`` and ``file://`` folders, first one first.
    """

    overrides: Sequence[str] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    search_paths: Sequence[str] = ()

    def of(self, key: str) -> str:
        """Return where the value of `key` was set, for a message; empty if that is the dataclass."""
        override = self.override_of(key)
        if override:
            return f"override {override}"
        for option, inner_key in self._candidates(key):
            for shown, text in self._files(option):
                if _has(text, inner_key):
                    return shown
        return ""

    def override_of(self, key: str) -> str:
        """Return the last override that set `key`, without its ``+`` signs, or an empty string."""
        for text in reversed(self.overrides):
            name, _, value = text.lstrip("+~").partition("=")
            name = name.partition("@")[0]
            # latency=colo chooses an option, latency={...} sets keys.
            if name and (key == name or (key.startswith(name + ".") and value.startswith("{"))):
                return text.lstrip("+")
        return ""

    def _candidates(self, key: str) -> Iterator[tuple[str, str]]:
        """Yield (option, key inside its file), what is merged last first."""
        if self.choices.get("experiment"):
            yield f"experiment/{self.choices['experiment']}", key
        yield "config", key
        group, _, rest = key.partition(".")
        if group in LIST_GROUPS:
            name, _, rest = rest.partition(".")
            yield f"{group}/{name}", rest
        elif self.choices.get(group):
            yield f"{group}/{self.choices[group]}", rest

    def _files(self, option: str) -> Iterator[tuple[str, str]]:
        """Yield (name for people, text) of the first file that holds `option`."""
        for path in self.search_paths:
            scheme, _, rest = path.partition("://")
            folder = files(rest) if scheme == "pkg" else Path(rest)
            file = folder.joinpath(f"{option}.yaml")
            if file.is_file():
                shown = f"{rest.replace('.', '/')}/{option}.yaml" if scheme == "pkg" else str(file)
                yield shown, file.read_text(encoding="utf-8")
                return


def _has(text: str, key: str) -> bool:
    node = yaml.safe_load(text)
    for part in key.split(".") if key else []:
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return bool(key)
