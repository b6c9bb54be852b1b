"""The result hash: equal runs have equal ones, however they were sliced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

HASHED_TABLES = ("orders", "fills", "equity")


class ResultHash:
    """SHA-256 over everything that a run did to the account.

    Each table's record bytes are hashed in order of time; the result is the hash of the tables' hashes.
    Signals and refusals are left out: they explain a result and are not part of it.
    """

    def __init__(self) -> None:
        self._digests = {name: hashlib.sha256() for name in HASHED_TABLES}

    def update(self, tables: Mapping[str, np.ndarray]) -> None:
        """Add the rows of one slice.

        Parameters
        ----------
        tables : mapping of str to record array of shape (n_rows,)
            Records of `bt_framework.records` by table; other tables are ignored, missing ones have no rows.
        """
        for name, digest in self._digests.items():
            rows = tables.get(name)
            if rows is not None and len(rows):
                digest.update(np.ascontiguousarray(rows).view(np.uint8).data)

    def hexdigest(self) -> str:
        """Hash of all rows so far, in hexadecimal."""
        lines = [f"{name} {digest.hexdigest()}" for name, digest in self._digests.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
