import subprocess
from pathlib import Path

from emotion_lightning.runs.provenance import git_commit


def git(folder: Path, *args: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *named, *args], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_says_whether_the_code_is_still_that(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git(tmp_path, "init")
    assert git_commit(tmp_path) is None  # of which git knows nothing
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert git_commit(tmp_path) == f"{commit} (changed since)"
