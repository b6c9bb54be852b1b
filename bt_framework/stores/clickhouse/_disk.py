"""chDB on a full disk: writes that fail there pass unnoticed, so room is kept.

The engine (chDB 4.4) ignores that ``write`` has failed: an insert or a merge succeeds, its rows are counted, and the
next process that opens the folder finds a broken part and puts it aside.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bt_framework.errors import StorageError

if TYPE_CHECKING:
    from bt_framework.stores.clickhouse.address import Address

RESERVE_BYTES = 64 << 20
"""Nothing is written where less is free: more than merges at work have in their buffers and no longer reserved."""

SETTINGS = {"min_free_disk_bytes_to_perform_insert": str(RESERVE_BYTES)}
"""Lets the engine refuse an insert that would use the reserve."""


def require_room(address: Address) -> None:
    """Refuse to change the tables of an embedded database whose reserve is used.

    Raises
    ------
    StorageError
        If it is.
    """
    if address.folder is None or not hasattr(os, "statvfs"):
        return
    found = os.statvfs(address.folder)
    if found.f_bavail * found.f_frsize < RESERVE_BYTES:
        raise StorageError(
            f"{address.title} is out of disk space (less than {RESERVE_BYTES >> 20} MiB are free). Free space there "
            "and try again."
        )
