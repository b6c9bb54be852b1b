"""Which commit of the working folder a run was made from."""

from __future__ import annotations

import os
import subprocess

import pytest

from bt_framework.results.git import commit_of


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Return a function that runs git in a new repository, whatever the user's own settings."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repository"
    folder.mkdir()

    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git.folder = folder
    return git


def asked_now(folder):
    commit_of.cache_clear()
    return commit_of(folder)


def test_a_run_is_of_the_commit_around_its_working_folder(git):
    (git.folder / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "First")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert len(commit) == 40
    below = git.folder / "deep" / "down"
    below.mkdir(parents=True)
    assert asked_now(git.folder) == asked_now(below) == commit


def test_files_that_have_changed_since_are_said_and_new_ones_are_not(git):
    (git.folder / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "First")
    commit = git("rev-parse", "HEAD")
    (git.folder / "runs").mkdir()
    (git.folder / "runs" / "run.json").write_text("{}")
    assert asked_now(git.folder) == commit
    (git.folder / "a.py").write_text("2")
    assert asked_now(git.folder) == f"{commit}-dirty"
    assert commit_of(git.folder) == f"{commit}-dirty"


def test_there_is_none_without_a_repository_a_commit_or_git(git, tmp_path, monkeypatch):
    assert asked_now(tmp_path) == ""
    assert asked_now(git.folder) == ""
    (git.folder / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "First")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asked_now(git.folder) == ""


def test_a_repository_that_cannot_be_read_is_none(git):
    (git.folder / ".git" / "HEAD").write_text("nonsense")
    assert asked_now(git.folder) == ""
