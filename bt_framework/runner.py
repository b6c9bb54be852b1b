"""One run, from a composition to a result; the `bt` command and `bt_framework.run` both come here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bt_framework import assembly
from bt_framework.errors import RunStopped, StorageError
from bt_framework.interrupt import Stop, StopSignals
from bt_framework.limits import LimitedStop
from bt_framework.profiling import PROFILE_FILE, Phases, Profiling, Sampler, phase_lines
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

    Attributes
    ----------
    phases : Phases
        What its phases have taken so far.
    """

    def __init__(
        self, composition: Composition, surroundings: Surroundings, *, compose_s: float = 0.0
    ) -> None:
        self._composition = composition
        self._surroundings = surroundings
        self._stop = surroundings.stop
        self._profiling = composition.conduct.profiling
        self.phases = Phases(memory=self._profiling is not Profiling.OFF)
        self.phases.add("compose", compose_s)
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
        parts = assembly.Parts.of(self._composition)
        with self.phases.measured("ingest"):
            feeds = assembly.load_feeds(parts, self._composition.settings, self._console.notice)
        with self.phases.measured("prepare"):
            self._prepared = self._identified(parts, feeds)
        return self._prepared.context

    def buffer_bytes(self) -> int:
        """Return what a prepared run is going to allocate for itself, at most."""
        from bt_framework.engine.footprint import buffer_bytes

        assert self._prepared is not None
        made = self._prepared
        return buffer_bytes(made.context.instruments, made.books, follows=made.parts.exchange.sweeps)

    def _identified(self, parts: assembly.Parts, feeds: list[StoredFeed]) -> _Prepared:
        composition, settings = self._composition, self._composition.settings
        latencies = assembly.load_latencies(parts, feeds, settings, self._console.notice)
        program = assembly.build_program(parts)
        books = assembly.choose_books(parts, feeds, settings)
        sweep = self._surroundings.sweep
        inputs = assembly.load_inputs(parts, feeds, settings, sweep != ALONE)
        context = assembly.describe(composition, parts, feeds, program, books, latencies, inputs, sweep=sweep)
        return _Prepared(context, parts, feeds, program, books, latencies)

    def go(self) -> RunResult:
        """Run it, and write what it leaves.

        Raises
        ------
        BtError
            See `run`.
        """
        sampler = Sampler(wanted=self._profiling is Profiling.SAMPLED)
        try:
            if self._prepared is None:
                self.prepare()
            return self._run()
        finally:
            sampler.stop()
            if self._profiling is not Profiling.OFF and self._prepared is not None:
                self._keep_profile(self._prepared.context, sampler)

    def _run(self) -> RunResult:
        assert self._prepared is not None
        with self.phases.measured("open"):
            manager = self._listeners(self._prepared.parts.strategy)
            session = assembly.open_session(*self._prepared)
        try:
            return self._drive(self._prepared.context, manager, session)
        finally:
            session.close()

    def spent(self) -> dict[str, tuple[float, int, int]]:
        """Return what the phases have taken since the run began, see `Phases.whole`."""
        return self.phases.whole(time.perf_counter() - self._began)

    def _keep_profile(self, context: RunContext, sampler: Sampler) -> None:
        """Write down where time and memory went; a run outside a sweep shows it, too."""
        import orjson

        spent = self.spent()
        fields = ("seconds", "growth_bytes", "peak_bytes")
        content = {phase: dict(zip(fields, values, strict=True)) for phase, values in spent.items()}
        with suppress(OSError, StorageError):  # how the run ended is more important
            with folder.replacing(context.run_dir / PROFILE_FILE) as file:
                file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
            sampler.write(context.run_dir)
        if context.sweep == ALONE:
            self._console.notice("\n".join(phase_lines(spent)))

    def _listeners(self, strategy: object) -> pluggy.PluginManager:
        """Who hears of the run, in this order: a run is completed only when every writer has finished."""
        from bt_framework.plugin_manager import run_manager

        writers = [choice.build() for choice in self._composition.many(Kind.WRITER)]
        store = self._composition.one(Kind.STORE).build()
        further = self._surroundings.listeners
        return run_manager([*writers, strategy, *further, folder.Keeper(), store, self._console])

    def _drive(self, context: RunContext, manager: pluggy.PluginManager, session: Session) -> RunResult:
        """Run the slices; whatever happens, the run folder and the listeners hear how it ended."""
        progress = _Progress(context, self.phases, self._began)
        with self.phases.measured("open"):
            folder.start(context)
        try:
            stopped: RunStopped | None = None
            try:
                with self.phases.measured("open"):
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
            with self.phases.measured("finish"):
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
        with self.phases.measured("compile"):
            session.prepare()
        self._stop.defer()
        try:
            with self.phases.measured("simulate"):
                for tables in progress.timed(session.slices(self._composition.settings.slice_wakes)):
                    progress.tell(manager, tables, session.local_ts)
                    if self._stop.received:
                        break
                progress.tell_open_trades(manager, session.local_ts)
        finally:
            progress.part()

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

    def __init__(self, context: RunContext, phases: Phases, began: float) -> None:
        self._context = context
        self._phases = phases
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

    def part(self) -> None:
        """Of the time of the slices, let the loop have its own only."""
        rest_s = self._phases.seconds("simulate") - self.kernel_s - self.write_s
        self._phases.move(self.write_s, "simulate", "write")
        self._phases.move(rest_s, "simulate", "evaluate")

    def summary(self, status: Status, local_ts: int, error: BaseException | None) -> RunSummary:
        """Sum up."""
        measured = (phase for phase in ("compose", "ingest", "compile") if phase in self._phases.spent)
        timings = {f"{phase}_s": self._phases.seconds(phase) for phase in measured}
        timings |= {"kernel_s": self.kernel_s, "write_s": self.write_s}
        metrics = self._metrics.result()
        counts = dict(self._counts)
        counts["orders"] = int(metrics.get("orders", counts["orders"]))
        return RunSummary(
            status=status,
            local_ts=local_ts,
            result_hash=self._hash.hexdigest(),
            counts=counts,
            metrics=metrics,
            timings=timings | {"wall_s": time.perf_counter() - self._began},
            error="" if error is None else str(error),
            events=self._events(local_ts),
        )

    def _events(self, local_ts: int) -> int:
        run = self._context
        span = max(1, run.end_ts - run.start_ts)
        return round(run.events * min(1.0, max(0.0, (local_ts - run.start_ts) / span)))
