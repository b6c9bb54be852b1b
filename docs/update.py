"""Rewrite the parts of the pages that are facts about the code, and the SQL for SQLite: ``python docs/update.py``.

A part stands between ``<!-- generated: WHAT -->`` and ``<!-- end -->``; `PARTS` says what there is.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

from bt_framework import hookspecs
from bt_framework.config.conduct import Conduct
from bt_framework.config.schema import BaseConfig, FieldInfo, field_infos
from bt_framework.config.settings import Settings
from bt_framework.plugin_manager import discover
from bt_framework.registry import Component, Kind
from bt_framework.results.schemas import COLUMNS, Column
from bt_framework.stores.relational import statements

DOCS = Path(__file__).resolve().parent
_PART = re.compile(r"(<!-- generated: (\w+) ?(\w*) -->\n).*?(<!-- end -->)", re.S)


def components(kind: str) -> str:
    """Every built-in component of a kind with its keys."""
    return "\n".join(_component(c) for c in built_ins() if c.kind == kind)


def settings(_: str) -> str:
    """The keys of a run that belong to no component."""
    return _keys(field_infos(Settings))


def conduct(_: str) -> str:
    """The keys that say how runs are carried out, those of each part after its name."""
    infos: list[FieldInfo] = []
    for info in field_infos(Conduct):
        of_part = field_infos(type(info.default)) if isinstance(info.default, BaseConfig) else []
        infos += [replace(i, name=f"{info.name}.{i.name}") for i in of_part] or [info]
    return _keys(infos)


def sweeper(which: str) -> str:
    """The keys of sweepers, below ``hydra.sweeper``."""
    from bt_framework.cli._sweep_planning import DrawnSettings
    from bt_framework.sweep.study import StudySettings

    return _keys(field_infos({"drawn": DrawnSettings, "optuna": StudySettings}[which]))


def options(where: str) -> str:
    """Groups and their options; the page is ``here``, among the plugins' pages, or above ``plugins``."""
    folder = {"here": "", "plugins": "plugins/"}[where]
    names = {kind: [c.name for c in built_ins() if c.kind == kind] for kind in Kind}
    rows = [(f"[`{kind}`]({folder}{kind}.md)", ", ".join(f"`{n}`" for n in names[kind])) for kind in Kind]
    return _table(("group", "options"), rows)


def experiments(_: str) -> str:
    """Named compositions, with the comment that each begins with."""
    rows = []
    for file in sorted((DOCS.parent / "conf/experiment").glob("*.yaml")):
        comments = [
            line[2:] for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("# ")
        ]
        rows.append((f"`{file.stem}`", " ".join(c for c in comments if not c.startswith("@package"))))
    return _table(("experiment", "what"), rows)


def tables(_: str) -> str:
    """Columns of each table of a run."""
    parts = []
    for name, columns in COLUMNS.items():
        rows = [(f"`{c.name}`", _type_of(c), c.unit, c.doc) for c in columns]
        parts.append(f"### {name}\n\n{_table(('column', 'type', 'unit', 'meaning'), rows)}")
    return "\n".join(parts)


def hooks(which: str) -> str:
    """Hooks of one of the specification classes, ``registration`` or ``lifecycle``."""
    specs = {"registration": hookspecs.RegistrationSpecs, "lifecycle": hookspecs.LifecycleSpecs}[which]
    rows = []
    for name, function in vars(specs).items():
        if not name.startswith("_"):
            arguments = ", ".join(list(inspect.signature(function).parameters)[1:])
            rows.append((f"`{name}({arguments})`", (inspect.getdoc(function) or "").partition("\n")[0]))
    return _table(("hook", "purpose"), rows)


def conformance(_: str) -> str:
    """Every scenario of the conformance set: feed, orders, what must happen and why, and what does."""
    from bt_framework.testing.conformance import BtSimulator, scenarios

    return "\n".join(_scenario(scenario, BtSimulator()) for scenario in scenarios())


def _scenario(scenario: Any, simulator: Any) -> str:
    from bt_framework.testing.conformance import check, describe

    groups: dict[tuple[Any, ...], list[Any]] = {}
    for case in scenario.cases:
        groups.setdefault((case.fills, case.ends, case.because), []).append(case)
    rows = []
    for (fills, ends, because), cases in groups.items():
        found = {check(simulator, scenario, case) for case in cases}
        queues = {case.venue.queue for case in cases}
        rows.append(
            (
                "all" if len(queues) == 6 else ", ".join(f"`{q}`" for q in sorted(queues)),
                ", ".join(f"`{x}`" for x in sorted({case.venue.exchange for case in cases})),
                "; ".join(describe(fill) for fill in fills) or "-",
                ", ".join(ends),
                because,
                "; ".join(sorted(found - {""})) or "as expected",
            )
        )
    feed = "; ".join(_event(event) for event in scenario.events)
    orders = "; ".join(_request(order) for order in scenario.orders)
    head = ("queue", "exchange", "fills", "orders end", "because", "result")
    text = f"### `{scenario.name}`\n\n{scenario.title}.\n\n"
    return text + f"* feed: {feed}\n* orders: {orders}\n\n{_table(head, rows)}"


def _event(event: Mapping[str, Any]) -> str:
    """A feed event for people."""
    at, px, qty = f"{event['at_ms']:g}", f"{event['px']:g}", f"{event['qty']:g}"
    side = {"buy": "bid", "sell": "ask"}[event["side"]]
    if event["what"] == "trade":
        return f"{at} trade {qty} at {px}, {event['side']}er takes"
    if "id" in event:
        return f"{at} {event['what']} {side} {event['id']}, {qty} at {px}"
    return f"{at} {side} {px} x {qty}"


def _request(order: Mapping[str, Any]) -> str:
    """A row of the orders for people."""
    at = f"{order['at_ms']:g}"
    if order["do"] == "cancel":
        return f"{at} cancel {order['order']}"
    limit = f" at {order['px']:g}, {order['tif'].upper()}" if order["do"] == "limit" else ", market"
    return f"{at} {order['side']} {order['qty']:g}{limit}"


PARTS: dict[str, Callable[[str], str]] = {
    "components": components,
    "settings": settings,
    "conduct": conduct,
    "sweeper": sweeper,
    "options": options,
    "experiments": experiments,
    "tables": tables,
    "hooks": hooks,
    "conformance": conformance,
}


def built_ins() -> list[Component]:
    """Components that this distribution offers."""
    return [c for c in discover().registry.components() if c.package == "bt-framework"]


def rewritten(text: str) -> str:
    """`text` of a page with its generated parts as they should be."""
    return _PART.sub(lambda m: f"{m[1]}\n{PARTS[m[2]](m[3])}\n{m[4]}", text)


def pages() -> list[Path]:
    """All pages."""
    return sorted(DOCS.rglob("*.md"))


def _component(component: Component) -> str:
    text = f"### `{component.name}`\n\n{component.doc}\n"
    return text + ("\n" + _keys(component.fields) if component.fields else "\nNo keys.\n")


def _keys(fields: Iterable[FieldInfo]) -> str:
    rows = [(f"`{f.name}`", f.type, f"`{_shown(f.default)}`", f.unit, f.doc) for f in fields]
    return _table(("key", "type", "default", "unit", "meaning"), rows)


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.name)
    if value is None or isinstance(value, bool):
        return str({None: "null", True: "true", False: "false"}[value])
    return repr(value) if isinstance(value, str) and not value else str(value)


def _type_of(column: Column) -> str:
    if isinstance(column.words, str):
        return {"symbols": "symbol", "rules": "rule name", "keys": "text"}[column.words] + (
            " or null" if column.optional else ""
        )
    if column.words is not None:
        assert issubclass(column.words, IntEnum)
        return ", ".join(f"`{member.name.lower()}`" for member in column.words) + (
            " or null" if column.optional else ""
        )
    from bt_framework.results.schemas import RECORDS

    record = next(RECORDS[t] for t, columns in COLUMNS.items() if column in columns)
    return "bool" if column.boolean else str(record[column.field])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main() -> None:
    """Rewrite every page that has changed, and the SQL that is compiled from the tables."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"updated {page.relative_to(DOCS)}")
    for file in statements.write():
        print(f"updated {file.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
