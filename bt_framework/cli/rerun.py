"""`bt rerun`: repeat a run and compare."""

from __future__ import annotations

from collections.abc import Sequence

import click


@click.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
def rerun(run_id: str, overrides: Sequence[str]) -> int:
    """Repeat the run whose id is, or begins with, RUN_ID, from the configuration that it stored.

    Says whether the result hash is equal, and if not, which part of the identity differs; the exit code is 0 or 1.
    OVERRIDES choose where the run is looked for, as in `bt runs`.
    """
    from bt_framework.config.compose import compose, composition_of
    from bt_framework.registry import Kind
    from bt_framework.results.folder import RunFolder
    from bt_framework.runner import run_composition

    before = compose(overrides).one(Kind.STORE).build().get(run_id)
    after = run_composition(composition_of(RunFolder(before.run_dir).config())).record
    changed = [
        part
        for part in ("config_hash", "data_hash", "code_hash", "seed")
        if getattr(before.identity, part) != getattr(after.identity, part)
    ]
    equal = before.result_hash == after.result_hash
    click.echo(f"result hash: {'equal' if equal else 'differs'}")
    click.echo(f"  {before.run_id}  {before.result_hash}  ({before.status})")
    click.echo(f"  {after.run_id}  {after.result_hash}  ({after.status})")
    click.echo(f"identity: {'equal' if not changed else 'differs in ' + ', '.join(changed)}")
    return 0 if equal else 1
