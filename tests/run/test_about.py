"""What a run says of the code that it ran."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from t2t_vit.run import about

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", *who, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("1\n")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert about._git_state(checkout) == {"commit": commit, "dirty": False}
    (checkout / "new.txt").write_text("results are no change of the code\n")
    assert about._git_state(checkout) == {"commit": commit, "dirty": False}
    (checkout / "a.py").write_text("2\n")
    assert about._git_state(checkout) == {"commit": commit, "dirty": True}


def test_what_a_checkout_ignores_is_not_of_it(checkout):
    (checkout / "ignored" / "site-packages").mkdir(parents=True)
    assert about._git_state(checkout / "ignored" / "site-packages") is None


def test_without_git_or_a_checkout_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert about._git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert about._git_state(tmp_path) is None
