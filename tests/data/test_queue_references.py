"""Queue positions and fill times worked by hand, and hftbacktest's own, are those of our composition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.engine.models import FeeSchedule, LatencyModel
from bt_framework.engine.session import Clocking
from bt_framework.records import EVENT, OrderEvent, TimeInForce
from bt_framework.results.run import Instrument
from bt_framework.testing import _script
from bt_framework.testing.conformance import EXPONENT, Venue, run_tables, script_session
from bt_framework.units import NS_PER_MS as MS

S = 1_000 * MS
FIRST_LOCAL_TS = 1_001 * MS
QUEUES = {
    "risk_adverse_queue_model": "risk_averse",
    "log_prob_queue_model": "log_prob",
    "log_prob_queue_model2": "log_prob2",
    "power_prob_queue_model": "power_prob",
    "power_prob_queue_model2": "power_prob2",
    "power_prob_queue_model3": "power_prob3",
}


@pytest.fixture(scope="module")
def references(shared_dir: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    folder = shared_dir / "references"
    feed = np.load(folder / "hbt_synth_feed.npy")
    return json.loads((folder / "hbt_synth_expected.json").read_text()), feed.astype(EVENT)


def test_all_runs_of_the_reference_are_reproduced(
    references: tuple[dict[str, Any], np.ndarray[Any, Any]],
) -> None:
    expected, events = references
    assert {QUEUES[run["queue"]] for run in expected["runs"]} == set(QUEUES.values())
    assert len(expected["runs"]) == 19
    for run in expected["runs"]:
        check(run, events)


def check(run: dict[str, Any], events: np.ndarray[Any, Any]) -> None:
    """Run one of them: buy at 100.0, sent at 2 s; one lot trades there each second from 5 s on."""
    qty, partial = run["qty"], run["exchange"] == "partial_fill_exchange"
    sent_ns = run["submit"] - FIRST_LOCAL_TS
    session = script_session(
        events,
        np.array([[sent_ns, _script.LIMIT, 1, 100.0, qty, TimeInForce.GTX, 0]]),
        Instrument("TEST", 0.1, 1.0),
        Venue(QUEUES[run["queue"]], run["exchange"].removesuffix("_exchange")),
        LatencyModel(10 * MS, 20 * MS),
        Clocking(FIRST_LOCAL_TS, 17 * S, MS, S),
        exponent=run["n"] or EXPONENT,
        fees=FeeSchedule(maker_value_frac=-0.0001),
    )
    tables = run_tables(session)
    orders, fills, books = tables["orders"], tables["fills"], session.arrays.ledger[0]
    (accepted,) = orders[orders["event"] == OrderEvent.ACCEPTED]
    (filled,) = orders[orders["event"] == OrderEvent.FILLED]
    assert orders[0]["local_ts"] == run["submit"]
    assert (accepted["exch_ts"], accepted["local_ts"]) == (run["ack_exch"], run["ack_local"])
    assert (filled["exch_ts"], filled["local_ts"]) == (run["fill_exch"], run["fill_local"])
    assert filled["exch_ts"] == run["hand_fill_exch_s"] * S
    partials = orders[orders["event"] == OrderEvent.PARTIALLY_FILLED]
    assert (partials["exch_ts"][0] if len(partials) else 0) == run["first_partial_exch"]
    if partial:
        assert fills["exch_ts"][0] == run["hand_first_partial_s"] * S
        assert fills["qty"].tolist() == [1.0] * int(qty)  # one lot a second
    # Of an order that it fills in parts, the engine's own books have the last part only: position 1 of 3.
    assert run["position"] == (1.0 if partial else qty)
    assert books["position_qty"] == qty
    assert books["cash"] == -100.0 * qty
    assert books["fees"] == pytest.approx(-0.01 * qty, abs=1e-12)
    assert partial or books["fees"] == pytest.approx(run["fee"], abs=1e-12)
