"""Plain lines, for logs and pipes."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError
from bt_framework.results.console import Console, PlainLines


@dataclass
class PlainConsole(ComponentConfig):
    """Plain lines: progress from time to time, then the summary."""

    name: str = param("plain", "registry name")
    interval_ns: Duration = param("5s", "wall time between two lines of progress", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.interval_ns) < 0:
            raise ConfigError(f"interval_ns must be >= 0, was {self.interval_ns}.")


def build(config: PlainConsole) -> Console:
    """Return the console."""
    return PlainLines(int(config.interval_ns))
