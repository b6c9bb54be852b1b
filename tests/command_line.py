"""The command line as tests start it: in this process, or in one of its own where that matters."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from bt_framework.cli.main import main

_FLAGS = ("-m", "--multirun", "--cfg")
_WORDS_OF_ENGINES = ("clickhouse", "chdb", "postgres")


def shown_by(words: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """Run ``bt WORDS`` in `folder` and return what it printed.

    It runs in this process, which has compiled most kernels before, unless it would leave something in it: Hydra's
    own program, and databases that a process may open once.
    """
    apart = words[0] == "db" or any(w in _FLAGS or e in w for w in words for e in _WORDS_OF_ENGINES)
    return (shown_apart if apart else _shown_within)(words, folder, environment)


def shown_apart(words: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """Do the same in a new process."""
    command = [sys.executable, "-m", "bt_framework", *words]
    env = os.environ | environment
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return _checked(done.returncode, done.stdout, done.stderr)


def _shown_within(words: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(words)
    return _checked(code, out.getvalue(), err.getvalue())


def _checked(code: int, out: str, err: str) -> str:
    assert code == 0, out + err
    assert "Warning" not in err, err
    return out
