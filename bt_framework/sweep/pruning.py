"""Jobs are given up early when their profit so far is behind that of the others at the same simulated time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bt_framework.errors import BtError, RunPruned
from bt_framework.hookspecs import hookimpl
from bt_framework.interrupt import Stop
from bt_framework.results.run import RunContext, SliceBatch
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.objectives import objectives_of
from bt_framework.sweep.plan import SweepPlan
from bt_framework.sweep.study import JOB, load_study


def prunes(plan: SweepPlan) -> bool:
    """Whether jobs of the sweep may be given up early."""
    return bool(plan.options.get("pruner", "none") != "none")


class Pruning:
    """Compares the jobs of one sweep in this process; threads may share it.

    Parameters
    ----------
    plan : SweepPlan
        Of a sweep that prunes.
    folder : SweepFolder
        Of the sweep.

    Raises
    ------
    StorageError
        If the study cannot be reached from here.
    """

    def __init__(self, plan: SweepPlan, folder: SweepFolder) -> None:
        self._study = load_study(plan, folder)
        self._steps: int = plan.options["pruning_steps"]
        # More profit is better, whatever the sweep looks for.
        self._sign = -1.0 if objectives_of(plan)[0].minimize else 1.0

    def watch(self, job: int, stop: Stop) -> Watch:
        """Return what listens to a job and stops it, for the pruner's reasons or those of `stop`."""
        import optuna

        found = [t for t in self._study.get_trials(deepcopy=False) if t.user_attrs.get(JOB) == job]
        trial = optuna.Trial(self._study, found[-1]._trial_id)
        return Watch(trial, self._steps, self._sign, stop, reported=frozenset(found[-1].intermediate_values))


class Watch:
    """Reports one job's profit at equal parts of its simulated interval, and stops it when the pruner says so.

    Parameters
    ----------
    trial : optuna.Trial
        The job's.
    steps : int
        Equal parts of the simulated interval; at the end of the last one there is nothing left to prune.
    sign : float
        What profit is multiplied with, so that the study's direction is that of more profit.
    stop : Stop
        What else may end the job; it comes first.
    reported : frozenset of int
        Steps that an earlier attempt at the job has reported.
    """

    def __init__(
        self, trial: Any, steps: int, sign: float, stop: Stop, *, reported: frozenset[int] = frozenset()
    ) -> None:
        self._trial = trial
        self._steps = steps
        self._sign = sign
        self._stop = stop
        self._profit: ProfitAt | None = None
        self._pruned: RunPruned | None = None
        self._reported = reported

    @property
    def received(self) -> bool:
        """Whether the job is to end."""
        return self._stop.received or self._pruned is not None

    def defer(self) -> None:
        """From now on the job asks between its slices."""
        self._stop.defer()

    def error(self) -> BtError:
        """Return why."""
        if self._pruned is not None and not self._stop.received:
            return self._pruned
        return self._stop.error()

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Divide the simulated interval."""
        parts = np.arange(1, self._steps) / self._steps
        times_ns = run.start_ts + np.round(parts * (run.end_ts - run.start_ts)).astype(np.int64)
        self._profit = ProfitAt(times_ns, len(run.instruments))

    @hookimpl
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Report the profit at the times that the slice has passed, until the pruner gives the job up."""
        assert self._profit is not None
        for index, profit in self._profit.passed(batch.tables, batch.local_ts):
            if self._pruned is None:
                self._report(index + 1, profit)

    def _report(self, step: int, profit: float) -> None:
        if step not in self._reported:
            self._trial.report(self._sign * profit, step)
        if self._trial.should_prune():
            self._pruned = RunPruned(
                f"pruned at step {step} of {self._steps}: its profit of {profit:g} was behind that of other jobs."
            )


class ProfitAt:
    """Profit of a run at given simulated times, fed with its slices; however they fall, the profits are the same.

    Parameters
    ----------
    times_ns : int64 array of shape (n_times,), ns UTC, rising
    instruments : int
        How many rows a sample of the ``equity`` table has.
    """

    def __init__(self, times_ns: np.ndarray, instruments: int) -> None:
        self._times_ns = times_ns
        self._width = instruments
        self._next = 0
        self._profit = 0.0
        self._rest: np.ndarray | None = None

    def passed(self, tables: Mapping[str, np.ndarray], local_ts: int) -> Iterator[tuple[int, float]]:
        """Take a slice and yield index and profit of each time that it has passed.

        Parameters
        ----------
        tables : mapping of str to record array of shape (n_rows,)
            Records of `bt_framework.records`; equity is read.
        local_ts : int
            Simulated time at the end of the slice, ns UTC.

        Yields
        ------
        index : int
            Into the times.
        profit : float, settlement currency
            Sum over the instruments in the last sample up to that time; 0 before the first one.
        """
        ts, profits = self._samples(tables["equity"])
        # Rows of this very instant may still come: a slice may end between those of one sample.
        while self._next < len(self._times_ns) and self._times_ns[self._next] < local_ts:
            at = int(np.searchsorted(ts, self._times_ns[self._next], side="right"))
            yield self._next, float(profits[at])
            self._next += 1
        self._profit = float(profits[-1])

    def _samples(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return times of the whole samples, and profits before the first and after each of them."""
        if self._rest is not None:
            rows = np.concatenate((self._rest, rows))
        whole = len(rows) // self._width * self._width
        self._rest = rows[whole:].copy() if whole < len(rows) else None
        samples = rows[:whole].reshape(-1, self._width)
        profits = np.concatenate(([self._profit], samples["equity"].sum(axis=1)))
        return samples["local_ts"][:, 0].copy(), np.nan_to_num(profits, nan=-math.inf)
