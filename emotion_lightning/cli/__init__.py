"""The command line: ``python -m emotion_lightning COMMAND``, whose commands are in ``cli.commands``."""

import sys
from collections.abc import Sequence

from emotion_lightning.cli.commands import asks_for_overview, asks_for_version, overview, version_line
from emotion_lightning.cli.help import shipped
from emotion_lightning.cli.terminal import controls_shown, ended_by_reader


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one line on stderr and exit status 1 or 2.

    Args:
        args: Arguments after the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if args is None else args)
    with controls_shown():
        text = shipped(given)
        if asks_for_version(given):
            text = version_line()
        elif text is None and asks_for_overview(given):
            text = overview()
        if text is not None:
            with ended_by_reader():
                print(text.rstrip())
            return
        from emotion_lightning.cli.run import run  # imports every library, which takes seconds

        run(given)
