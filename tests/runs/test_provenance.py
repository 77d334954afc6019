import subprocess
from pathlib import Path

import pytest

from emotion_lightning.runs.provenance import command_line, data_of_run, git_commit


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/x/emotion_lightning/__main__.py", "fit", "--data.root", "my faces"], "python -m emotion_lightning fit "),
        (["train me.py", "--data.root", "my faces"], "'train me.py' "),
    ],
)
def test_a_command_can_be_pasted(argv: list[str], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert command_line() == f"{command}--data.root 'my faces'"


@pytest.mark.parametrize("text", [None, "[]", "{", "[1]", '[{"data": null}]', '[{"data": {"root": null}}]'])
def test_a_run_that_does_not_say_its_data_has_none(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "provenance.json").write_text(text)
    assert data_of_run(tmp_path) is None


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
