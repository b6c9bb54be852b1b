"""How the command line tells of an error."""

from __future__ import annotations

import os
import sys

from bt_framework.errors import BtError


def report(error: BtError) -> int:
    """Print `error` for people and return its exit code. ``BT_TRACEBACK=1`` shows where it was raised."""
    if os.environ.get("BT_TRACEBACK") == "1":
        import traceback

        traceback.print_exception(error)
    print(f"bt: error: {error}", file=sys.stderr)
    return error.exit_code
