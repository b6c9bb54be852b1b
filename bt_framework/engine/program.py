"""The generated loop module of one composition: a readable file that names its kernels."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bt_framework.engine.rules import RuleKernels
from bt_framework.engine.strategy import WAKES, Kernels
from bt_framework.errors import PluginError, StorageError
from bt_framework.jit import cache_root, has_machine_code

_importing = threading.Lock()
"""Runs in several threads compose the same loop: one of them writes and imports it."""


@dataclass(frozen=True)
class Program:
    """The compiled loop.

    Attributes
    ----------
    run_slice : callable
        ``run_slice(engine, is_roi, arrays, records, max_wakes) -> Outcome``, see `bt_framework.engine._template`.
    path : Path
        The generated source.
    cached : bool
        Whether its machine code was on disk.
    """

    run_slice: Callable[..., int]
    path: Path
    cached: bool


@dataclass(frozen=True)
class KernelSet:
    """The kernels of a composition, each ``"package.module:function"``, and what else makes its loop.

    Attributes
    ----------
    guarded : bool
        Whether any rule may do more than refuse, see `bt_framework.engine._guard`.
    sweeps : bool
        Whether any exchange fills level by level, see `bt_framework.engine._sweep`.
    """

    strategy: Kernels
    rules: Sequence[RuleKernels]
    sizing: str
    slippage: str = "bt_framework.engine.slippage:none"
    guarded: bool = True
    sweeps: bool = True

    @property
    def references(self) -> list[str]:
        """All of them."""
        wakes = [getattr(self.strategy, name) for name in WAKES]
        rules = [kernel for rule in self.rules for kernel in rule.references]
        return [k for k in (*wakes, *rules, self.sizing, self.slippage) if k]


def build_program(kernels: KernelSet) -> Program:
    """Write and import the loop module for a composition's kernels.

    Raises
    ------
    PluginError
        If a kernel cannot be found.
    """
    for reference in kernels.references:
        _check_kernel(reference)
    source = loop_source(kernels)
    digest = hashlib.sha256(source.encode()).hexdigest()[:32]
    path = cache_root() / "loops" / f"{digest}.py"
    with _importing:
        _write(path, source)
        module = _import_file(f"bt_loop_{digest}", path)
    return Program(module.run_slice, path, has_machine_code(module.run_slice))


def loop_source(kernels: KernelSet) -> str:
    """Source of the loop module: `_template` with the composition's kernels in place of its own."""
    wakes = {name: getattr(kernels.strategy, name) for name in WAKES if getattr(kernels.strategy, name)}
    imports = [_import_line(reference, name) for name, reference in wakes.items()]
    calls = [
        f"    if reason == {WAKES[name]}:\n        {name}(market, account, out, p, s, w)" for name in wakes
    ]
    checks, watches = [], []
    for index, rule in enumerate(kernels.rules):
        breached, day = "False", _DAY.format(index=index)
        if rule.allow:
            imports.append(_import_line(rule.allow, f"allow_{index}"))
            # Rules that only look at intents need the day no sooner, and cost a wake-up without intents nothing.
            checks += [] if kernels.guarded else [day]
            checks.append(_CHECK.format(index=index, note=_NOTE if kernels.guarded else _NOTE_ONLY))
        if rule.watch:
            imports.append(_import_line(rule.watch, f"watch_{index}"))
            breached = f"watch_{index}(market, account, p_{index}, s_{index})"
        if kernels.guarded:
            watches.append(day)
            watches.append(_WATCH.format(index=index, breached=breached))
    imports.append(_import_line(kernels.sizing, "unit_qty"))
    imports.append(_import_line(kernels.slippage, "slippage_bps"))
    composition = _COMPOSITION.format(
        imports="\n".join(imports),
        calls="\n".join(calls or ["    pass"]),
        checks="\n".join([*checks, "    return -1"]),
        watches="\n".join(watches or ["    pass"]),
    )
    template = _TEMPLATE.read_text()
    before, _, rest = template.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    flags = {
        "WAKES_ON_BOOK = False": f"WAKES_ON_BOOK = {'on_book' in wakes}",
        "GUARDED = True": f"GUARDED = {kernels.guarded}",
        "SWEEPS = 1": f"SWEEPS = {1 if kernels.sweeps else None}",
    }
    for default, chosen in flags.items():
        before = before.replace(default, chosen)
    return before + _BEGIN + composition + _END + after


_TEMPLATE = Path(__file__).with_name("_template.py")
_BEGIN, _END = "# composition: begin\n", "# composition: end\n"
_CHECK = """\
    p_{index}, s_{index}, _ = rules[{index}]
    if not allow_{index}(market, account, intent, p_{index}, s_{index}):
        {note}(a, {index}, s_{index}.value, s_{index}.limit)
        return {index}"""
_NOTE, _NOTE_ONLY = "note_refusal", "keep_refusal"
_DAY = """\
    p_{index}, s_{index}, calendar_{index} = rules[{index}]
    follow_calendar(a, {index}, calendar_{index})
    control = a.controls[{index}]
    s_{index}.day_start_ts, s_{index}.day_end_ts = control.day_start_ts, control.day_end_ts
    s_{index}.utc_offset_ns = control.utc_offset_ns"""
_WATCH = """\
    if time_is_over(a, {index}):
        s_{index}.resumed = 1
    breached = {breached}
    govern(a, {index}, breached, s_{index}.value, s_{index}.limit)"""
_COMPOSITION = """
from bt_framework.engine._guard import (
    follow_calendar,
    govern,
    keep_refusal,
    note_refusal,
    time_is_over,
)
{imports}


@kernel
def wake(reason, market, account, out, p, s, w):
{calls}


@kernel
def first_refusal(a, market, account, intent, rules):
{checks}


@kernel
def watch_rules(a, market, account, rules):
{watches}


"""


def _import_line(reference: str, name: str) -> str:
    module, _, function = reference.partition(":")
    return f"from {module} import {function} as {name}"


def _check_kernel(reference: str) -> None:
    module_name, _, function = reference.partition(":")
    try:
        getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"kernel {reference!r} cannot be loaded: {error}. Write it as 'package.module:function'."
        ) from error


def _write(path: Path, source: str) -> None:
    """Write `source` to `path` unless it is there; another process may do the same at the same time."""
    if path.exists() and path.read_text() == source:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(source)
        os.replace(draft, path)
    except OSError as error:
        raise StorageError(
            f"the cache folder {path.parent} cannot be written: {error.strerror or error}. Set BT_CACHE_DIR."
        ) from error


def _import_file(name: str, path: Path) -> ModuleType:
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module  # type: ignore[no-any-return]
