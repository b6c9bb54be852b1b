"""Which run this is: hashes over its configuration, its data and its code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bt_framework.results.run import Instrument

_NO_INFLUENCE = frozenset({"data", "bars", "writer", "store", "console", "experiment", "seed"})
_NO_INFLUENCE_SETTINGS = frozenset({"slice_wakes", "runs_dir", "store_dir", "tags", "note"})
"""Keys that cannot change a result. Data and seed are not among them: they have a place of their own."""


def config_hash(resolved: Mapping[str, Any]) -> str:
    """SHA-256 of the resolved composition, without what cannot change a result.

    >>> config_hash({"latency": {"entry_ns": 1}, "note": "a"}) == config_hash({"note": "b", "latency": {"entry_ns": 1}})
    True
    """
    left_out = _NO_INFLUENCE | _NO_INFLUENCE_SETTINGS
    return _sha256(
        {key: value for key, value in resolved.items() if key not in left_out}, keep_order=("risk",)
    )


def data_hash(
    contents: Iterable[tuple[str, Instrument]],
    latencies: Sequence[str] = (),
    inputs: Mapping[str, Any] | None = None,
) -> str:
    """SHA-256 of the events (their content hashes) and the contracts they are of, in the strategy's order.

    Tables of order latencies count by their content hashes too, and so does what the strategy took from a store.
    """
    events = [
        [content, i.symbol, i.tick_size, i.lot_size, i.contract_size, i.inverse] for content, i in contents
    ]
    return _sha256([*events, *latencies, *([inputs] if inputs else [])])


def code_hash(source_hash: str, packages: Sequence[tuple[str, str]]) -> str:
    """SHA-256 of the sources that decide a result and of the packages (name, version) that they come from."""
    return _sha256([source_hash, sorted(set(packages))])


def _sha256(value: Any, keep_order: Sequence[str] = ()) -> str:
    if isinstance(value, dict):
        # The order of risk rules is the order of the chain: it is part of the configuration.
        value = {
            k: list(v.items()) if k in keep_order and isinstance(v, dict) else v for k, v in value.items()
        }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()
