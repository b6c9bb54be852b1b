"""The keys of a screening."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bt_framework.config.schema import BaseConfig, param
from bt_framework.config.settings import default_store_dir, parse_time_ns
from bt_framework.errors import ConfigError


class Adjust(Enum):
    """How prices are adjusted for corporate actions."""

    point_in_time = "point_in_time"
    backward = "backward"
    none = "none"


class Method(Enum):
    """A test whose p-values count."""

    engle_granger = "engle_granger"
    """Both ways: each symbol explained by the other."""
    johansen = "johansen"
    """The trace test of no cointegration."""


class Family(Enum):
    """What the false discovery rate is controlled over."""

    all = "all"
    """Every pair on every test date."""
    window = "window"
    """The pairs of each test date by themselves."""


class Follow(Enum):
    """Of which pairs parameters and spreads are kept."""

    discoveries = "discoveries"
    all = "all"
    none = "none"


class Spreads(Enum):
    """How the hedge ratio of a spread series is estimated."""

    none = "none"
    ols = "ols"
    kalman = "kalman"


@dataclass
class ScreenConfig(BaseConfig):
    """What is screened, by which tests, and what is kept of it."""

    source: str = param("", "bars to screen, by the name under which they are kept")
    symbols: list[str] = param([], "symbols whose pairs are tested; empty: all of the source")
    pairs: list[str] = param([], "pairs to test, each as A/B; empty: all of the symbols")
    start: str | None = param(None, "first time, ISO-8601, UTC unless it says otherwise; null: the first bar")
    end: str | None = param(None, "time before which bars open; null: after the last bar")
    window: int = param(0, "bars of a test; 0: all, one test a pair", unit="bars")
    step: int = param(0, "from one test date to the next; 0: as long as the window", unit="bars")
    min_observations: int = param(100, "bars with both prices that a test needs", unit="bars")
    adjust: Adjust = param(Adjust.point_in_time, "prices: point_in_time, backward or none")
    log: bool = param(True, "test logarithms of prices")
    lags: int = param(1, "lagged differences in the regressions of both tests", unit="bars")
    methods: list[Method] = param(
        [Method.engle_granger, Method.johansen], "tests that decide: engle_granger (both ways), johansen"
    )
    fdr: float = param(0.05, "false discovery rate")
    family: Family = param(Family.all, "what it is controlled over: all tests, or those of each window")
    follow: Follow = param(Follow.discoveries, "pairs whose parameters are kept: discoveries, all or none")
    spreads: Spreads = param(Spreads.none, "spread series of those pairs: none, ols or kalman")
    hedge_window: int = param(
        250, "bars before each bar of an ols spread; bars that fit a kalman one", unit="bars"
    )
    workers: int = param(0, "threads; 0: as many as there are processors")
    top: int = param(20, "pairs to show; 0: all")
    store_dir: str = param("", "folder of the stores; empty: $BT_STORE_DIR, else the user's data folder")

    def __post_init__(self) -> None:
        """Check ranges and expand folders."""
        super().__post_init__()
        for key, least in (("window", 0), ("step", 0), ("lags", 0), ("workers", 0), ("top", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"{key} must be >= {least}, was {getattr(self, key)}.")
        # Hurst's exponent looks 20 bars ahead, Johansen's regressions have four columns and the lags of both.
        least = max(40, 10 + 4 * self.lags)
        for key in ("min_observations", "hedge_window"):
            if getattr(self, key) < least:
                raise ConfigError(
                    f"{key} must be >= {least} bars with lags={self.lags}, was {getattr(self, key)}."
                )
        if self.window and self.window < self.min_observations:
            raise ConfigError(
                f"window must be 0 or >= min_observations, {self.min_observations} bars, was {self.window}."
            )
        if not 0.0 < self.fdr < 1.0:
            raise ConfigError(f"fdr must be between 0 and 1, was {self.fdr}.")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            named = ", ".join(method.name for method in self.methods)
            raise ConfigError(f"methods must name each test once, at least one, was [{named}].")
        start_ts, end_ts = self.start_ts, self.end_ts
        if start_ts is not None and end_ts is not None and start_ts >= end_ts:
            raise ConfigError(f"end must be later than start ({self.start}), was {self.end}.")
        self.store_dir = str(Path(self.store_dir or default_store_dir()).expanduser())

    @property
    def start_ts(self) -> int | None:
        """`start` in ns UTC."""
        return None if self.start is None else parse_time_ns(self.start, "start")

    @property
    def end_ts(self) -> int | None:
        """`end` in ns UTC."""
        return None if self.end is None else parse_time_ns(self.end, "end")
