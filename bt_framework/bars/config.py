"""How sources of bars are configured; light, for it is imported whenever plugins are listed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name


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
    max_gap: int = param(
        5, "ffill: most bars of a gap that are filled; linear: longest one that is", unit="bars"
    )
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
        if int(self.interval_ns) % 1_000:
            raise ConfigError(f"interval_ns must be whole microseconds, was {self.interval_ns}.")
        if self.max_gap < 0:
            raise ConfigError(f"max_gap must be >= 0, was {self.max_gap}.")
        if self.outlier_window < 3:
            raise ConfigError(f"outlier_window must be >= 3 bars, was {self.outlier_window}.")
        if not 0 < self.outlier_threshold < float("inf"):
            raise ConfigError(f"outlier_threshold must be > 0 and finite, was {self.outlier_threshold}.")


class Layout(Enum):
    """How a file of rows is laid out: a bar per row, or a column of closes per symbol."""

    long = "long"
    wide = "wide"


FIELDS = ("time", "symbol", "open", "high", "low", "close", "volume", "dividend", "split")
"""What the columns of a file of rows may be."""
TIME_FORMATS = ("auto", "iso", "yyyymmdd", "s", "ms", "us", "ns")


@dataclass
class BarRowsConfig(BarSourceConfig):
    """Base of the configuration of sources that read files of rows and columns."""

    files: list[str] = param([], "files, folders, or patterns such as bars/*.csv")
    layout: Layout = param(
        Layout.long, "long: a bar per row; wide: a row per time and a column of closes per symbol"
    )
    columns: dict[str, str] = param(
        {}, "column that is time, symbol, open, high, ...; the others are found by their usual names"
    )
    symbols: list[str] = param(
        [], "long: symbol of each file, or of all, that has no column of symbols; wide: of each column"
    )
    symbols_file: str = param("", "wide: file that names the symbol of each column, in their order")
    file_name: str = param("{symbol}", "long: how a file's name holds its symbol, as day_{symbol}_1m")
    time_format: str = param(
        "auto", "auto, iso, yyyymmdd, s, ms, us or ns since 1970, or a pattern such as %d/%m/%Y"
    )
    time_zone: str = param("UTC", "of times that do not say theirs, as America/New_York; days stay days")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in self.columns:
            if key not in FIELDS:
                raise ConfigError(unknown_name("columns", key, FIELDS))
        check_time_format(self.time_format)
        check_time_zone(self.time_zone)
        if self.file_name.count("{symbol}") != 1:
            raise ConfigError(f"file_name must hold {{symbol}} once, was {self.file_name!r}.")
        if self.symbols_file and (self.symbols or self.layout is Layout.long):
            raise ConfigError(
                f"symbols_file must be empty if layout is long or symbols are given, was {self.symbols_file!r}."
            )
        if not all(self.symbols) or (
            self.layout is Layout.wide and len(set(self.symbols)) < len(self.symbols)
        ):
            raise ConfigError(f"symbols must be names, for columns different ones, was {self.symbols}.")


def check_time_format(text: str) -> None:
    """Refuse what is no form of times.

    Raises
    ------
    ConfigError
        Lists the forms.
    """
    if text not in TIME_FORMATS and "%" not in text:
        raise ConfigError(
            f"time_format must be one of {', '.join(TIME_FORMATS)} or a pattern such as %d/%m/%Y, was {text!r}."
        )


def check_time_zone(name: str) -> None:
    """Refuse what is no time zone.

    Raises
    ------
    ConfigError
        Shows how zones are written.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"time_zone must be UTC or a name such as America/New_York, was {name!r}."
        ) from None
