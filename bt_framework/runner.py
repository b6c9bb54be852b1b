"""One run, from a composition to a result; the `bt` command and `bt_framework.run` both come here."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import DataError, RunError, RunStopped
from bt_framework.interrupt import StopSignals
from bt_framework.registry import Kind
from bt_framework.results import folder
from bt_framework.results.hashing import ResultHash
from bt_framework.results.identity import code_hash, config_hash, data_hash
from bt_framework.results.metrics import RunMetrics
from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES, Identity, RunContext, RunSummary, SliceBatch, Status

if TYPE_CHECKING:
    import pluggy
    import pyarrow as pa

    from bt_framework.config.compose import Choice, Composition
    from bt_framework.data.store import StoredFeed
    from bt_framework.engine.program import Program
    from bt_framework.engine.session import Market, Session
    from bt_framework.results.console import Console


@dataclass(frozen=True)
class RunResult:
    """What a run left: the fields of `record`, and its tables, read when asked for."""

    record: RunRecord

    def __getattr__(self, name: str) -> Any:
        """Fields of the record: run_id, status, run_dir, result_hash, counts, metrics, ..."""
        return getattr(self.record, name)

    @property
    def config_hash(self) -> str:
        """SHA-256 of the configuration."""
        return self.record.identity.config_hash

    @property
    def data_hash(self) -> str:
        """SHA-256 of the data."""
        return self.record.identity.data_hash

    @property
    def code_hash(self) -> str:
        """SHA-256 of the code."""
        return self.record.identity.code_hash

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.record.identity.seed

    @cached_property
    def signals(self) -> pa.Table:
        """Decisions of the strategy."""
        return self._table("signals")

    @cached_property
    def orders(self) -> pa.Table:
        """Steps in the lives of the orders."""
        return self._table("orders")

    @cached_property
    def fills(self) -> pa.Table:
        """Executions."""
        return self._table("fills")

    @cached_property
    def refusals(self) -> pa.Table:
        """Intents that risk or the broker refused."""
        return self._table("refusals")

    @cached_property
    def equity(self) -> pa.Table:
        """Position and equity per sample and instrument."""
        return self._table("equity")

    def _table(self, name: str) -> pa.Table:
        return folder.RunFolder(self.record.run_dir).table(name)


def run(overrides: Sequence[str] = (), *, config: Mapping[str, Any] | None = None) -> RunResult:
    """Run one backtest.

    Parameters
    ----------
    overrides : sequence of str
        As on the command line: ``["+strategy=ou_pairs", "latency=colo"]``.
    config : mapping, optional
        A resolved configuration, such as a run folder's config.yaml, instead of overrides.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError, DataError
        If the composition or the data is wrong; nothing has been written then.
    RunError
        If the run failed; its folder says so.
    RunStopped
        On Ctrl-C or SIGTERM; what was finished is stored.

    Examples
    --------
    >>> result = run(["+strategy=ou_pairs", "console=plain"])  # doctest: +SKIP
    >>> result.fills.to_pandas()  # doctest: +SKIP
    """
    started = time.perf_counter()
    from bt_framework.config.compose import compose, composition_of

    composition = composition_of(config) if config is not None else compose(overrides)
    return run_composition(composition, compose_s=time.perf_counter() - started)


def run_composition(composition: Composition, *, compose_s: float = 0.0) -> RunResult:
    """Run a validated composition; see `run`."""
    with StopSignals() as signals:
        return _Run(composition, signals, compose_s).go()


class _Run:
    """The steps of one run, in order."""

    def __init__(self, composition: Composition, signals: StopSignals, compose_s: float) -> None:
        self._composition = composition
        self._signals = signals
        self._timings = {"compose_s": compose_s}
        self._began = time.perf_counter() - compose_s
        self._console: Console = composition.one(Kind.CONSOLE).build()

    def go(self) -> RunResult:
        composition = self._composition
        choices = {kind: composition.one(kind) for kind in _SINGLE}
        rules = composition.many(Kind.RISK)
        built = {kind: choice.build() for kind, choice in choices.items()}
        built_rules = [choice.build() for choice in rules]
        feeds = self._load(built[Kind.DATA], built[Kind.LATENCY].feed_offset_ns)
        start_ts, end_ts = _common_interval(feeds, composition.settings)
        _check_count(built[Kind.STRATEGY], choices[Kind.STRATEGY].component.name, feeds)
        markets, books = _markets(feeds, built)
        program = _program(built, built_rules)
        context = self._context(choices, rules, built, built_rules, feeds, program, (start_ts, end_ts))
        listeners = [
            composition.one(Kind.STORE).build(),
            *(choice.build() for choice in composition.many(Kind.WRITER)),
            built[Kind.STRATEGY],
            self._console,
        ]
        from bt_framework.plugin_manager import run_manager

        manager = run_manager(listeners)
        session = _session(markets, program, context, built, built_rules)
        try:
            return self._drive(context, manager, session, books)
        finally:
            session.close()

    def _load(self, source: Any, feed_offset_ns: int) -> list[StoredFeed]:
        """Ingest what is not yet in the store."""
        from bt_framework.data.shift import ShiftedFeed
        from bt_framework.data.store import EventStore

        began = time.perf_counter()
        store = EventStore(Path(self._composition.settings.store_dir))
        feeds = store.load_all(source.feeds(), announce=self._console.notice)
        if feed_offset_ns:
            shifted = [ShiftedFeed(feed, feed_offset_ns) for feed in feeds]
            feeds = store.load_all(shifted, announce=self._console.notice)
        self._timings["ingest_s"] = time.perf_counter() - began
        if not feeds:
            raise DataError("the data source names no instrument. Give it files or symbols.")
        return feeds

    def _context(
        self,
        choices: Mapping[Kind, Choice],
        rules: Sequence[Choice],
        built: Mapping[Kind, Any],
        built_rules: Sequence[Any],
        feeds: Sequence[StoredFeed],
        program: Program,
        interval: tuple[int, int],
    ) -> RunContext:
        settings, resolved = self._composition.settings, self._composition.resolved
        parts = [built[kind] for kind in (Kind.STRATEGY, Kind.SIZING)] + list(built_rules)
        packages = [(c.component.package, c.component.version) for c in (*choices.values(), *rules)]
        identity = Identity(
            config_hash=config_hash(resolved),
            data_hash=data_hash([(feed.content_hash, feed.spec) for feed in feeds]),
            code_hash=code_hash(_sources_hash(program, parts), packages),
            seed=settings.seed,
        )
        run_id = new_run_id()
        return RunContext(
            run_id=run_id,
            run_dir=(Path(settings.runs_dir) / run_id).absolute(),
            strategy=choices[Kind.STRATEGY].component.name,
            config=resolved,
            identity=identity,
            instruments=tuple(feed.spec for feed in feeds),
            rules=tuple(choice.component.name for choice in rules),
            start_ts=interval[0],
            end_ts=interval[1],
            events=_events_between(feeds, interval),
            capital=settings.capital,
            equity_interval_ns=int(settings.equity_interval_ns),
            started_at_ns=time.time_ns(),
            jit="hit" if program.cached else "miss",
            versions=_versions(packages),
            data_grade=_grade(feeds),
        )

    def _drive(
        self, context: RunContext, manager: pluggy.PluginManager, session: Session, books: Sequence[str]
    ) -> RunResult:
        """Run the slices; whatever happens, the run folder and the listeners hear how it ended."""
        progress = _Progress(context, self._timings, self._began)
        folder.start(context)
        error: BaseException | None = None
        try:
            manager.hook.before_run(run=context)
            self._simulate(context, manager, session, progress)
        except BaseException as caught:
            error = caught
        if error is None and self._signals.received:
            error = self._signals.error()
        summary = progress.summary(_status(error), session.local_ts, error)
        record = folder.finish(context, summary)
        if summary.status == Status.FAILED:
            manager.hook.on_run_error(run=context, summary=summary, error=error)
        else:
            manager.hook.after_run(run=context, summary=summary)
        if error is not None:
            raise error
        return RunResult(record)

    def _simulate(
        self, context: RunContext, manager: pluggy.PluginManager, session: Session, progress: _Progress
    ) -> None:
        if context.jit == "miss":
            self._console.notice(
                f"compiling the loop of {context.strategy} (some seconds, once for these kernels) ..."
            )
        began = time.perf_counter()
        session.prepare()
        self._timings["compile_s"] = time.perf_counter() - began
        self._signals.defer()
        for tables in progress.timed(session.slices(self._composition.settings.slice_wakes)):
            batch = progress.take(tables, session.local_ts)
            began = time.perf_counter()
            manager.hook.on_slice(run=context, batch=batch)
            progress.write_s += time.perf_counter() - began
            if self._signals.received:
                return


class _Progress:
    """What accumulates over the slices of a run."""

    def __init__(self, context: RunContext, timings: dict[str, float], began: float) -> None:
        self._context = context
        self._timings = timings
        self._began = began
        self._loop_began = time.perf_counter()
        self._hash = ResultHash()
        self._metrics = RunMetrics(context.capital, context.equity_interval_ns, context.instruments)
        self._counts = dict.fromkeys(TABLES, 0)
        self._orders = 0
        self.kernel_s = 0.0
        self.write_s = 0.0

    def timed(self, slices: Any) -> Any:
        """Pass slices on and add up the time that they take."""
        iterator = iter(slices)
        while True:
            began = time.perf_counter()
            tables = next(iterator, None)
            self.kernel_s += time.perf_counter() - began
            if tables is None:
                return
            yield tables

    def take(self, tables: Mapping[str, Any], local_ts: int) -> SliceBatch:
        """Add a slice."""
        self._hash.update(tables)
        self._metrics.update(tables)
        for name in TABLES:
            self._counts[name] += len(tables[name])
        return SliceBatch(
            tables=tables,
            local_ts=local_ts,
            events=self._events(local_ts),
            wall_s=time.perf_counter() - self._loop_began,
            metrics=self._metrics.result(),
        )

    def summary(self, status: Status, local_ts: int, error: BaseException | None) -> RunSummary:
        """Sum up."""
        self._timings.update(
            kernel_s=self.kernel_s, write_s=self.write_s, wall_s=time.perf_counter() - self._began
        )
        metrics = self._metrics.result()
        counts = dict(self._counts)
        counts["orders"] = int(metrics.get("orders", counts["orders"]))
        return RunSummary(
            status=status,
            local_ts=local_ts,
            result_hash=self._hash.hexdigest(),
            counts=counts,
            metrics=metrics,
            timings=dict(self._timings),
            error="" if error is None else str(error),
            events=self._events(local_ts),
        )

    def _events(self, local_ts: int) -> int:
        run = self._context
        span = max(1, run.end_ts - run.start_ts)
        return round(run.events * min(1.0, max(0.0, (local_ts - run.start_ts) / span)))


_SINGLE = (
    Kind.STRATEGY,
    Kind.DATA,
    Kind.LATENCY,
    Kind.QUEUE,
    Kind.EXCHANGE,
    Kind.FEES,
    Kind.SIZING,
)


def new_run_id() -> str:
    """Return an id that sorts by time and is never given twice."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _status(error: BaseException | None) -> Status:
    if error is None:
        return Status.COMPLETED
    return Status.STOPPED if isinstance(error, RunStopped) else Status.FAILED


def _common_interval(feeds: Sequence[StoredFeed], settings: Any) -> tuple[int, int]:
    """Local time that all instruments have data for, within the configured start and end."""
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


def _check_count(strategy: Any, name: str, feeds: Sequence[StoredFeed]) -> None:
    if strategy.instruments is not None and strategy.instruments != len(feeds):
        symbols = ", ".join(feed.spec.symbol for feed in feeds)
        raise DataError(
            f"{name} trades {strategy.instruments} instruments, was given {len(feeds)}: {symbols}."
        )


def _markets(feeds: Sequence[StoredFeed], built: Mapping[Kind, Any]) -> tuple[list[Market], list[str]]:
    from bt_framework.engine.book import choose_book
    from bt_framework.engine.session import Market

    choices = [
        choose_book(f.spec, f.touch_low_px, f.touch_high_px, clears_depth=f.has_depth_clear) for f in feeds
    ]
    if any(
        choice.low_px is None for choice in choices
    ):  # the engine has one form of book for all instruments
        choices = [replace(choice, low_px=None, high_px=None) for choice in choices]
    markets = [
        Market(
            instrument=feed.spec,
            events=[feed.open()],
            latency=built[Kind.LATENCY],
            queue=built[Kind.QUEUE],
            exchange=built[Kind.EXCHANGE],
            fees=built[Kind.FEES],
            low_px=choice.low_px,
            high_px=choice.high_px,
        )
        for feed, choice in zip(feeds, choices, strict=True)
    ]
    return markets, [choice.reason for choice in choices]


def _program(built: Mapping[Kind, Any], rules: Sequence[Any]) -> Program:
    from numba import config as numba_config

    from bt_framework.engine.program import build_program

    if numba_config.DISABLE_JIT:
        raise RunError("the engine runs compiled code only: unset NUMBA_DISABLE_JIT to run a backtest.")
    strategy, sizing = built[Kind.STRATEGY], built[Kind.SIZING]
    return build_program(strategy.kernels, [rule.kernel for rule in rules], sizing.kernel)


def _session(
    markets: Sequence[Market],
    program: Program,
    context: RunContext,
    built: Mapping[Kind, Any],
    rules: Sequence[Any],
) -> Session:
    from bt_framework.engine.session import Clocking, Records, Session

    strategy, instruments = built[Kind.STRATEGY], context.instruments
    records = Records(
        params=strategy.params(instruments),
        state=strategy.state(instruments),
        work=strategy.work(instruments),
        rules=tuple(rule.params(instruments) for rule in rules),
        sizing=built[Kind.SIZING].params(instruments),
    )
    clocking = Clocking(context.start_ts, context.end_ts, strategy.timer_ns, context.equity_interval_ns)
    return Session(markets, program, clocking, records)


def _sources_hash(program: Program, parts: Sequence[Any]) -> str:
    """Hash of the sources of the loop and of the classes that prepare the kernels' arguments."""
    from bt_framework.jit import kernel_key

    files = {str(sys.modules[type(part).__module__].__file__) for part in parts}
    return kernel_key([program.path, *(Path(file) for file in sorted(files))])


def _events_between(feeds: Sequence[StoredFeed], interval: tuple[int, int]) -> int:
    """Events with local time in the interval, by bisection of the mappings: few pages are read."""
    import numpy as np

    total = 0
    for feed in feeds:
        if interval[0] <= feed.first_local_ts and interval[1] >= feed.last_local_ts:
            total += feed.events
            continue
        local_ts = feed.open()["local_ts"]
        # Rows for the exchange only are out of local order by moments; for a count that is near enough.
        total += int(
            np.searchsorted(local_ts, interval[1], "right") - np.searchsorted(local_ts, interval[0], "left")
        )
    return total


def _grade(feeds: Sequence[StoredFeed]) -> dict[str, Any]:
    from bt_framework.data import doctor

    findings = {feed.spec.symbol: feed.findings for feed in feeds}
    everything = [finding for group in findings.values() for finding in group]
    return {
        "grade": doctor.grade(everything),
        "line": "; ".join(doctor.line(symbol, group) for symbol, group in findings.items()),
        "findings": [
            {
                "symbol": symbol,
                "check": f.check,
                "severity": str(f.severity),
                "count": f.count,
                "detail": f.detail,
            }
            for symbol, group in findings.items()
            for f in group
        ],
    }


def _versions(packages: Sequence[tuple[str, str]]) -> dict[str, str]:
    import platform
    from importlib import metadata

    versions = {"python": platform.python_version()}
    for name in ("hftbacktest", "numba", "llvmlite", "numpy", "pyarrow"):
        versions[name] = metadata.version(name)
    return versions | dict(packages)


def _iso(ts: int) -> str:
    import numpy as np

    return f"{np.datetime64(ts, 'ns')}Z"
