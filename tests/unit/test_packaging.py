"""The project's own description: packages, layers, console script."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]


def folders_with_modules() -> set[str]:
    found: dict[Path, str] = {}
    for package, folder in sorted(FOLDERS.items(), key=lambda item: len(item[1])):
        # A folder within another one's may be a package of its own: it comes later, and counts.
        for file in (ROOT / folder).rglob("*.py"):
            relative = file.parent.relative_to(ROOT / folder)
            found[file.parent] = ".".join([package, *relative.parts])
    return set(found.values())


def test_every_folder_with_modules_is_a_listed_package() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert listed == sorted(set(listed), key=listed.index)
    assert set(listed) == folders_with_modules()


def test_every_package_has_an_init_file() -> None:
    for package in PROJECT["tool"]["setuptools"]["packages"]:
        top = max((p for p in FOLDERS if f"{package}.".startswith(f"{p}.")), key=len)
        rest = package.removeprefix(top).strip(".").split(".") if package != top else []
        assert (ROOT / FOLDERS[top]).joinpath(*rest, "__init__.py").is_file(), package


def test_the_layers_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_file_is_longer_than_600_lines() -> None:
    files = [f for folder in FOLDERS.values() for f in (ROOT / folder).rglob("*.py")]
    assert [str(f) for f in files if len(f.read_text().splitlines()) > 600] == []
