"""What only one process at a time may open, and a sweep in processes cannot use therefore."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bt_framework.errors import ConfigError
from bt_framework.registry import Kind

if TYPE_CHECKING:
    from bt_framework.config.compose import Composition

DECIDE = (
    "experiment",
    "plain",
    "strategy",
    "data",
    "data.url",
    "writer",
    "writer.clickhouse.url",
)
"""Keys that say whether a job uses it, and whether it runs in a process of its own."""


def refuse_chdb(composition: Composition) -> None:
    """Refuse components that read or write chDB.

    Raises
    ------
    ConfigError
        If one does.
    """
    for kind in (Kind.WRITER, Kind.DATA):
        for choice in composition.many(kind):
            url = getattr(choice.config, "url", None)
            if url == "" and choice.component.name == "clickhouse":
                url = os.environ.get("BT_CLICKHOUSE_URL", "")
            if isinstance(url, str) and url.startswith("chdb:"):
                raise ConfigError(
                    f"{kind} must not be chDB in a sweep that runs in processes: one process at a time has its folder. "
                    "Use a ClickHouse server (set $BT_CLICKHOUSE_URL), or run compiled strategies in threads "
                    "(hydra/launcher=threads), or leave chDB out: every run keeps its tables as Parquet."
                )
