"""One family of errors: each message says what, where, was, and fix.

The command line prints a `BtError` without a traceback and exits with its `exit_code`.
"""

from __future__ import annotations


class BtError(Exception):
    """Base of everything that `bt` raises on purpose."""

    exit_code = 3


class ConfigError(BtError):
    """The composition is wrong: unknown option or key, wrong type, value out of range."""

    exit_code = 2


class DataError(BtError):
    """The input data cannot be used: missing, empty, malformed, wrong symbol, refused by the doctor."""

    exit_code = 2


class PluginError(BtError):
    """An installed plugin package is broken; the message names the package."""

    exit_code = 2


class StorageError(BtError):
    """A folder, file or database cannot be read or written."""

    exit_code = 2


class UnknownRunError(BtError):
    """No stored run has the id asked for."""

    exit_code = 2


class UnknownSweepError(BtError):
    """No sweep has the id asked for."""

    exit_code = 2


class RunError(BtError):
    """A run that had started could not go on."""


class EngineError(RunError):
    """The engine returned a code other than "more" or "end of data"; `local_ts` is the simulated time."""

    def __init__(self, message: str, *, local_ts: int) -> None:
        super().__init__(message)
        self.local_ts = local_ts


class KernelError(EngineError):
    """A strategy, risk or sizing kernel raised; the cause is chained."""


class LedgerError(EngineError):
    """Our ledger and the engine disagree on a position."""


class LimitError(RunError):
    """A run used more than its limits."""


class SweepError(BtError):
    """Jobs of a sweep have failed; the others are done."""


class WorkersLost(SweepError):
    """Processes that ran chunks of a sweep ended before the chunks did; `chunks` are their numbers.

    No worker of the launch runs any more when this is raised.
    """

    def __init__(self, message: str, *, chunks: tuple[int, ...]) -> None:
        super().__init__(message)
        self.chunks = chunks


class RunStopped(BtError):
    """The user (Ctrl-C) or the system (SIGTERM) asked the run to stop; what was finished is stored."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class RunPruned(RunStopped):
    """A sweep gave the run up, since others are ahead of it; what was finished is stored."""

    def __init__(self, message: str) -> None:
        super().__init__(message, signal_number=0)
