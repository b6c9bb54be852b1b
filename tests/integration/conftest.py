"""What tests of bars from servers share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bar_server import BarServer
from warm_sweeps import WarmPlace, WarmServer

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


@pytest.fixture(scope="session")
def trouble_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmServer]:
    """Processes that run sweeps of the strategy in `trouble`."""
    if sys.platform != "linux":
        pytest.skip("processes that have loaded pyarrow can be forked on Linux only")
    with WarmServer(tmp_path_factory.mktemp("trouble")) as server:
        yield server


@pytest.fixture
def warm_place(trouble_server: WarmServer, tmp_path: Path) -> WarmPlace:
    """An empty folder for sweeps."""
    return WarmPlace(trouble_server, tmp_path)
