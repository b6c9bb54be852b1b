"""Optional libraries, imported at first use."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from bt_framework.errors import ConfigError


def stats_module(name: str) -> ModuleType:
    """Import `name` of statsmodels, arch or scipy.

    Raises
    ------
    ConfigError
        If it is not installed; the message has the line that installs it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        raise ConfigError(
            f"this test needs {library}, which is not installed. Fix: pip install 'bt-framework[stats]'"
        ) from error
