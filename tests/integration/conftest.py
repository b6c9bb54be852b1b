"""What tests of bars from servers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bar_server import BarServer

from bt_framework.bars import download


@pytest.fixture
def server() -> Iterator[BarServer]:
    """Return a server that misbehaves as it is told."""
    server = BarServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited."""
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(download, "pause", pause)
    return waits
