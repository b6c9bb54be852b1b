"""Where a run's time and memory went: its phases, and samples of the Python code that was running."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from bt_framework.errors import ConfigError, PluginError
from bt_framework.limits import resident_bytes

PROFILE_FILE = "profile.json"
SAMPLES_FILE = "profile.speedscope.json"

PHASES = (
    "compose",
    "ingest",
    "prepare",
    "wait",
    "open",
    "compile",
    "simulate",
    "evaluate",
    "write",
    "finish",
    "other",
)
"""In order: make the configuration; load events; latency tables, what a strategy takes from the stores, identity; wait
for an equal job and look for an equal run; start the folder, the engine and the writers; compile the loop; run it;
result hash, metrics and trades; write tables; close the files and enter the run in the index; everything else."""

WHOLE = "total"

_SAMPLE_S = 0.001


class Profiling(StrEnum):
    """What is written down of where time and memory went."""

    OFF = "off"
    PHASES = "phases"
    SAMPLED = "sampled"

    @classmethod
    def of(cls, text: str) -> Profiling:
        """Read the key ``profile``.

        Raises
        ------
        ConfigError
            If it is something else.

        Examples
        --------
        >>> Profiling.of("True"), Profiling.of("sampled")
        (<Profiling.PHASES: 'phases'>, <Profiling.SAMPLED: 'sampled'>)
        """
        word = {"true": "phases", "false": "off"}.get(text.lower(), text)
        if word not in list(cls):
            raise ConfigError(f"profile must be off, phases (or true) or sampled, was {text!r}.")
        return cls(word)


class Spent(NamedTuple):
    """What a phase took.

    Attributes
    ----------
    seconds : float
        Wall time.
    growth_bytes : int
        By how much the process's resident memory was larger after it; other threads take part in it.
    peak_bytes : int
        The most that the process has had resident so far, at its end; 0 if not measured.
    """

    seconds: float = 0.0
    growth_bytes: int = 0
    peak_bytes: int = 0


class Phases:
    """Measures the phases of one run.

    Parameters
    ----------
    memory : bool
        Whether to look at the memory too; it costs some hundredths of a millisecond per phase.

    Attributes
    ----------
    spent : dict of str to Spent
        By phase, those that were gone through.
    """

    def __init__(self, *, memory: bool = False) -> None:
        self.spent: dict[str, Spent] = {}
        self._memory = memory

    @contextmanager
    def measured(self, phase: str) -> Iterator[None]:
        """Add what the context takes to a phase."""
        began, before = time.perf_counter(), self._resident()
        try:
            yield
        finally:
            self.add(phase, time.perf_counter() - began)
            if self._memory:
                so_far = self.spent[phase]
                resident, peak = memory_bytes()
                grown = so_far.growth_bytes + resident - before
                self.spent[phase] = Spent(so_far.seconds, grown, max(peak, so_far.peak_bytes))

    def add(self, phase: str, seconds: float) -> None:
        """Add time to a phase."""
        so_far = self.spent.get(phase, Spent())
        self.spent[phase] = so_far._replace(seconds=so_far.seconds + seconds)

    def move(self, seconds: float, source: str, target: str) -> None:
        """Part of the time in one phase was another one's."""
        self.add(source, -seconds)
        self.add(target, seconds)

    def seconds(self, phase: str) -> float:
        """Wall time in a phase so far."""
        return self.spent.get(phase, Spent()).seconds

    def whole(self, wall_s: float) -> dict[str, tuple[float, int, int]]:
        """Return seconds, growth and peak by phase, of everything else and of the run, which took `wall_s`."""
        spent = {phase: self.spent[phase] for phase in PHASES if phase in self.spent}
        growth = sum(one.growth_bytes for one in spent.values())
        peak = max((one.peak_bytes for one in spent.values()), default=0)
        spent["other"] = Spent(max(0.0, wall_s - sum(one.seconds for one in spent.values())))
        spent[WHOLE] = Spent(wall_s, growth, peak)
        return {phase: (one.seconds, one.growth_bytes, one.peak_bytes) for phase, one in spent.items()}

    def _resident(self) -> int:
        return memory_bytes()[0] if self._memory else 0


def memory_bytes() -> tuple[int, int]:
    """Resident memory of this process, and the most that it has had."""
    if sys.platform == "linux":
        with open("/proc/self/status", "rb") as file:
            values = dict(line.split(b":", 1) for line in file.read().splitlines() if line.startswith(b"Vm"))
        return int(values[b"VmRSS"].split()[0]) * 1024, int(values[b"VmHWM"].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return resident_bytes(), peak


def phase_lines(whole: Mapping[str, Any]) -> list[str]:
    """Return what `Phases.whole` says as a table."""
    wall_s = whole[WHOLE][0]
    lines = [f"{'phase':<10}{'seconds':>10}{'share':>8}{'memory':>12}{'peak':>12}"]
    for phase, (seconds, growth, peak) in whole.items():
        share = seconds / wall_s if wall_s > 0 else 0.0
        lines.append(f"{phase:<10}{seconds:>10.4f}{share:>8.1%}{_mb(growth, '+'):>12}{_mb(peak):>12}")
    return lines


def _mb(size: int, sign: str = "") -> str:
    return f"{size / 1e6:{sign}.1f} MB" if size else "-"


class Sampler:
    """Samples what Python code the calling thread runs; compiled code counts for its caller.

    Parameters
    ----------
    wanted : bool
        Whether to do anything.

    Raises
    ------
    PluginError
        If pyinstrument is wanted and not installed.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._profiler: Any = None
        if not wanted:
            return
        try:
            from pyinstrument import Profiler
        except ImportError:
            raise PluginError(
                "profile=sampled needs pyinstrument. Install it with: pip install 'bt-framework[profile]'"
            ) from None
        self._profiler = Profiler(interval=_SAMPLE_S, async_mode="disabled")
        self._profiler.start()

    def stop(self) -> None:
        """Take no more samples."""
        if self._profiler is not None and self._profiler.is_running:
            self._profiler.stop()

    def write(self, folder: Path) -> None:
        """Write the samples into a run's folder, for https://www.speedscope.app and what else reads its format."""
        if self._profiler is None:
            return
        from pyinstrument.renderers import SpeedscopeRenderer

        text = self._profiler.output(SpeedscopeRenderer())
        (folder / SAMPLES_FILE).write_text(text, encoding="utf-8")
