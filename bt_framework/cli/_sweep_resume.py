"""`bt sweep resume`: go on with a sweep from its plan alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_framework.sweep.plan import SweepPlan

DIR = click.option(
    "--dir",
    "folder",
    default="sweeps",
    show_default=True,
    metavar="FOLDER",
    callback=lambda context, option, value: str(Path(value).expanduser()),
    help="Folder of sweeps: their sweep.dir.",
)
"""Which commands on sweeps take."""


@click.command()
@click.argument("sweep_id", metavar="ID")
@click.argument("overrides", nargs=-1)
@DIR
def resume(sweep_id: str, overrides: Sequence[str], folder: str) -> int:
    """Run what is missing or failed of the sweep ID, or of the one whose id begins so.

    OVERRIDES say how its jobs are carried out from now on: rerun=true, on_error=retry(2), limits.max_seconds=60,
    sweep.workers=4, hydra/launcher=joblib. A sweep that learns goes on to more jobs with hydra.sweeper.n_trials=N.
    """
    from bt_framework.cli._hydra_app import run_sweep, supervised
    from bt_framework.cli._sweep_task import Calling
    from bt_framework.sweep.resuming import sweep_of

    sweep = sweep_of(Path(folder), sweep_id)
    plan = sweep.plan()
    _refuse_others(overrides, plan)
    try:
        os.chdir(plan.cwd or ".")
    except OSError as error:
        raise ConfigError(
            f"sweep {plan.sweep_id} was started in {plan.cwd}, which cannot be entered: {error.strerror}. Relative "
            "paths of its configuration are of that folder: make it again, or start a new sweep."
        ) from None
    print(f"resuming sweep {sweep.path}", file=sys.stderr)
    with supervised() as link:
        return run_sweep([*plan.command, *overrides], plan.config_dirs, ["--multirun"], Calling(sweep, link))


def _refuse_others(overrides: Sequence[str], plan: SweepPlan) -> None:
    """Refuse what would change the plan, but for more jobs of a sweep that learns."""
    from bt_framework.sweep.plan import is_conduct

    for override in overrides:
        key, _, value = override.partition("=")
        if key == "hydra.sweeper.n_trials" and not plan.complete:
            planned = plan.options["n_trials"]
            if not value.isdecimal() or int(value) < planned:
                raise ConfigError(
                    f"hydra.sweeper.n_trials must be at least the {planned} that are planned, was {value}."
                )
        elif not is_conduct(override) and not override.startswith(("hydra/launcher=", "hydra.launcher.")):
            raise ConfigError(
                "bt sweep resume takes what says how jobs are carried out, such as rerun=true or "
                f"limits.max_seconds=60, was {override!r}. What is run is in the sweep's plan; start another sweep "
                "for something else."
            )
