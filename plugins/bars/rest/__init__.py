"""Bars from servers that answer requests with JSON."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from bt_framework.bars.server_config import BarServerConfig
from bt_framework.config.schema import param
from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name

if TYPE_CHECKING:
    from bt_plugins.bars.rest._source import RestBars

PLACES = ("symbol", "start", "end", "limit", "secret")
COLUMNS = ("time", "open", "high", "low", "close", "volume")
REQUEST_TIMES = ("s", "ms", "us", "ns", "iso", "date", "yyyymmdd")
_DAY_NS = 86_400_000_000_000


@dataclass
class Rest(BarServerConfig):
    """Bars asked for page by page from a server that answers with JSON.

    Finished pages are kept, so that a download that was stopped goes on where it was. Bars that had not closed are left
    out.
    """

    name: str = param("rest", "registry name; choose another with GROUP=NAME")
    start: str = param("", "when the first bar opens, ISO-8601, UTC unless it says otherwise")
    end: str = param("", "where to stop, exclusive, ISO-8601")
    limit: int = param(1_000, "bars of a page", unit="bars")
    request_time: str = param("ms", "how {start} and {end} are written: s, ms, us, ns, iso, date or yyyymmdd")
    requests_per_s: float = param(5.0, "most requests in a second", unit="1/s")
    max_answer_bytes: int = param(1 << 25, "largest answer, unpacked", unit="bytes")
    cache_dir: str = param(
        "", "folder of finished pages; empty: downloads in $BT_CACHE_DIR, else the user's cache"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check_url(("http", "https"), PLACES)
        self.check_columns(COLUMNS)
        if self.url and ("{start}" not in self.url or (len(self.symbols) > 1 and "{symbol}" not in self.url)):
            raise ConfigError(
                f"url must hold {{start}}, and {{symbol}} if there are several, was {self.url!r}."
            )
        start_ts, end_ts = (parse_time_ns(getattr(self, k) or "1970-01-01", k) for k in ("start", "end"))
        if self.start and self.end and start_ts >= end_ts:
            raise ConfigError(f"end must be later than start ({self.start}), was {self.end}.")
        for key in ("limit", "max_answer_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} must be >= 1, was {getattr(self, key)}.")
        if not 0 < self.requests_per_s < inf:
            raise ConfigError(f"requests_per_s must be > 0 and finite, was {self.requests_per_s}.")
        if self.request_time not in REQUEST_TIMES:
            raise ConfigError(unknown_name("request_time", self.request_time, REQUEST_TIMES))
        if self.request_time in ("date", "yyyymmdd") and int(self.interval_ns) % _DAY_NS:
            raise ConfigError(
                f"request_time must hold a time of day for bars of less, was {self.request_time!r}."
            )


def build(config: Rest) -> RestBars:
    """Build the source."""
    from bt_plugins.bars.rest._source import RestBars

    config.require(("url", "symbols", "start", "end", "interval_ns"), ("time", "close"))
    return RestBars(config)
