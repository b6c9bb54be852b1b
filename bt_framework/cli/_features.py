"""`bt data features`: what is in the cache of features."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bt_framework.cli._tables import KEY_DIGITS, MB, print_table
from bt_framework.errors import DataError
from bt_framework.features import FeatureCache


def list_features(cache: FeatureCache) -> None:
    """Print what is kept, that used longest ago first."""
    stored = cache.stored()
    rows = [
        (
            one.key[:KEY_DIGITS],
            one.name,
            f"{one.size_bytes / MB:,.3f} MB",
            f"{one.seconds:.3f} s",
            str(dict(one.params)),
        )
        for one in stored
    ]
    if rows:
        print_table(("key", "feature", "size", "computed in", "parameters"), rows, ("size", "computed in"))
    total = sum(one.size_bytes for one in stored)
    click.echo(f"{len(stored)} features, {total / MB:,.1f} of {cache.max_bytes / MB:,.0f} MB in {cache.root}")


def remove_features(cache: FeatureCache, names: Sequence[str]) -> None:
    """Remove features by name, key or the beginning of a key; all without any.

    Raises
    ------
    DataError
        If there is no such feature.
    """
    stored = cache.stored()
    for name in names:
        if not any(one.name == name or one.key.startswith(name) for one in stored):
            known = ", ".join(sorted({one.name for one in stored})) or "none"
            raise DataError(f"no feature has the name or key {name!r} in {cache.root}. There are: {known}.")
    chosen = [
        one
        for one in stored
        if not names or any(one.name == name or one.key.startswith(name) for name in names)
    ]
    removed = sum(cache.remove(one.key) for one in chosen)
    in_use = f"; {len(chosen) - removed} are in use" if removed < len(chosen) else ""
    click.echo(f"removed {removed} of {len(stored)} features in {cache.root}{in_use}")
