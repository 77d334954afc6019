import subprocess
import sys

import pytest

from emotion_lightning.cli import main
from emotion_lightning.cli.commands import COMMANDS

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    for name, meaning in COMMANDS.items():
        assert name in text
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert meaning in " ".join(capsys.readouterr().out.split())


def test_the_overview_needs_no_library() -> None:
    program = "import runpy, sys; runpy.run_module('emotion_lightning', run_name='__main__'); print(*sys.modules)"
    for args in ([], ["--help"]):
        shown = subprocess.run(
            [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True
        ).stdout
        text, modules = shown.rsplit("\n", 2)[:2]
        assert all(f"  {command} " in text for command in COMMANDS)
        assert not {"torch", "lightning", "jsonargparse", "numpy"} & set(modules.split())
