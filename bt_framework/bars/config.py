"""How sources of bars are configured; light, for it is imported whenever plugins are listed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError


class MissingBars(Enum):
    """What becomes of bars that the calendar expects and the source does not have."""

    leave = "leave"
    ffill = "ffill"
    linear = "linear"


class Outliers(Enum):
    """How outliers are found: against the bars before them only."""

    none = "none"
    zscore = "zscore"
    hampel = "hampel"


class OutlierAction(Enum):
    """What becomes of an outlier; it is flagged in any case."""

    flag = "flag"
    replace = "replace"


class DividendConvention(Enum):
    """How a dividend becomes a factor for the prices before its ex-date.

    ``close_plus_dividend`` is close / (close + dividend) with the close of the ex-date; ``previous_close`` is
    1 - dividend / close with the close before it.
    """

    close_plus_dividend = "close_plus_dividend"
    previous_close = "previous_close"


@dataclass
class BarSourceConfig(ComponentConfig):
    """Base of the configuration of sources of bars: where they are kept, and how they are cleaned before."""

    source: str = param("", "name under which the bars are kept; empty: that of the reader")
    interval_ns: Duration = param(0, "from one bar to the next; 0: the most frequent distance", unit="ns")
    missing: MissingBars = param(MissingBars.leave, "missing bars: leave, ffill or linear")
    max_gap: int = param(5, "longest run of missing bars that is filled", unit="bars")
    outliers: Outliers = param(Outliers.none, "how outliers are found: none, zscore or hampel")
    outlier_window: int = param(20, "bars before the one that is judged", unit="bars")
    outlier_threshold: float = param(5.0, "distance that makes an outlier", unit="sd")
    outlier_action: OutlierAction = param(OutlierAction.flag, "flag or replace")
    calendar: str = param("", "exchange calendar that says which bars there should be, as XNYS; empty: none")
    actions_file: str = param("", "CSV of corporate actions: symbol, ex_date, kind (split, dividend), value")
    dividends: DividendConvention = param(
        DividendConvention.close_plus_dividend, "close_plus_dividend or previous_close"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.interval_ns) < 0:
            raise ConfigError(f"interval_ns must be >= 0, was {self.interval_ns}.")
        if self.max_gap < 0:
            raise ConfigError(f"max_gap must be >= 0, was {self.max_gap}.")
        if self.outlier_window < 3:
            raise ConfigError(f"outlier_window must be >= 3 bars, was {self.outlier_window}.")
        if not 0 < self.outlier_threshold < float("inf"):
            raise ConfigError(f"outlier_threshold must be > 0 and finite, was {self.outlier_threshold}.")
