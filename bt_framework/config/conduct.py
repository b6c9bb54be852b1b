"""How runs are carried out, alone or in a sweep: keys that say nothing of what a run is, and are not kept with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from bt_framework.config.schema import BaseConfig, param
from bt_framework.errors import ConfigError
from bt_framework.profiling import Profiling
from bt_framework.units import parse_size_bytes

_RETRY = re.compile(r"retry\((\d{1,3})\)")


@dataclass
class Limits(BaseConfig):
    """What one run may use before it is ended; 0 is no limit."""

    max_seconds: float = param(
        0.0, "wall time of a run from its first slice on, after ingest and compilation; 0: no limit", unit="s"
    )
    max_rss: str = param("0", "resident memory of the process that runs it, such as 4GB; 0: no limit")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 <= self.max_seconds < float("inf"):
            raise ConfigError(f"limits.max_seconds must be >= 0 and finite, was {self.max_seconds}.")
        parse_size_bytes(self.max_rss, "limits.max_rss")

    @property
    def max_rss_bytes(self) -> int:
        """`max_rss` in bytes."""
        return parse_size_bytes(self.max_rss, "limits.max_rss")


@dataclass
class SweepSettings(BaseConfig):
    """What a sweep is, apart from its jobs."""

    dir: str = param("sweeps", "folder of sweep folders")
    metric: str = param("sharpe", "metric that says which job is best")
    minimize: bool = param(False, "whether the smallest value of the metric is the best")
    workers: int = param(0, "jobs at once on this machine; 0: one per core that the process may use")
    max_jobs: int = param(100_000, "more jobs than these are refused before the first one starts")
    confirm_hours: float = param(
        1.0, "ask before the second job if the rest takes longer; 0: do not ask", unit="h"
    )
    confirm_gb: float = param(
        10.0, "ask before the second job if the rest takes more disk; 0: do not ask", unit="GB"
    )

    def __post_init__(self) -> None:
        """Check ranges and expand the folder."""
        super().__post_init__()
        if self.workers < 0:
            raise ConfigError(f"sweep.workers must be >= 0, was {self.workers}.")
        if self.max_jobs < 1:
            raise ConfigError(f"sweep.max_jobs must be >= 1, was {self.max_jobs}.")
        for name in ("confirm_hours", "confirm_gb"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"sweep.{name} must be >= 0 and finite, was {getattr(self, name)}.")
        self.dir = str(Path(self.dir or "sweeps").expanduser())


@dataclass
class Conduct(BaseConfig):
    """The keys at the top of a composition that are not part of a run."""

    resume: bool = param(False, "bt -m: go on with the newest sweep of the same plan instead of a new one")
    rerun: bool = param(False, "bt -m: run jobs again of which an identical run is stored")
    on_error: str = param("continue", "bt -m: what a failed job does: continue, stop or retry(N)")
    profile: str = param("off", "write down where time and memory went: off, phases (or true), sampled")
    limits: Limits = field(default_factory=Limits, metadata={"doc": "what one run may use", "unit": ""})
    sweep: SweepSettings = field(default_factory=SweepSettings, metadata={"doc": "bt -m", "unit": ""})

    def __post_init__(self) -> None:
        """Check what a failed job does, and what is measured."""
        super().__post_init__()
        self.profile = str(Profiling.of(self.profile))
        if self.on_error not in ("continue", "stop") and not _RETRY.fullmatch(self.on_error):
            raise ConfigError(f"on_error must be continue, stop or retry(N), was {self.on_error!r}.")

    @property
    def profiling(self) -> Profiling:
        """What is measured."""
        return Profiling(self.profile)

    @property
    def attempts(self) -> int:
        """How often a job is tried."""
        retry = _RETRY.fullmatch(self.on_error)
        return 1 + int(retry[1]) if retry else 1
