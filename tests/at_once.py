"""Eight processes that do the same at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

PROCESSES = 8

# Importing takes more time than what they do: it happens once, before they are forked.
_PRELOADED = [
    "pytest",
    "pyarrow.compute",
    "pyarrow.csv",
    "psycopg",
    "alembic.command",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "bt_framework.stores.relational.postgres",
    "bt_framework.stores.relational.queries",
    "bt_framework.stores.research",
    "bt_framework.testing.store_contracts",
]


def at_once(target: Callable[..., None], *arguments: Any) -> list[int | None]:
    """Call ``target(*arguments, number, barrier)`` in each process, and return their exit codes.

    They go on from ``barrier.wait()`` together.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    barrier = context.Barrier(PROCESSES)
    workers = [context.Process(target=target, args=(*arguments, n, barrier)) for n in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    return [worker.exitcode for worker in workers]
