"""`bt sweep`: what sweeps have done, and what they have left to do."""

from __future__ import annotations

import click

from bt_framework.cli._sweep_resume import resume


@click.group()
def sweep() -> None:
    """Look at sweeps, and go on with one. They are started with bt -m."""


sweep.add_command(resume)
