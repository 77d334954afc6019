"""The command runs: what there is, what came out and how far it is."""

from collections.abc import Sequence
from pathlib import Path

from emotion_lightning.cli.parser import OptionParser
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.folder import RUNS
from emotion_lightning.runs.overview import runs_in, table


def runs(args: Sequence[str], program: str, description: str) -> None:
    """Print a line for each run."""
    parser = OptionParser(prog=program, description=description)
    parser.add_argument(
        "folder",
        nargs="?",
        type=str,
        default=".",
        metavar="FOLDER",
        help=f"Folder of the runs, or one with {RUNS}; by default this one.",
    )
    folder = Path(parser.parse_args(list(args)).folder).expanduser()
    found = runs_in(folder) if folder.is_dir() else []
    if not found:
        raise UsageError(f"{folder}: there are no runs; give the folder that has {RUNS}, or begin one by fit")
    print(table(found))
