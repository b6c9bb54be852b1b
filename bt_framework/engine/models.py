"""What latency, queue, exchange and fee plugins build: descriptions that the engine understands.

Plugins never touch hftbacktest; `bt_framework.engine.session` turns these into its models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bt_framework.engine.jitter import Jitter
    from bt_framework.engine.latency import LatencyTable


@dataclass(frozen=True)
class Moment:
    """A time in ns: UTC if `is_utc`, else from the start of the run."""

    ns: int
    is_utc: bool = False

    def at(self, start_ts: int) -> int:
        """ns UTC in a run that starts at `start_ts`."""
        return self.ns if self.is_utc else start_ts + self.ns


@dataclass(frozen=True)
class Outage:
    """Time in which nothing gets through; the end is not included."""

    start: Moment
    end: Moment


class OutageMode(StrEnum):
    """What becomes of orders sent in an outage. Responses wait for its end in either."""

    DELAY = "delay"
    REJECT = "reject"


@dataclass(frozen=True)
class LatencyModel:
    """Order latency, and how much later than recorded the feed arrives.

    Attributes
    ----------
    entry_ns : int
        From our decision to the matching engine.
    response_ns : int
        From the matching engine back to us.
    feed_offset_ns : int
        Added to the recorded feed latency, for data recorded elsewhere than where the strategy would run.
    table : LatencyTable, optional
        Order latencies over time; `entry_ns` and `response_ns` are not used then.
    outages : tuple of Outage
        Laid over the order latencies.
    outage_mode : OutageMode
    feed_jitter : Jitter, optional
        Random delay of the feed, after `feed_offset_ns`.
    """

    entry_ns: int = 0
    response_ns: int = 0
    feed_offset_ns: int = 0
    table: LatencyTable | None = None
    outages: tuple[Outage, ...] = ()
    outage_mode: OutageMode = OutageMode.DELAY
    feed_jitter: Jitter | None = None


class QueueKind(StrEnum):
    """Queue models of hftbacktest."""

    RISK_AVERSE = "risk_averse"
    LOG_PROB = "log_prob"
    LOG_PROB2 = "log_prob2"
    POWER_PROB = "power_prob"
    POWER_PROB2 = "power_prob2"
    POWER_PROB3 = "power_prob3"
    L3_FIFO = "l3_fifo"


@dataclass(frozen=True)
class QueueModel:
    """How the queue ahead of a resting order is taken to shrink. ``exponent`` is for the POWER models."""

    kind: QueueKind
    exponent: float = 0.0

    @property
    def needs_orders(self) -> bool:
        """Whether it works on events of single orders (L3); the others work on price levels."""
        return self.kind == QueueKind.L3_FIFO


class ExchangeKind(StrEnum):
    """Exchange models of hftbacktest."""

    NO_PARTIAL_FILL = "no_partial_fill"
    PARTIAL_FILL = "partial_fill"


@dataclass(frozen=True)
class ExchangeModel:
    """How orders are matched."""

    kind: ExchangeKind

    @property
    def sweeps(self) -> bool:
        """Whether one order may be filled at several prices."""
        return self.kind == ExchangeKind.PARTIAL_FILL


@dataclass(frozen=True)
class FeeTier:
    """Fees from a traded volume on.

    Attributes
    ----------
    min_volume : float
        Value traded over the last `FeeSchedule.volume_days` days from which the tier holds, quote currency.
    maker_value_frac, taker_value_frac : float
        Fraction of the traded value; negative is a rebate.
    """

    min_volume: float
    maker_value_frac: float
    taker_value_frac: float


@dataclass(frozen=True)
class FeeSchedule:
    """Fee of a fill = value x fraction + quantity x rate + flat amount; negative numbers are rebates.

    Attributes
    ----------
    maker_value_frac, taker_value_frac : float
        Fraction of the traded value, before the first tier is reached.
    maker_per_qty, taker_per_qty : float
        Settlement currency per unit of quantity.
    per_fill : float
        Settlement currency per fill.
    tiers : tuple of FeeTier
        In ascending order of volume. The volume is that of the whole account, and of the run only.
    volume_days : int
        UTC days over which it is summed, today included.
    by_symbol : mapping of str to FeeSchedule
        Instruments with fees of their own.
    """

    maker_value_frac: float = 0.0
    taker_value_frac: float = 0.0
    maker_per_qty: float = 0.0
    taker_per_qty: float = 0.0
    per_fill: float = 0.0
    tiers: tuple[FeeTier, ...] = ()
    volume_days: int = 30
    by_symbol: Mapping[str, FeeSchedule] = field(default_factory=dict)

    def of(self, symbol: str) -> FeeSchedule:
        """Return the schedule of an instrument."""
        return self.by_symbol.get(symbol, self)

    @property
    def all_tiers(self) -> tuple[FeeTier, ...]:
        """The tiers, with the one that holds from no volume on."""
        return (FeeTier(0.0, self.maker_value_frac, self.taker_value_frac), *self.tiers)


class ContractKind(StrEnum):
    """How a contract pays."""

    FROM_DATA = "from_data"
    LINEAR = "linear"
    INVERSE = "inverse"


@dataclass(frozen=True)
class ContractModel:
    """How contracts pay: as the data says (linear where it is silent), or as given.

    Attributes
    ----------
    sizes : mapping of str to float
        Contract size by symbol, where it is not that of the data.
    """

    kind: ContractKind = ContractKind.FROM_DATA
    sizes: Mapping[str, float] = field(default_factory=dict)


class DepthForm(StrEnum):
    """Forms of order book."""

    AUTO = "auto"
    PRICE_VECTOR = "price_vector"
    HASH_MAP = "hash_map"


@dataclass(frozen=True)
class DepthModel:
    """Form of the order book, and how many of its levels strategy and broker see; 0 is all."""

    form: DepthForm = DepthForm.AUTO
    levels: int = 0
