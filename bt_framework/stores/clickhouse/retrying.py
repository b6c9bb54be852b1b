"""Patience with a server that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 6
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


def patiently(work: Callable[[], T], attempts: int = ATTEMPTS) -> T:
    """Do `work`, and again after a wait that doubles if the server was not reached; the last failure is raised.

    Only for work that may be done twice.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    from bt_framework.stores.clickhouse.errors import UnreachableError

    retrying = Retrying(
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(_FIRST_WAIT_S, max=_LONGEST_WAIT_S),
        retry=retry_if_exception_type(UnreachableError),
        reraise=True,
    )
    return retrying(work)
