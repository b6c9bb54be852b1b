"""Config-first backtesting on real order books, around hftbacktest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bt_framework import store as store
    from bt_framework.results.result import RunResult as RunResult
    from bt_framework.runner import run as run

__version__ = "0.1.0"
__all__ = ["RunResult", "run", "store"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from bt_framework.runner import run

        return run
    if name == "store":
        import importlib

        return importlib.import_module("bt_framework.store")
    if name == "RunResult":
        from bt_framework.results.result import RunResult

        return RunResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
