"""No garbage collection while numba compiles: it makes millions of objects that live, looked at in vain."""

from __future__ import annotations

import gc
from typing import Any

from numba.core import event


class _Pause(event.Listener):  # type: ignore[misc]
    """Switches the collector off during the outermost compilation; numba compiles one at a time."""

    def __init__(self) -> None:
        self._depth = 0
        self._resumes = False

    def on_start(self, event: Any) -> None:
        """Stop collecting, unless that has been done."""
        self._depth += 1
        if self._depth == 1:
            self._resumes = gc.isenabled()
            gc.disable()

    def on_end(self, event: Any) -> None:
        """Go on as before."""
        self._depth -= 1
        if self._depth == 0 and self._resumes:
            gc.enable()


def pause_while_compiling() -> None:
    """Pause the collector during every compilation of this process from now on."""
    event.register("numba:compile", _Pause())
