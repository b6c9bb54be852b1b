"""The `bt` command: a sub-command, or else a run composed from overrides."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Sequence

from bt_framework.cli._report import report
from bt_framework.errors import BtError, ConfigError, StorageError

COMMANDS = {
    "plugins": "list the components that are installed, with their keys",
    "ingest": "read market data into the event store ahead of time",
    "validate": "check bars, clean them and put them into the bar store",
    "data": "list, remove or check market data",
    "db": "look after the databases of market data and runs",
    "screen": "test pairs of stored bars for cointegration",
    "runs": "list, show, label or remove runs",
    "metrics": "compute the metrics of stored runs again",
    "rerun": "repeat a run and compare the results",
    "sweep": "look at sweeps, and go on with one",
}

_HELP = """\
usage: bt +strategy=NAME [GROUP=OPTION ...] [KEY=VALUE ...]     run a backtest
       bt -m +strategy=NAME KEY=A,B ...                         run every combination
       bt COMMAND ...

commands:
{commands}

groups: data bars strategy latency queue exchange fees risk sizing writer store console experiment

examples:
  bt +strategy=ou_pairs                                         the embedded synthetic pair
  bt +strategy=ou_pairs latency=colo strategy.entry_z=2.5
  bt +strategy=ou_pairs data=binance data.files=[btc.gz,eth.gz]
  bt -m +strategy=ou_pairs strategy.entry_z=1.5,2,2.5 latency=colo,retail

options:
  -m                 sweep: run every combination of the values given
  --cfg job          print the composed configuration and stop
  --config-dir DIR   use the YAML options in DIR too
  --version          print the version
  -h, --help         print this; bt COMMAND --help tells more of a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and _needs_supervisor(arguments):
        from bt_framework.sweep.supervisor import supervise

        return supervise()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except BtError as error:
        return report(error)
    except KeyboardInterrupt:
        print("bt: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has gone; nothing more can be written, not even when the interpreter flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        # A path that the system does not take, such as one that is too long.
        if error.filename is None:
            raise
        return report(StorageError(f"{error.filename} cannot be used: {error.strerror}."))


def _needs_supervisor(arguments: Sequence[str]) -> bool:
    """Whether this is a sweep in threads, and this process is not the one that is to run it."""
    if "BT_SWEEP_SUPERVISOR" in os.environ or {"-h", "--help", "-c", "--cfg"} & set(arguments):
        return False
    launchers = [a.partition("=")[2] for a in arguments if a.startswith("hydra/launcher=")]
    if launchers and launchers[-1] != "threads":
        return False
    return bool({"-m", "--multirun"} & set(arguments)) or list(arguments[:2]) == ["sweep", "resume"]


def _dispatch(arguments: list[str]) -> int:
    wants_help = any(a in ("-h", "--help") for a in arguments)
    if not arguments or (wants_help and arguments[0] not in COMMANDS):
        width = max(map(len, COMMANDS))
        print(
            _HELP.format(commands="\n".join(f"  {c:<{width}}  {doc}" for c, doc in COMMANDS.items())), end=""
        )
        return 0
    first = arguments[0]
    if first == "--version":
        from bt_framework import __version__

        print(__version__)
        return 0
    if first in COMMANDS:
        return _command(first, arguments[1:])
    if re.fullmatch(r"[A-Za-z][\w-]*", first):
        from bt_framework.registry import unknown_name

        raise ConfigError(
            f"{unknown_name('the command', first, COMMANDS)} A run is written bt +strategy=NAME."
        )
    return _run(arguments)


def _command(name: str, arguments: list[str]) -> int:
    """Run the click command of the module that is called like it."""
    import importlib

    import click

    command = getattr(importlib.import_module(f"bt_framework.cli.{name}"), name)
    try:
        # Not click's own main: it would hide interrupts and closed pipes from ours.
        with command.make_context(f"bt {name}", arguments) as context:
            code = command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


def _run(arguments: list[str]) -> int:
    """Run one composition, or let Hydra do what its flags ask for."""
    overrides, config_dirs, flags = _split(arguments)
    if flags or any(o.startswith(("hydra.", "hydra/", "+hydra", "~hydra")) for o in overrides):
        from bt_framework.cli._hydra_app import run_with_hydra

        return run_with_hydra(overrides, config_dirs, flags)
    from bt_framework.config.compose import compose
    from bt_framework.registry import Kind

    began = time.perf_counter()
    composition = compose(overrides, config_dirs=config_dirs)
    compose_s = time.perf_counter() - began
    composition.one(Kind.STRATEGY)
    for problem in composition.host.problems:
        print(f"bt: warning: {problem.error}", file=sys.stderr)

    from bt_framework.runner import run_composition

    run_composition(composition, compose_s=compose_s)
    return 0


_FLAGS_WITH_VALUE = {"-c": "--cfg", "--cfg": "--cfg", "-p": "--package", "--package": "--package"}
_FLAGS = {"-m": "--multirun", "--multirun": "--multirun", "--resolve": "--resolve"}


def _split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Split the arguments into overrides, folders of options, and flags for Hydra."""
    overrides, config_dirs, flags = [], [], []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            overrides.append(argument)
        elif name in ("-cd", "--config-dir"):
            config_dirs.append(value if equals else _value_of(argument, rest))
        elif name in _FLAGS_WITH_VALUE:
            flags += [_FLAGS_WITH_VALUE[name], value if equals else _value_of(argument, rest)]
        elif argument in _FLAGS:
            flags.append(_FLAGS[argument])
        else:
            known = ", ".join([*_FLAGS_WITH_VALUE, *_FLAGS, "--config-dir", "--version", "--help"])
            raise ConfigError(f"unknown option {argument!r}. The options are {known}.")
    return overrides, config_dirs, flags


def _value_of(flag: str, rest: object) -> str:
    value = next(rest, None)  # type: ignore[call-overload]
    if value is None:
        raise ConfigError(f"{flag} needs a value.")
    return str(value)
