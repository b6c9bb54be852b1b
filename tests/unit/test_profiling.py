"""Where time and memory went: phases of a run, and the key that says what is measured."""

from __future__ import annotations

import builtins
import time

import pytest

from bt_framework.config.conduct import Conduct
from bt_framework.errors import ConfigError, PluginError
from bt_framework.profiling import WHOLE, Phases, Profiling, Sampler, Spent, phase_lines


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("True", "phases"), ("true", "phases"), ("False", "off"), ("off", "off"), ("sampled", "sampled")],
)
def test_the_key_takes_words_and_truth_values(text: str, wanted: str) -> None:
    assert Conduct(profile=text).profiling == Profiling(wanted)


def test_another_word_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"^profile must be off, phases \(or true\) or sampled, was 'fast'\.$"
    ):
        Conduct(profile="fast")


def test_phases_and_the_rest_add_up_to_the_whole() -> None:
    phases = Phases()
    phases.add("ingest", 1.0)
    phases.add("simulate", 3.0)
    phases.move(0.5, "simulate", "write")
    whole = phases.whole(5.0)
    assert {phase: values[0] for phase, values in whole.items()} == {
        "ingest": 1.0,
        "simulate": 2.5,
        "write": 0.5,
        "other": 1.0,
        WHOLE: 5.0,
    }


def test_a_phase_that_is_entered_twice_or_fails_counts_in_full() -> None:
    phases = Phases()

    def fail_after(seconds: float) -> None:
        with phases.measured("open"):
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                pass
            raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fail_after(0.002)
    assert phases.seconds("open") >= 0.004
    assert phases.spent["open"].peak_bytes == 0


def test_memory_that_a_phase_keeps_is_its_growth() -> None:
    phases = Phases(memory=True)
    with phases.measured("ingest"):
        kept = bytearray(b"x" * 64_000_000)
    grown = phases.spent["ingest"]
    assert grown.growth_bytes > 0.9 * len(kept)
    assert grown.peak_bytes >= len(kept)


def test_the_table_has_a_line_for_each_phase_and_the_whole() -> None:
    whole = {
        "ingest": tuple(Spent(1.0, 2_000_000, 3_000_000)),
        WHOLE: tuple(Spent(4.0, 2_000_000, 3_000_000)),
    }
    assert phase_lines(whole) == [
        "phase        seconds   share      memory        peak",
        "ingest        1.0000   25.0%     +2.0 MB      3.0 MB",
        "total         4.0000  100.0%     +2.0 MB      3.0 MB",
    ]


def test_without_pyinstrument_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name == "pyinstrument":
            raise ImportError(name)
        return found(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(PluginError, match=r"pip install 'bt-framework\[profile\]'"):
        Sampler(wanted=True)
    Sampler(wanted=False).stop()
