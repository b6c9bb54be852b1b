"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres_server as postgres
import pytest
from clickhouse_front import ClickhouseFront
from hypothesis import settings

# The first example of a test may compile; a gate must not depend on luck.
settings.register_profile("bt", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("bt")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one worker: what a file sets up and compiles is then made once.

    Files go out in the order of the folders, so that the short unit tests even out the ends. Another ``--dist`` is
    left as it is.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_finish() -> None:
    """Look for garbage less often, and never in what collecting has loaded: compilers make millions of objects."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of real market data; a test that needs it is skipped where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("BT_SHARED_DIR", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"no market data in {folder}; set BT_SHARED_DIR to the folder that has it")
    return folder


@pytest.fixture
def write_package(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an installed package into a folder for ``sys.path``."""

    def write(source: str, *, name: str = "stranger", version: str = "1.2", module: str = "stranger") -> Path:
        folder = tmp_path / "site"
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[bt_framework]\nmain = {module}\n")
        (folder / f"{module}.py").write_text(source)
        return folder

    return write


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder of one test; only compiled code is shared with the others."""
    from bt_framework.jit import cache_root

    shared = cache_root()
    shared.mkdir(parents=True, exist_ok=True)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "jit").symlink_to(shared)
    monkeypatch.setenv("BT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def clickhouse_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseFront]:
    """A ClickHouse server that the tests of one worker share."""
    with ClickhouseFront(tmp_path_factory.mktemp("clickhouse")) as front:
        yield front


@pytest.fixture
def clickhouse_url(clickhouse_front: ClickhouseFront) -> Iterator[str]:
    """URL of an empty database of the test's own, on the shared server with no faults."""
    clickhouse_front.heal()
    database = f"test_{uuid.uuid4().hex[:12]}"
    with clickhouse_front.client() as client:
        client.command(f"CREATE DATABASE {database}")
    yield clickhouse_front.url(database)
    clickhouse_front.heal()
    with clickhouse_front.client() as client:
        client.command(f"DROP DATABASE {database} SYNC")


@pytest.fixture(scope="module")
def migrated_clickhouse_url(clickhouse_front: ClickhouseFront) -> Iterator[str]:
    """URL of a database with tables, on the shared server, which the tests of a module share."""
    from bt_framework.stores.clickhouse.address import address_of
    from bt_framework.stores.clickhouse.connection import ClickHouse
    from bt_framework.stores.clickhouse.schema import migrate

    clickhouse_front.heal()
    database = f"test_{uuid.uuid4().hex[:12]}"
    with ClickHouse(address_of(clickhouse_front.url(database), "")) as db:
        migrate(db)
    yield clickhouse_front.url(database)
    clickhouse_front.heal()
    with clickhouse_front.client() as client:
        client.command(f"DROP DATABASE {database} SYNC")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A PostgreSQL server that the tests of one worker share; they are skipped where it is not installed."""
    if not postgres.program("initdb"):
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres.running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: postgres.PostgresServer) -> str:
    """URL, with user and password, of an empty database of the test's own."""
    return postgres_server.url(postgres_server.new_database())
