"""The basis of a future: bands, both legs of one base quantity, the expiry, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from desk_runs import run_on_desk

from bt_framework.errors import ConfigError
from bt_framework.records import SignalKind as S
from bt_framework.testing.feeds import START_TS
from bt_plugins.strategies.basis import Basis, BasisStrategy
from bt_plugins.strategies.basis import _kernels as k


def strategy(**keys: Any) -> BasisStrategy:
    return BasisStrategy(Basis(**{"flat_at_end": False, **keys}))


def closes(*bps: float, spot: float = 100.0) -> np.ndarray[Any, Any]:
    """Spot and a future at each basis."""
    return np.array([(spot, spot * (1.0 + b * 1e-4)) for b in bps])


def at(seconds: float) -> str:
    return datetime.fromtimestamp(START_TS / 1e9 + seconds, UTC).isoformat()


def test_a_basis_is_in_bps_and_per_year_if_asked_for() -> None:
    plain = getattr(k.basis_bps, "py_func", k.basis_bps)
    assert plain(100.0, 100.5, 1, False) == pytest.approx(50.0)
    quarter_ns = 365.25 / 4 * 86_400e9
    assert plain(100.0, 100.5, quarter_ns, True) == pytest.approx(200.0)


def test_a_rich_future_is_sold_against_spot_and_both_are_closed_when_it_is_fair() -> None:
    done = run_on_desk(strategy(fair_bps=10.0), closes(10, 30, 45, 20, 16, 14, 60))
    assert done.signals == [(2, S.ENTER, 1), (5, S.EXIT, 0), (6, S.ENTER, 1)]
    assert done.positions[2].tolist() == [100.0, -100.0]
    assert done.positions[5].tolist() == [0.0, 0.0]


def test_spot_is_sold_only_if_that_is_allowed() -> None:
    cheap = closes(0, -40, -40, 0)
    assert run_on_desk(strategy(), cheap).signals == []
    done = run_on_desk(strategy(short_spot=True), cheap)
    assert done.signals == [(1, S.ENTER, -1), (3, S.EXIT, 0)]
    assert done.positions[1].tolist() == [-100.0, 100.0]


def test_a_position_is_left_where_the_reverse_may_not_be_entered() -> None:
    done = run_on_desk(strategy(), closes(40, -40, -40))
    assert done.signals == [(0, S.ENTER, 1), (1, S.EXIT, 0)]


def test_a_stop_waits_for_the_basis_to_be_back() -> None:
    done = run_on_desk(strategy(stop_bps=80.0), closes(40, 90, 40, 40, 4, 40))
    assert done.signals == [(0, S.ENTER, 1), (1, S.STOP, 0), (5, S.ENTER, 1)]


def test_the_position_is_closed_before_the_expiry_and_none_is_entered_after() -> None:
    ends = strategy(expiry=at(600.0), close_before_ns="5min")
    done = run_on_desk(ends, closes(*[50.0] * 12), every_s=60.0)
    assert done.signals == [(0, S.ENTER, 1), (4, S.EXIT, 0)]
    assert not done.positions[4:].any()


def test_an_annualised_basis_grows_towards_the_expiry() -> None:
    year_s = 365.25 * 86_400
    far = strategy(expiry=at(2 * year_s), annualised=True, entry_bps=100.0)
    near = strategy(expiry=at(year_s / 4), annualised=True, entry_bps=100.0)
    rich = closes(0, 50, 50)
    assert run_on_desk(far, rich).signals == []
    assert run_on_desk(near, rich).signals == [(1, S.ENTER, 1)]


def test_a_leg_that_rounds_to_nothing_is_recorded() -> None:
    done = run_on_desk(strategy(), closes(0, 50, 50, 0, 50), lots=[1.0, 1_000.0])
    assert done.signals == [(1, S.REFUSED, 0), (4, S.REFUSED, 0)]


def test_a_future_that_has_expired_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="expiry must be later than the start of the run"):
        strategy(expiry=at(3_600.0)).load(tmp_path, ["A", "B"], START_TS)
    assert strategy(expiry=at(3 * 86_400.0)).load(tmp_path, ["A", "B"], START_TS) == {}


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"exit_bps": 40.0}, "bands must be 0 <= exit_bps <= entry_bps, were 40.0 and 30.0"),
        ({"stop_bps": 20.0}, r"stop_bps must be 0 or > entry_bps \(30.0\), was 20.0"),
        ({"annualised": True}, "expiry must be given with annualised=true"),
        ({"expiry": "soon"}, "expiry must be an ISO-8601 time, was 'soon'"),
        ({"fair_bps": float("nan")}, "fair_bps must be finite, was nan"),
        ({"close_before_ns": -1}, "close_before_ns must be >= 0, was -1"),
    ],
)
def test_keys_out_of_range_are_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Basis(**keys)
