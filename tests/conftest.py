"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of real market data; a test that needs it is skipped where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("BT_SHARED_DIR", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"no market data in {folder}; set BT_SHARED_DIR to the folder that has it")
    return folder
