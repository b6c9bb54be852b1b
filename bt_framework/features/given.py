"""What a strategy is given to ask for features with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bt_framework.features.cache import Arrays, FeatureCache
from bt_framework.features.feature import Feature, Input

if TYPE_CHECKING:
    from bt_framework.data.store import StoredFeed


class GivenFeed(NamedTuple):
    """An instrument's events, as the run has them.

    Attributes
    ----------
    content_hash : str
        Says what `open` returns.
    open : callable
        Returns the events, mapped.
    tick_size : float
        Quote currency.
    """

    symbol: str
    content_hash: str
    open: Callable[[], np.ndarray]
    tick_size: float


@dataclass
class RunFeatures:
    """Features for one run.

    Attributes
    ----------
    cache : FeatureCache
        Where they are kept.
    feeds : sequence of GivenFeed
        The instruments, in the strategy's order.
    start_ts, end_ts : int
        The run's interval, ns UTC.
    shared : bool
        Whether further runs will want the same, as those of a sweep do.
    taken : dict of str to str
        Keys of the features that were taken, by name: they are part of the run's identity.
    """

    cache: FeatureCache
    feeds: Sequence[GivenFeed]
    start_ts: int
    end_ts: int
    shared: bool = False
    taken: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, store_dir: str, feeds: Sequence[StoredFeed], interval: tuple[int, int], *, shared: bool
    ) -> RunFeatures:
        """Make it for stored feeds."""
        given = [GivenFeed(f.spec.symbol, f.content_hash, f.open, f.spec.tick_size) for f in feeds]
        return cls(FeatureCache(Path(store_dir)), given, *interval, shared)

    def events(self) -> dict[str, Input]:
        """Return the events as inputs: ``events_0`` of the first instrument and so on."""
        return {f"events_{i}": Input(feed.content_hash, feed.open) for i, feed in enumerate(self.feeds)}

    def sampled_mids(self, asset: int, interval_ns: int) -> Input:
        """Return an instrument's mid prices in fixed steps as an input, see `bt_framework.features.sampling`."""
        from bt_framework.features.sampling import sampled_mids

        feed = self.feeds[asset]
        inputs = {"events": Input(feed.content_hash, feed.open)}
        params = {
            "start_ts": self.start_ts,
            "end_ts": self.end_ts,
            "interval_ns": interval_ns,
            "tick_size": feed.tick_size,
        }
        key = sampled_mids.key(inputs, params)
        return Input(key, lambda: self.cache.load(sampled_mids, inputs, params)["mid_px"])

    def get(self, feature: Feature, inputs: Mapping[str, Input], params: Mapping[str, Any]) -> Arrays:
        """Return the arrays of a feature; see `FeatureCache.load`.

        What is computed of events must be told the run's interval by `params` if it depends on it. What only saves
        work, because the kernels compare it with what they see, comes from `cache` itself: it decides nothing.
        """
        arrays = self.cache.load(feature, inputs, params)
        self.taken[feature.name] = arrays.key
        return arrays
