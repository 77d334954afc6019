"""The options of fit alone: flags that try a run out instead of training, and whether it goes on with one."""

from argparse import SUPPRESS
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from emotion_lightning.errors import UsageError

FLAGS = {
    "dry_run": "Measure some steps of every phase of the schedule, print what the run would do, how long it would take "
    "and how much GPU memory it would need, and end without writing anything.",
    "lr_find": "Try learning rates of the classifier from 1e-6 to 1, print the one at which the loss falls most "
    "steeply (Smith, 2017), which is a hint, draw the curve to lr_find/lr_find.png and end without training.",
}

RESUME = (
    "auto goes on with the newest run in default_root_dir that has a last.ckpt, and begins one where there is none; "
    "for jobs that are queued again. By default a run is new, unless ckpt_path is given."
)


NAME = (
    "Name of the run, of its folder below lightning_logs, and of its page; commands find the run by it. "
    "By default version_N."
)

SEVERAL: Mapping[str, Mapping[str, Any]] = {
    "seeds": {
        "nargs": "+",
        "type": int,
        "help": "Make a run for each of these seeds, on the same splits, and a page that compares them.",
    },
    "folds": {
        "type": int,
        "help": "Make a run for each of so many folds, each of which is the validation split of one, and a page that "
        "compares them; with --seeds, for each seed and fold.",
    },
}
"""Options for several runs, which ``cli.studies`` takes before these are parsed."""


def add_flags(parser: LightningArgumentParser) -> None:
    """Add the options; they are part of a configuration only where they are given."""
    parser.add_argument("--resume", choices=["auto"], default=SUPPRESS, help=RESUME)
    parser.add_argument("--name", type=str, default=SUPPRESS, help=NAME)
    for name, about in SEVERAL.items():
        parser.add_argument(f"--{name}", default=SUPPRESS, **about)
    for name, meaning in FLAGS.items():
        parser.add_argument(f"--{name}", action="store_true", default=SUPPRESS, help=meaning)


def given_flag(config: Mapping[str, Any]) -> str | None:
    """Name of the flag that a command's ``config`` has, if any.

    Raises:
        UsageError: Both, or one with an option that it cannot go with.
    """
    if several := [name for name in SEVERAL if config.get(name) is not None]:
        raise UsageError(f"--{several[0]} is given on the command line, not in a configuration, which is of one run")
    given = [name for name in FLAGS if config.get(name)]
    if not given:
        return None
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} are two commands: give one of them")
    for option in ("ckpt_path", "resume"):
        if config.get(option) is not None:
            raise UsageError(f"--{given[0]} is for a run from its start: leave out --{option}")
    trainer = config["trainer"]
    if trainer["fast_dev_run"]:
        raise UsageError(f"--{given[0]} is for a whole run: leave out --trainer.fast_dev_run")
    if (trainer["max_epochs"] or 0) < 1:
        raise UsageError(f"--trainer.max_epochs {trainer['max_epochs']}: --{given[0]} needs a run of known length")
    return given[0]
