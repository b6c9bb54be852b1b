"""For programs: one JSON object as the last line of stdout (of a sweep also one per job), notices on stderr."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.results.console import Console, Showing
from bt_framework.results.record import RunRecord


@dataclass
class JsonConsole(ComponentConfig):
    """One JSON object as the last line of stdout; notices go to stderr."""

    name: str = param("json", "registry name")


def build(config: JsonConsole) -> Console:
    """Return the console."""
    return _Json()


class _Json(Console):
    showing = Showing.JSON

    def notice(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def end(self, record: RunRecord) -> None:
        import orjson

        line = orjson.dumps(record.outcome(), option=orjson.OPT_SERIALIZE_NUMPY)  # NaN is null
        print(line.decode(), flush=True)
