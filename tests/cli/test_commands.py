import subprocess
import sys
from io import BytesIO, TextIOWrapper

import pytest

from emotion_lightning.cli import main
from emotion_lightning.cli.commands import COMMANDS

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    for name, meaning in COMMANDS.items():
        assert name in text
        main([name, "--help"])
        assert meaning in " ".join(capsys.readouterr().out.split())


def test_overview_help_and_version_need_no_library() -> None:
    program = "import runpy, sys; runpy.run_module('emotion_lightning', run_name='__main__'); print(*sys.modules)"
    for args in ([], ["--help"], ["fit", "--help"], ["--version"]):
        shown = subprocess.run(
            [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True
        ).stdout
        text, modules = shown.rsplit("\n", 2)[:2]
        if "fit" in args:
            assert "--data.root" in text
        elif "--version" in args:
            assert text.startswith("emotion_lightning 0.")
        else:
            assert all(f"  {command} " in text for command in COMMANDS)
        assert not {"torch", "lightning", "jsonargparse", "numpy"} & set(modules.split())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_of_few_letters_shows_every_help(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for command in COMMANDS:
        written = BytesIO()
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding, write_through=True))
        main([command, "--help"])
        assert b"\\u" not in written.getvalue()  # of a letter that it does not have
        sys.stdout.write("a folder \u2713")
        assert written.getvalue().endswith(b"a folder \\u2713")
