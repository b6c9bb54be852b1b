"""Ctrl-C and SIGTERM: at once while nothing is running, at the next slice while the loop is."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Protocol

from bt_framework.errors import BtError, RunStopped

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stop(Protocol):
    """What ends a run before its data does; a run asks between its slices."""

    @property
    def received(self) -> bool:
        """Whether it is to end."""

    def defer(self) -> None:
        """From now on nothing is raised; the run asks."""

    def error(self) -> BtError:
        """Return why: a `RunStopped` if what was finished counts as such, else the run has failed."""


class StopSignals:
    """Context in which SIGINT and SIGTERM stop a run in order.

    In a thread other than the main one it does nothing: Python delivers signals to the main thread only.
    """

    def __init__(self) -> None:
        self._received = 0
        self._deferred = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _NAMES:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def defer(self) -> None:
        """From now on, signals are only noted; ask `received`."""
        self._deferred = True

    @property
    def received(self) -> bool:
        """Whether the run has been asked to stop."""
        return self._received != 0

    def error(self) -> RunStopped:
        """Return the error of a run that was asked to stop."""
        if not self._received:
            return RunStopped("stopped.", signal_number=signal.SIGTERM)  # by something else than a signal
        name = _NAMES.get(signal.Signals(self._received), "a signal")
        return RunStopped(f"stopped by {name}.", signal_number=self._received)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if not self._deferred:
            raise self.error()
