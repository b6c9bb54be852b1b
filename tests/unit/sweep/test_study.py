"""Studies of other versions, damaged ones, and none."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from studies import new_sweep

from bt_framework.errors import ConfigError, StorageError
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.study import load_study, make_study, optuna_module


def rewritten(folder: SweepFolder, change: Callable[[dict[str, object]], None]) -> None:
    path = folder.path / "study.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def with_attribute(name: str, value: object) -> Callable[[dict[str, object]], None]:
    def change(line: dict[str, object]) -> None:
        attribute = line.get("user_attr")
        if isinstance(attribute, dict) and name in attribute:
            attribute[name] = value

    return change


def test_a_study_of_another_version_of_ours_is_refused(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s")
    rewritten(folder, with_attribute("bt_study_version", 7))
    with pytest.raises(
        StorageError, match=r"study\.jsonl must be of version 1, was 7\. Go on with the release"
    ):
        load_study(folder.plan(), folder)


def test_a_study_of_another_optuna_is_refused(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s")
    rewritten(folder, with_attribute("optuna", "4.1.0"))
    with pytest.raises(StorageError, match=r"was written by Optuna 4\.1\.0, .*Install optuna==4\.1\.0"):
        load_study(folder.plan(), folder)


@pytest.mark.parametrize("text", ['{"op_code": 99, "worker_id": "x"}\n', "no JSON\nat all\n", "[]\n"])
def test_a_study_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    folder = new_sweep(tmp_path / "s")
    (folder.path / "study.jsonl").write_text(text)
    for use in (load_study, make_study):
        with pytest.raises(
            StorageError, match=r"another version of Optuna than .* wrote it, or it is damaged"
        ):
            use(folder.plan(), folder)


def test_a_database_of_another_schema_is_refused(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", storage=f"sqlite:///{tmp_path}/study.db")
    load_study(folder.plan(), folder)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE version_info SET schema_version = 3")
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.z'")
    connection.close()
    with pytest.raises(StorageError, match="another version of Optuna"):
        load_study(folder.plan(), folder)


def test_a_study_that_is_not_there_is_missed(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", storage=f"sqlite:///{tmp_path}/study.db")
    (tmp_path / "study.db").unlink()
    with pytest.raises(StorageError, match=r"^there is no study of sweep s in sqlite:"):
        load_study(folder.plan(), folder)


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match=r"needs cmaes\. Install it: pip install 'bt-framework\[optuna\]'"):
        optuna_module()
