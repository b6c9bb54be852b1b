"""From a composition to an engine that is ready to run."""

from __future__ import annotations

import secrets
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, DataError, RunError
from bt_framework.registry import Kind
from bt_framework.results.git import commit_of
from bt_framework.results.identity import code_hash, config_hash, data_hash
from bt_framework.results.run import ALONE, Identity, Membership, RunContext

if TYPE_CHECKING:
    import numpy as np

    from bt_framework.config.compose import Composition
    from bt_framework.config.settings import Settings
    from bt_framework.data.finding import Finding
    from bt_framework.data.latency_tables import OrderLatency
    from bt_framework.data.source import DataSource
    from bt_framework.data.store import Announce, StoredFeed
    from bt_framework.data.timing import Timing
    from bt_framework.engine.book import BookChoice, ForVector
    from bt_framework.engine.models import (
        ContractModel,
        DepthModel,
        ExchangeModel,
        FeeSchedule,
        LatencyModel,
        QueueModel,
    )
    from bt_framework.engine.plain import PlainWakes
    from bt_framework.engine.program import Program
    from bt_framework.engine.rules import RiskRule, Sizing, Slippage
    from bt_framework.engine.session import Session
    from bt_framework.engine.strategy import PlainStrategy, Strategy
    from bt_framework.results.run import Instrument


@dataclass(frozen=True)
class Parts:
    """The components that decide a run's result, built.

    Attributes
    ----------
    packages : tuple of (str, str)
        Name and version of the packages that they come from.
    modules : tuple of str
        Modules that configure and build them; not the data's, which counts by its content.
    plain : bool
        Whether the strategy runs as plain Python.
    """

    data: DataSource
    strategy: Strategy | PlainStrategy
    latency: LatencyModel
    queue: QueueModel
    exchange: ExchangeModel
    fees: FeeSchedule
    slippage: Slippage
    contract: ContractModel
    depth: DepthModel
    sizing: Sizing
    rules: tuple[RiskRule, ...]
    packages: tuple[tuple[str, str], ...]
    modules: tuple[str, ...] = ()
    plain: bool = False

    @classmethod
    def of(cls, composition: Composition) -> Parts:
        """Build them."""
        from bt_framework.engine.strategy import PlainStrategy

        single = {str(kind): composition.one(kind) for kind in _SINGLE}
        rules = composition.many(Kind.RISK)
        built = {name: choice.build() for name, choice in single.items()}
        return cls(
            **built,
            plain=composition.settings.plain or isinstance(built["strategy"], PlainStrategy),
            rules=tuple(choice.build() for choice in rules),
            packages=tuple((c.component.package, c.component.version) for c in (*single.values(), *rules)),
            modules=tuple(
                dict.fromkeys(
                    source.__module__
                    for c in (*single.values(), *rules)
                    if c.component.kind != Kind.DATA
                    for source in (c.component.config_class, c.component.build)
                )
            ),
        )


_SINGLE = (
    Kind.DATA,
    Kind.STRATEGY,
    Kind.LATENCY,
    Kind.QUEUE,
    Kind.EXCHANGE,
    Kind.FEES,
    Kind.SLIPPAGE,
    Kind.CONTRACT,
    Kind.DEPTH,
    Kind.SIZING,
)


def load_feeds(parts: Parts, settings: Settings, announce: Announce) -> list[StoredFeed]:
    """Return every instrument's events, ingesting what is not in the store yet.

    Raises
    ------
    DataError
        If the data cannot be used, or is not what the strategy trades.
    """
    from bt_framework.data.jitter import JitteredFeed
    from bt_framework.data.repair import with_repair
    from bt_framework.data.shift import ShiftedFeed
    from bt_framework.data.store import EventStore

    store = EventStore(Path(settings.store_dir))
    parts.data.use_store(Path(settings.store_dir))
    feeds = store.load_all(with_repair(parts.data.feeds(), settings.repair), announce=announce)
    offset_ns, jitter = parts.latency.feed_offset_ns, parts.latency.feed_jitter
    if jitter is not None:
        late = [JitteredFeed(feed, offset_ns, jitter, settings.seed) for feed in feeds]
        feeds = store.load_all(late, announce=announce)
    elif offset_ns:
        feeds = store.load_all([ShiftedFeed(feed, offset_ns) for feed in feeds], announce=announce)
    wanted = parts.strategy.instruments
    if not feeds or wanted not in (None, len(feeds)):
        symbols = ", ".join(feed.spec.symbol for feed in feeds) or "none"
        raise DataError(
            f"the strategy trades {wanted or 'any number of'} instruments, the data has {len(feeds)}: {symbols}. "
            "Choose data with as many."
        )
    for feed in feeds:
        _check_level(feed, parts)
    _check_timer(feeds, parts)
    return feeds


_WAKES_PER_BAR = 100
"""More than these say that a timer was made for books."""


def _check_timer(feeds: Sequence[StoredFeed], parts: Parts) -> None:
    """Refuse a timer made for books: it would see the same bar over and over, for years."""
    from bt_framework.units import format_duration_ns

    bar_ns, timer_ns = _bar_interval_ns(feeds), parts.strategy.timer_ns
    if 0 < timer_ns * _WAKES_PER_BAR < bar_ns:
        raise ConfigError(
            f"the strategy wakes every {format_duration_ns(timer_ns)}, but a bar comes every "
            f"{format_duration_ns(bar_ns)} and nothing changes in between. Let it sample at each bar "
            f"(strategy.sample_ns=0, where it has this key), or every {format_duration_ns(bar_ns)} or more."
        )


def _bar_interval_ns(feeds: Sequence[StoredFeed]) -> int:
    """Shortest interval of the bars, 0 unless all feeds are bars."""
    return min(int(feed.report.notes.get("bar_interval_ns", 0)) for feed in feeds)


def _check_level(feed: StoredFeed, parts: Parts) -> None:
    """Refuse queue models that read other events than the data has."""
    has_orders = feed.book_level == "l3"
    if parts.queue.needs_orders and not has_orders:
        raise DataError(
            f"queue={parts.queue.kind} needs events of single orders (L3); {feed.spec.symbol} has "
            f"{feed.book_level.upper()}. Choose another queue model, or read the data as L3 where the source can."
        )
    if has_orders and not parts.queue.needs_orders:
        raise DataError(
            f"{feed.spec.symbol} has events of single orders (L3), which queue={parts.queue.kind} does not read. "
            "Choose queue=l3_fifo, or read the data as L2 (data.book=l2)."
        )
    if has_orders and parts.exchange.kind != "no_partial_fill":
        raise DataError(
            f"{feed.spec.symbol} has events of single orders (L3), for which there is no exchange="
            f"{parts.exchange.kind}. Choose exchange=no_partial_fill."
        )


def run_instruments(parts: Parts, feeds: Sequence[StoredFeed]) -> tuple[Instrument, ...]:
    """Return the instruments as the contract model has them.

    Raises
    ------
    ConfigError
        If a contract size or fees are for another symbol, or some contracts pay in quote and others in base currency.
    """
    from bt_framework.engine.models import ContractKind
    from bt_framework.registry import unknown_name

    model = parts.contract
    symbols = [feed.spec.symbol for feed in feeds]
    for symbol in model.sizes:
        if symbol not in symbols:
            raise ConfigError(unknown_name("contract.contract_size's symbols", symbol, symbols))
    for symbol in parts.fees.by_symbol:
        if symbol not in symbols:
            raise ConfigError(unknown_name("fees.by_symbol's symbols", symbol, symbols))
    instruments = []
    for feed in feeds:
        inverse = model.kind == ContractKind.INVERSE or (
            model.kind == ContractKind.FROM_DATA and feed.report.notes.get("contract") == "inverse"
        )
        size = model.sizes.get(feed.spec.symbol, feed.spec.contract_size)
        instruments.append(replace(feed.spec, inverse=inverse, contract_size=size))
    if len({i.inverse for i in instruments}) > 1:
        kinds = ", ".join(f"{i.symbol} {'inverse' if i.inverse else 'linear'}" for i in instruments)
        raise ConfigError(
            f"the contracts of a run must all be linear or all be inverse, was {kinds}: their profits are in "
            "different currencies and cannot be added. Choose instruments of one kind."
        )
    return tuple(instruments)


def common_interval(feeds: Sequence[StoredFeed], settings: Settings) -> tuple[int, int]:
    """Return the local time that all instruments have data for, within the configured start and end, ns UTC.

    Raises
    ------
    DataError
        If there is none.
    """
    start_ts = max(feed.first_local_ts for feed in feeds)
    end_ts = min(feed.last_local_ts for feed in feeds)
    if start_ts >= end_ts:
        spans = "; ".join(
            f"{f.spec.symbol} {_iso(f.first_local_ts)} to {_iso(f.last_local_ts)}" for f in feeds
        )
        raise DataError(f"the instruments have no common time: {spans}. Choose files of the same days.")
    first = max(start_ts, settings.start_ts) if settings.start_ts is not None else start_ts
    last = min(end_ts, settings.end_ts) if settings.end_ts is not None else end_ts
    if first >= last:
        raise DataError(
            f"start and end leave nothing of the data, which is from {_iso(start_ts)} to {_iso(end_ts)}; "
            f"they were {settings.start} and {settings.end}."
        )
    return first, last


def equity_interval_ns(feeds: Sequence[StoredFeed], settings: Settings) -> int:
    """Return the time between equity samples: as configured, but on bars alone not less than the shortest bar.

    A price is known once a bar; the years that bars span have too many seconds to sample.
    """
    return max(int(settings.equity_interval_ns), _bar_interval_ns(feeds))


def load_inputs(
    parts: Parts, feeds: Sequence[StoredFeed], settings: Settings, shared: bool
) -> Mapping[str, Any]:
    """Return what the strategy takes from the stores, such as parameters estimated earlier; see `RunFeatures.shared`.

    Raises
    ------
    ConfigError
        If it takes something, and the data's prices are of another scale: adjusted for actions after the start.
    """
    from bt_framework.engine.strategy import Strategy
    from bt_framework.features import RunFeatures

    if not isinstance(parts.strategy, Strategy):
        return {}
    interval = common_interval(feeds, settings)
    features = parts.strategy.features = RunFeatures.of(settings.store_dir, feeds, interval, shared=shared)
    symbols = [feed.spec.symbol for feed in feeds]
    parts.strategy.data_starts_ts = tuple(feed.first_local_ts for feed in feeds)
    taken = parts.strategy.load(Path(settings.store_dir), symbols, interval[0])
    if taken and any(feed.report.notes.get("adjust") == "backward" for feed in feeds):
        raise ConfigError(
            "data.adjust must be point_in_time or none where a strategy takes something from the store, was backward: "
            "that is of prices as they were known then, not as later splits and dividends make them."
        )
    return {**taken, "features": features.taken} if features.taken else taken


def load_latencies(
    parts: Parts, feeds: Sequence[StoredFeed], settings: Settings, announce: Announce
) -> list[OrderLatency]:
    """Return every instrument's order latencies, making the tables that are not in the store yet.

    Raises
    ------
    ConfigError, DataError
        If the model cannot be made for this data.
    """
    from bt_framework.data.latency_tables import LatencyTables
    from bt_framework.engine.latency import LatencySpan

    tables = LatencyTables(Path(settings.store_dir))
    start_ts, end_ts = common_interval(feeds, settings)
    spans = [LatencySpan(feed.spec.symbol, start_ts, end_ts, settings.seed, feed, announce) for feed in feeds]
    return [tables.load(parts.latency, span) for span in spans]


def build_program(parts: Parts) -> Program:
    """Return the loop of the composition.

    Raises
    ------
    PluginError
        If a kernel cannot be found.
    RunError
        If numba's compiler is switched off.
    """
    from numba import config as numba_config

    from bt_framework.engine.plain import plain_kernels
    from bt_framework.engine.program import KernelSet
    from bt_framework.engine.program import build_program as build
    from bt_framework.engine.strategy import Strategy

    if numba_config.DISABLE_JIT:
        raise RunError("the engine runs compiled code only: unset NUMBA_DISABLE_JIT to run a backtest.")
    rules = [rule.kernels for rule in parts.rules]
    strategy = parts.strategy
    if isinstance(strategy, Strategy) and not parts.plain:
        kernels = strategy.kernels
    else:
        kernels = plain_kernels(strategy)
    return build(
        KernelSet(
            kernels,
            rules,
            parts.sizing.kernel,
            parts.slippage.kernel,
            guarded=any(rule.guards for rule in parts.rules),
            sweeps=parts.exchange.sweeps,
        )
    )


def choose_books(parts: Parts, feeds: Sequence[StoredFeed], settings: Settings) -> list[BookChoice]:
    """Choose the form of order book: one for all instruments, as the engine has it.

    Raises
    ------
    ConfigError
        If the form that is asked for is not right for the data, or the exchange model needs a narrower book.
    """
    from bt_framework.engine.book import choose_book

    choices = [
        choose_book(
            f.spec,
            f.touch_low_px,
            f.touch_high_px,
            clears=_for_vector(f, parts, settings) if f.has_depth_clear else None,
            form=parts.depth.form,
        )
        for f in feeds
    ]
    for feed, choice in zip(feeds, choices, strict=True):
        if parts.exchange.sweeps and choice.range_px is None:
            raise ConfigError(
                f"exchange must be no_partial_fill for {feed.spec.symbol}, was partial_fill: what an order pays at "
                f"each price cannot be followed ({choice.reason})."
            )
    if any(choice.low_px is None for choice in choices):
        return [choice.as_hash_map() for choice in choices]
    return choices


def _for_vector(feed: StoredFeed, parts: Parts, settings: Settings) -> ForVector:
    """Return what gives a feed's events to a price vector, see `choose_book`."""
    from bt_framework.engine.clears import for_vector
    from bt_framework.features import FeatureCache, Input

    # What is made of these needs the events as they are.
    if parts.exchange.sweeps or feed.book_level == "l3":
        return lambda reach: None
    cache, events = FeatureCache(Path(settings.store_dir)), Input(feed.content_hash, feed.open)
    return lambda reach: for_vector(cache, events, reach)


def describe(
    composition: Composition,
    parts: Parts,
    feeds: Sequence[StoredFeed],
    program: Program,
    books: Sequence[BookChoice],
    latencies: Sequence[OrderLatency],
    inputs: Mapping[str, Any] | None = None,
    *,
    sweep: Membership = ALONE,
) -> RunContext:
    """Say which run this is going to be; gives it an id and a folder, which is not made yet."""
    settings, resolved = composition.settings, composition.resolved
    instruments = run_instruments(parts, feeds)
    start_ts, end_ts = common_interval(feeds, settings)
    run_id = new_run_id()
    return RunContext(
        run_id=run_id,
        run_dir=(Path(settings.runs_dir) / run_id).absolute(),
        strategy=composition.one(Kind.STRATEGY).component.name,
        config=resolved,
        identity=Identity(
            config_hash=config_hash(resolved),
            data_hash=data_hash(
                [(f.content_hash, i) for f, i in zip(feeds, instruments, strict=True)],
                [latency.content_hash for latency in latencies if latency.content_hash],
                inputs,
            ),
            code_hash=code_hash(_sources_hash(program, parts), parts.packages),
            seed=settings.seed,
        ),
        instruments=instruments,
        rules=tuple(choice.component.name for choice in composition.many(Kind.RISK)),
        start_ts=start_ts,
        end_ts=end_ts,
        events=_events_between(feeds, start_ts, end_ts),
        capital=settings.capital,
        equity_interval_ns=equity_interval_ns(feeds, settings),
        started_at_ns=time.time_ns(),
        jit="hit" if program.cached else "miss",
        mode="plain" if parts.plain else "compiled",
        versions={**_library_versions(), **dict(parts.packages)},
        data_grade=_grade(feeds),
        books=tuple(f"{f.spec.symbol}: {book.reason}" for f, book in zip(feeds, books, strict=True)),
        latency={f.spec.symbol: lat.percentiles for f, lat in zip(feeds, latencies, strict=True)},
        inputs=dict(inputs or {}),
        feeds=tuple(f.content_hash for f in feeds),
        tags=tuple(resolved["tags"]),
        note=resolved["note"],
        git_commit=commit_of(Path.cwd()),
        sweep=sweep,
    )


def new_run_id() -> str:
    """Return an id that sorts by time and is never given twice."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def open_session(
    run: RunContext,
    parts: Parts,
    feeds: Sequence[StoredFeed],
    program: Program,
    books: Sequence[BookChoice],
    latencies: Sequence[OrderLatency],
) -> Session:
    """Return the engine with its data and the kernels' arguments."""
    from bt_framework.engine.plain import PlainWakes
    from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, RuleRecords, Session

    markets = [
        Market(
            instrument=instrument,
            events=book.events or (feed.open(),),
            latency=parts.latency,
            queue=parts.queue,
            exchange=parts.exchange,
            fees=parts.fees,
            low_px=book.low_px,
            high_px=book.high_px,
            latency_rows=latency.rows,
            swept_low_px=book.range_px[0] if book.range_px else 0.0,
            swept_high_px=book.range_px[1] if book.range_px else 0.0,
        )
        for instrument, feed, book, latency in zip(run.instruments, feeds, books, latencies, strict=True)
    ]
    plain = PlainWakes(parts.strategy, run.instruments) if parts.plain else None
    records = Records(
        *_strategy_records(parts.strategy, plain, run.instruments),
        rules=tuple(
            RuleRecords(rule.params(run.instruments), rule.state(run.instruments), rule.config)
            for rule in parts.rules
        ),
        sizing=(parts.sizing.params(run.instruments), parts.sizing.state(run.instruments)),
        slippage=parts.slippage.params(run.instruments),
    )
    clocking = Clocking(run.start_ts, run.end_ts, parts.strategy.timer_ns, run.equity_interval_ns)
    terms = AccountTerms(run.capital, parts.depth.levels)
    return Session(markets, program, clocking, records, terms, plain=plain)


def _strategy_records(
    strategy: Strategy | PlainStrategy, plain: PlainWakes | None, instruments: Sequence[Instrument]
) -> tuple[np.record, np.record, np.ndarray]:
    """Parameters, state and work array of the strategy's kernels, or of those that call it back."""
    import numpy as np

    from bt_framework.engine.strategy import Strategy, numbers_record

    if plain is not None:
        return (numbers_record({"address": plain.address}), numbers_record({}), np.zeros((1, 1)))
    assert isinstance(strategy, Strategy)
    return (strategy.params(instruments), strategy.state(instruments), strategy.work(instruments))


def _sources_hash(program: Program, parts: Parts) -> str:
    """Hash of the sources of the loop, of the engine's set-up, and of what builds the components."""
    from bt_framework.jit import files_of, key_as_loaded, plain_key

    classes: list[type] = [
        type(part) for part in (parts.strategy, parts.sizing, parts.slippage, *parts.rules)
    ]
    if parts.latency.table is not None:
        classes.append(type(parts.latency.table))
    engine = {"bt_framework.engine.book", "bt_framework.engine.session"}
    key = key_as_loaded(program.path, engine | {*parts.modules, *(c.__module__ for c in classes)})
    if not parts.plain:
        return key
    modules = {type(parts.strategy).__module__}
    kernels = getattr(parts.strategy, "kernels", None)
    if kernels is not None:
        modules |= {reference.partition(":")[0] for reference in vars(kernels).values() if reference}
    return f"{key} {plain_key(files_of(modules))}"


def _events_between(feeds: Sequence[StoredFeed], start_ts: int, end_ts: int) -> int:
    """Events with local time in the interval, by bisection of the mappings: few pages are read."""
    total = 0
    for feed in feeds:
        if start_ts <= feed.first_local_ts and feed.last_local_ts <= end_ts:
            total += feed.events
            continue
        local_ts = feed.open()["local_ts"]
        # Rows for the exchange only are out of local order by moments; for a count that is near enough.
        total += bisect_right(local_ts, end_ts) - bisect_left(local_ts, start_ts)
    return total


def _grade(feeds: Sequence[StoredFeed]) -> dict[str, Any]:
    """What there is to say of the data, as `RunContext.data_grade` has it."""
    return dict(_grade_of(tuple((f.spec.symbol, f.book_level, f.findings, f.timing) for f in feeds)))


@lru_cache(maxsize=64)
def _grade_of(feeds: tuple[tuple[str, str, tuple[Finding, ...], Timing], ...]) -> Mapping[str, Any]:
    """The same of symbol, book level, findings and timing of each instrument."""
    from bt_framework.data.fidelity import judge_run
    from bt_framework.data.finding import grade, line
    from bt_framework.data.timing import check_together

    together = check_together([timing for *_, timing in feeds])
    fidelity = judge_run({symbol: (level, findings) for symbol, level, findings, _ in feeds}, together)
    found = [(symbol, finding) for symbol, _, findings, _ in feeds for finding in findings] + together
    lines = [line(symbol, findings) for symbol, _, findings, _ in feeds]
    lines += [line(symbols, [finding]) for symbols, finding in together]
    return {
        "grade": grade([finding for _, finding in found]),
        "fidelity": fidelity.grade,
        "reasons": list(fidelity.reasons),
        "line": "; ".join([f"fidelity {fidelity.grade}", *lines]),
        "findings": [
            {
                "symbol": symbol,
                "check": f.check,
                "severity": str(f.severity),
                "count": f.count,
                "detail": f.detail,
            }
            for symbol, f in found
        ],
    }


@lru_cache(maxsize=1)
def _library_versions() -> Mapping[str, str]:
    """Versions of Python and of the libraries that this process has loaded."""
    import platform
    from importlib import metadata

    names = ("hftbacktest", "numba", "llvmlite", "numpy", "pyarrow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def _iso(ts: int) -> str:
    import numpy as np

    return f"{np.datetime64(ts, 'ns')}Z"
