"""Bars from servers that send them as they close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.bars.server_config import BarServerConfig
from bt_framework.config.schema import Duration, param
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.bars.websocket._source import WebsocketBars

PLACES = ("secret",)
COLUMNS = ("time", "symbol", "closed", "open", "high", "low", "close", "volume")


@dataclass
class Websocket(BarServerConfig):
    """Bars collected from a stream of JSON, until there are enough or the time is over.

    A connection that breaks, or is silent for too long, is made again; bars that come again are left out, and bars that
    were missed are counted.
    """

    name: str = param("websocket", "registry name; choose another with GROUP=NAME")
    subscribe: list[str] = param([], "messages sent at the start; one with {symbol} is sent for each symbol")
    bars: int = param(0, "bars to collect, of all symbols; 0: until duration_ns is over", unit="bars")
    duration_ns: Duration = param(0, "how long to collect; 0: until there are enough bars", unit="ns")
    heartbeat_ns: Duration = param("15s", "from one ping to the next; 0: none", unit="ns")
    timeout_ns: Duration = param("120s", "longest silence of the server", unit="ns")
    bars_per_table: int = param(1_000, "bars that are handed on together", unit="bars")
    max_message_bytes: int = param(1 << 20, "largest message", unit="bytes")
    max_bad_messages: int = param(0, "messages to leave out and count that are not understood")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check_url(("ws", "wss"), PLACES)
        self.check_columns(COLUMNS)
        for key in ("bars", "duration_ns", "heartbeat_ns", "max_bad_messages"):
            if getattr(self, key) < 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")
        for key in ("bars_per_table", "max_message_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} must be >= 1, was {getattr(self, key)}.")
        if len(self.symbols) > 1 and "symbol" not in self.columns:
            raise ConfigError("columns.symbol must be given: there are several symbols.")


def build(config: Websocket) -> WebsocketBars:
    """Build the source."""
    from bt_plugins.bars.websocket._source import WebsocketBars

    config.require(("url", "symbols", "interval_ns"), ("time", "close"))
    if not config.bars and not config.duration_ns:
        raise ConfigError("bars.bars or bars.duration_ns must be > 0, or it never ends.")
    return WebsocketBars(config)
