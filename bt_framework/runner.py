"""One run, from a composition to a result; the `bt` command and `bt_framework.run` both come here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bt_framework import assembly
from bt_framework.errors import RunStopped
from bt_framework.interrupt import Stop, StopSignals
from bt_framework.limits import LimitedStop
from bt_framework.registry import Kind
from bt_framework.results import folder
from bt_framework.results.hashing import ResultHash
from bt_framework.results.metrics import RunMetrics
from bt_framework.results.result import RunResult
from bt_framework.results.run import ALONE, TABLES, Membership, RunContext, RunSummary, SliceBatch, Status
from bt_framework.results.schemas import RECORDS
from bt_framework.results.trades import trade_book

if TYPE_CHECKING:
    import pluggy

    from bt_framework.config.compose import Composition
    from bt_framework.data.latency_tables import OrderLatency
    from bt_framework.data.store import StoredFeed
    from bt_framework.engine.book import BookChoice
    from bt_framework.engine.program import Program
    from bt_framework.engine.session import Session
    from bt_framework.results.console import Console


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
    limits = composition.conduct.limits
    with StopSignals() as signals:
        stop = LimitedStop(signals, limits.max_seconds, limits.max_rss_bytes)
        return Run(composition, Surroundings(stop=stop), compose_s=compose_s).go()


@dataclass(frozen=True)
class Surroundings:
    """What a run is part of.

    Attributes
    ----------
    stop : Stop
        What may end it early.
    console : Console, optional
        Who hears of it instead of the composition's console.
    sweep : Membership
        The sweep that it belongs to.
    listeners : tuple of object
        Further components whose life-cycle hooks are called, before the run's folder is closed.
    """

    stop: Stop
    console: Console | None = None
    sweep: Membership = ALONE
    listeners: tuple[object, ...] = ()


class Run:
    """The steps of one run, in order: `prepare` says which run it is going to be, `go` runs it.

    Parameters
    ----------
    composition : Composition
        What to run.
    surroundings : Surroundings
        What it is part of.
    compose_s : float
        Wall time that composing took, seconds; part of the run's.
    """

    def __init__(
        self, composition: Composition, surroundings: Surroundings, *, compose_s: float = 0.0
    ) -> None:
        self._composition = composition
        self._surroundings = surroundings
        self._stop = surroundings.stop
        self._timings = {"compose_s": compose_s}
        self._began = time.perf_counter() - compose_s
        self._console: Console = surroundings.console or composition.one(Kind.CONSOLE).build()
        self._prepared: _Prepared | None = None

    def prepare(self) -> RunContext:
        """Load the data and identify the run; nothing of it is written.

        Raises
        ------
        ConfigError, DataError
            If the composition or the data is wrong.
        """
        composition, settings = self._composition, self._composition.settings
        parts = assembly.Parts.of(composition)
        began = time.perf_counter()
        feeds = assembly.load_feeds(parts, settings, self._console.notice)
        self._timings["ingest_s"] = time.perf_counter() - began
        latencies = assembly.load_latencies(parts, feeds, settings, self._console.notice)
        program = assembly.build_program(parts)
        books = assembly.choose_books(parts, feeds)
        inputs = assembly.load_inputs(parts, feeds, settings)
        sweep = self._surroundings.sweep
        context = assembly.describe(composition, parts, feeds, program, books, latencies, inputs, sweep=sweep)
        self._prepared = _Prepared(context, parts, feeds, program, books, latencies)
        return context

    def go(self) -> RunResult:
        """Run it, and write what it leaves.

        Raises
        ------
        BtError
            See `run`.
        """
        if self._prepared is None:
            self.prepare()
        assert self._prepared is not None
        manager = self._listeners(self._prepared.parts.strategy)
        session = assembly.open_session(*self._prepared)
        try:
            return self._drive(self._prepared.context, manager, session)
        finally:
            session.close()

    def _listeners(self, strategy: object) -> pluggy.PluginManager:
        """Who hears of the run, in this order: a run is completed only when every writer has finished."""
        from bt_framework.plugin_manager import run_manager

        writers = [choice.build() for choice in self._composition.many(Kind.WRITER)]
        store = self._composition.one(Kind.STORE).build()
        further = self._surroundings.listeners
        return run_manager([*writers, strategy, *further, folder.Keeper(), store, self._console])

    def _drive(self, context: RunContext, manager: pluggy.PluginManager, session: Session) -> RunResult:
        """Run the slices; whatever happens, the run folder and the listeners hear how it ended."""
        progress = _Progress(context, self._timings, self._began)
        folder.start(context)
        try:
            stopped: RunStopped | None = None
            try:
                manager.hook.before_run(run=context)
                self._simulate(context, manager, session, progress)
            except RunStopped as error:
                stopped = error
            self._stop.defer()
            if self._stop.received:
                stopped = stopped or self._stopped()
            summary = progress.summary(
                Status.STOPPED if stopped else Status.COMPLETED, session.local_ts, stopped
            )
            manager.hook.after_run(run=context, summary=summary)
        except BaseException as error:
            self._stop.defer()
            summary = progress.summary(Status.FAILED, session.local_ts, error)
            manager.hook.on_run_error(run=context, summary=summary, error=error)
            raise
        if stopped:
            raise stopped
        return RunResult(folder.RunFolder(context.run_dir).record())

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
        self._stop.defer()
        for tables in progress.timed(session.slices(self._composition.settings.slice_wakes)):
            progress.tell(manager, tables, session.local_ts)
            if self._stop.received:
                break
        progress.tell_open_trades(manager, session.local_ts)

    def _stopped(self) -> RunStopped:
        """Return why the run was stopped; raise why it has failed."""
        error = self._stop.error()
        if not isinstance(error, RunStopped):
            raise error
        return error


class _Prepared(NamedTuple):
    """What a run is made of, loaded and identified."""

    context: RunContext
    parts: assembly.Parts
    feeds: list[StoredFeed]
    program: Program
    books: list[BookChoice]
    latencies: list[OrderLatency]


class _Progress:
    """What accumulates over the slices of a run."""

    def __init__(self, context: RunContext, timings: dict[str, float], began: float) -> None:
        self._context = context
        self._timings = timings
        self._began = began
        self._loop_began = time.perf_counter()
        self._hash = ResultHash()
        self._metrics = RunMetrics(context.capital, context.equity_interval_ns, context.instruments)
        self._trades = trade_book(context.instruments)
        self._counts = dict.fromkeys(TABLES, 0)
        self._orders = 0
        self.kernel_s = 0.0
        self.write_s = 0.0

    def timed(self, slices: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Pass slices on and add up the time that they take."""
        self._loop_began = time.perf_counter()
        while True:
            began = time.perf_counter()
            tables = next(slices, None)
            self.kernel_s += time.perf_counter() - began
            if tables is None:
                return
            yield tables

    def tell(self, manager: pluggy.PluginManager, logs: Mapping[str, Any], local_ts: int) -> None:
        """Add a slice and the trades that it closed, and tell the listeners."""
        trades = self._trades.update(logs["fills"], logs["equity"])
        self._tell(manager, {**logs, "trades": trades}, local_ts)

    def tell_open_trades(self, manager: pluggy.PluginManager, local_ts: int) -> None:
        """End the trades with what is still open."""
        trades = self._trades.close()
        if len(trades):
            nothing = {name: np.empty(0, RECORDS[name]) for name in TABLES}
            self._tell(manager, {**nothing, "trades": trades}, local_ts)

    def _tell(self, manager: pluggy.PluginManager, tables: Mapping[str, Any], local_ts: int) -> None:
        batch = self._take(tables, local_ts)
        began = time.perf_counter()
        manager.hook.on_slice(run=self._context, batch=batch)
        self.write_s += time.perf_counter() - began

    def _take(self, tables: Mapping[str, Any], local_ts: int) -> SliceBatch:
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
