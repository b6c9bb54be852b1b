"""Which commit of the user's repository a run was made from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_TIMEOUT_S = 5.0


@lru_cache(maxsize=8)
def commit_of(folder: Path) -> str:
    """Return the commit of the repository around `folder`, with ``-dirty`` if its files have changed since.

    Empty without a repository, without a commit, or without git. Asked once per process.
    """
    import subprocess

    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
