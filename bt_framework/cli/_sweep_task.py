"""What Hydra's sweepers and launchers are given: the plan is made here, and chunks of jobs are handed to workers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.cli._one_process import DECIDE, refuse_chdb
from bt_framework.cli._plain_jobs import choices, is_plain, plain_chunks
from bt_framework.cli._sweep_planning import Draft, Planner
from bt_framework.config.variants import VariantComposer
from bt_framework.errors import ConfigError, WorkersLost
from bt_framework.plugin_manager import PluginHost
from bt_framework.registry import Kind
from bt_framework.sweep.driver import Circumstances, Driver, Launcher, raise_failures
from bt_framework.sweep.examples import example, possible_jobs
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import read_states
from bt_framework.sweep.learning import run_plan
from bt_framework.sweep.link import Link
from bt_framework.sweep.plan import SweepPlan, is_conduct
from bt_framework.sweep.recording import create_recorded, recorded
from bt_framework.sweep.reporting import View
from bt_framework.sweep.resuming import newest_of_plan
from bt_framework.sweep.study import make_study
from bt_framework.sweep.unchanged import refuse_change
from bt_framework.sweep.view import view_of
from bt_framework.sweep.work import SweepWork

if TYPE_CHECKING:
    from bt_framework.sweep.journal import Outcome


@dataclass(frozen=True)
class Calling:
    """Who called for a sweep.

    Attributes
    ----------
    folder : SweepFolder, optional
        The sweep to go on with; otherwise a new one starts, unless the configuration says to look for one.
    link : Link, optional
        To the supervisor of this process.
    """

    folder: SweepFolder | None = None
    link: Link | None = None

    def circumstances(self, folder: SweepFolder, resumed_by: SweepPlan | None) -> Circumstances:
        """Tell the supervisor of the sweep; return what it is driven with, given the plan made to resume it."""
        if self.link is not None:
            self.link.sweep(folder.path)
        conduct = () if resumed_by is None else tuple(filter(is_conduct, resumed_by.fixed))
        restarted = self.link is not None and self.link.goes_on is not None
        return Circumstances(conduct, restarted, self.link)


class SweepTask:
    """One ``bt -m``: its sweeper calls `sweep`, its launcher runs the chunks of `work`.

    Parameters
    ----------
    host : PluginHost
        What is installed.
    overrides, config_dirs : sequence of str
        As on the command line.
    calling : Calling
        Who called for it.
    """

    def __init__(
        self,
        host: PluginHost,
        overrides: Sequence[str],
        config_dirs: Sequence[str],
        calling: Calling,
    ) -> None:
        self.launcher: Any = None
        self._work: SweepWork | None = None
        self.packages = sorted({c.package for c in host.registry.components()})
        self._host = host
        self._composer = VariantComposer(host, config_dirs)
        self._overrides = list(overrides)
        self._config_dirs = tuple(config_dirs)
        self._calling = calling

    @property
    def work(self) -> SweepWork:
        """What to launch now."""
        assert self._work is not None
        return self._work

    def sweep(self, sweeper: str, settings: Mapping[str, Any]) -> Sequence[Outcome]:
        """Plan what the sweeper makes of the overrides, write the plan down and run it.

        Parameters
        ----------
        sweeper : str
            Its name.
        settings : mapping
            What is below ``hydra.sweeper``.

        Raises
        ------
        ConfigError
            If the sweep or a job of it is wrong; nothing has been written then.
        SweepError
            If jobs have failed.
        """
        workers = max(1, self._launcher().workers)
        planner = Planner(self._host, self._composer, self._overrides, self._config_dirs, workers)
        return self.run(planner.draft(sweeper, settings))

    def run(self, draft: Draft) -> Sequence[Outcome]:
        """Write a plan down and run it.

        Raises
        ------
        SweepError
            If jobs have failed.
        """
        self._refuse_what_is_for_one_process(draft)
        known = self._calling.folder or self._same_as(draft)
        folder = known or SweepFolder(Path(draft.conduct.sweep.dir) / draft.plan.sweep_id)
        if known is None:
            create_recorded(folder, draft.plan, draft.jobs, self._composer)
        with folder.held():
            stored = folder.plan()
            plan = stored.with_trials(draft.plan)
            circumstances = replace(
                self._calling.circumstances(folder, draft.plan if known else None), view=self._view(draft)
            )
            if known is not None and not circumstances.restarted:
                refuse_change(plan, folder.jobs(), read_states(folder.path), self._composer)
            if not plan.complete:
                make_study(plan, folder)
            if plan != stored:
                folder.put_plan(plan)
            driver = Driver(folder, draft.conduct, self._launcher(), circumstances)
            with recorded(folder, self._composer):
                outcomes = run_plan(folder, driver)
        raise_failures(outcomes, plan, len(folder.jobs()))
        return outcomes

    def _view(self, draft: Draft) -> View:
        """Return what the console of the first job makes of a sweep."""
        _, composition = example(self._composer, draft.plan, draft.jobs)
        return view_of(composition.one(Kind.CONSOLE).build())

    def _same_as(self, draft: Draft) -> SweepFolder | None:
        """Return the sweep to go on with, if ``resume=true`` asks for one and there is one."""
        if not draft.conduct.resume:
            return None
        sweeps = Path(draft.conduct.sweep.dir)
        folder = newest_of_plan(sweeps, draft.plan, draft.jobs)
        print(
            f"resuming sweep {folder.path}"
            if folder
            else f"no sweep of this plan in {sweeps}: a new one starts",
            file=sys.stderr,
        )
        return folder

    def _refuse_what_is_for_one_process(self, draft: Draft) -> None:
        in_process = self._launcher().in_process
        # Of jobs that differ in other keys one stands for all.
        distinct = {choices(job, DECIDE): job for job in possible_jobs(draft.plan, draft.jobs)}
        for job in distinct.values():
            if in_process and not is_plain(draft.plan, job, self._composer):
                continue
            try:
                composition = self._composer.compose(draft.plan.overrides(job))
            except ConfigError:
                continue  # the job itself will say what is wrong
            refuse_chdb(composition)

    def plain_chunks(self) -> set[int]:
        """Chunks with jobs that do not let other threads run."""
        return plain_chunks(self.work, self._composer)

    def _launcher(self) -> Launcher:
        in_process, isolates = (getattr(self.launcher, name, False) for name in ("in_process", "isolates"))
        chunks = getattr(self.launcher, "chunks_per_worker", 8)
        return Launcher(self._launch, getattr(self.launcher, "n_jobs", 1), in_process, isolates, chunks)

    def _launch(self, work: SweepWork) -> Iterable[Outcome]:
        """Give each chunk to Hydra's launcher as a job of its own."""
        self._work = work
        lost: list[int] = []
        for number, answer in enumerate(self.launcher.launch([[] for _ in work.chunks], initial_job_idx=0)):
            value = answer._return_value  # asking for `return_value` would print a traceback of an error
            if isinstance(value, WorkersLost):
                lost.append(number)
            elif isinstance(value, BaseException):
                raise value
            else:
                yield from value
        if lost:
            raise WorkersLost(f"{len(lost)} chunks have lost their workers.", chunks=tuple(lost))
