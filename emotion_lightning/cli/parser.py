"""Command-line parsing whose errors take one line and name the nearest right option."""

import argparse
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, get_loader, set_loader  # type: ignore[attr-defined]

from emotion_lightning.cli.help import help_text, kind_of
from emotion_lightning.cli.messages import with_dashes
from emotion_lightning.cli.slips import option_meant, option_of
from emotion_lightning.errors import UsageError
from emotion_lightning.runs.limited_yaml import check_limits

LINK = re.compile(r"Call to compute_fn of link .* failed: ")  # our own message follows it
OPTION = re.compile(r"(?:--|option '|[Kk]ey '|[Nn]o action for key \")([A-Za-z_][\w.]*)")
WRONG_VALUE = re.compile(
    r'Parser key "([\w.]+)":(.*?(?:(?:Got|Given) value: (.*)|Unable to load config .(.*?). - .*|$))'
)
"""How jsonargparse says that an option has a value of another type."""

HELP = {
    "ckpt_path": "Checkpoint of an earlier run, which fit goes on with and the others use: a file, a run by its name "
    "or folder, or last or best of the newest run.",
    "seed_everything": "Seed of everything random in a run but the cut of its splits, which has data.split_seed.",
    "verbose": "Print every metric that was logged as a table.",
    "weights_only": "Always true: a checkpoint is loaded without running code from it.",
    "config": "Options as YAML, such as a run's config.yaml; may be given several times, and the last one wins.",
    "print_config": "Print all options as YAML, for a --config, and end.",
    "trainer.max_epochs": "Epochs of the run; less if it stops early.",
    "trainer.accelerator": "What to compute on; auto takes a GPU where there is one.",
    "trainer.devices": "How many devices, or which; auto takes all GPUs, or one process on a CPU.",
    "trainer.default_root_dir": "Folder in which runs get their folders, below lightning_logs; by default this one.",
    "trainer.precision": "16-mixed, bf16-mixed or 32-true, and others; on a CPU, 16-mixed becomes what is fast there.",
    "face.detect": "Look for faces: auto, in photographs if the model was trained on crops of faces; always; or never.",
    "face.model": "File of a YuNet network that finds faces; by default the one that the extra face brings.",
}
"""Help of options that have none of their own, or one that would mislead."""


def seed_of(value: bool | int) -> int:
    """Check the seed of a run, from which every random number is derived.

    Raises:
        UsageError: It is no number in [0, 2**32).
    """
    if isinstance(value, bool) or not 0 <= value < 2**32:
        raise UsageError(f"`seed_everything` {value} is no whole number in [0, 2**32)")
    return value


def add_face_options(parser: ArgumentParser) -> None:
    """Add the options of the commands that look for faces in pictures."""
    parser.add_argument("--face.detect", type=str, default="auto", help=HELP["face.detect"])
    parser.add_argument("--face.model", type=str, help=HELP["face.model"])


def load_within_limits(text: str) -> Any:
    """Read the YAML of a configuration file or of a single option as jsonargparse does, unless it costs too much."""
    check_limits(text)
    return _load(text)


_load = get_loader("yaml")
set_loader("yaml", load_within_limits, (yaml.YAMLError,))


class OptionParser(ArgumentParser):
    """Parser of a command's options: no abbreviations, short errors, exit status 2."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self.source = ""  # named before what is wrong with options that were not typed

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Parse, unless an option is given a pipe, which jsonargparse would wait for."""
        for value in (arg.rpartition("=")[2] for arg in args or ()):
            with suppress(OSError, ValueError):
                if stat.S_ISFIFO(os.stat(value).st_mode):
                    self.error(f"{value} is a pipe, which would be waited for: give the path of a file")
        return super().parse_args(args, *more, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line that says what is wrong and what was perhaps meant, and exit with status 2."""
        if not self.exit_on_error:  # a sub-parser's error is passed on to the program's parser
            raise argparse.ArgumentError(None, message) from ex
        text = self._in_words(with_dashes(LINK.sub("", " ".join(message.split()))))
        self.exit(2, f"error: {self.source}{text}{self._suggestion(message)}\n")

    def format_help(self, formatter: Any = None) -> str:
        """Write the options that the command uses, its own first."""
        return help_text(self)

    def _in_words(self, message: str) -> str:
        """Say what an option takes in place of the types of Python that its value is not of."""
        found = WRONG_VALUE.search(message)
        action = found and next((each for each in _actions(self) if each.dest == found[1]), None)
        if not found or action is None:
            return message
        if isinstance(action, ActionConfigFile):
            return f"--{found[1]}: {found[2].strip()}"
        value, kind = found[3] or found[4] or "", kind_of(action)
        if type(action).__name__ == "_ActionConfigLoad":  # of a group
            wrong = f"{value} is no group of options: under {found[1]}, write a name, a colon, a blank and the value"
            return wrong if re.fullmatch(r"\w+:\S+", value) else message
        point = (
            f", with a point: {value.replace(',', '.')}"
            if kind == "a number" and re.fullmatch(r"\d+,\d+", value)
            else ""
        )
        return f"--{found[1]} {value}: it takes {kind}{point}{', with a blank after each colon' * ('mapping' in kind)}"

    def _suggestion(self, message: str) -> str:
        if "cannot start any token" in message and "YAML" in message:
            return " -- are there tabs? YAML is indented by blanks"
        if stray := re.fullmatch(r"unrecognized arguments: ([^-]\S*)", message):
            return f" -- did you mean {option_of(stray[1])}?"
        known = {option[2:] for action in _actions(self) for option in action.option_strings if option[:2] == "--"}
        names = [name for name in OPTION.findall(message) if name not in known]
        return next(filter(None, (option_meant(name, known) for name in names)), "")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # argparse has no public list of its options
        yield action
        if isinstance(action.choices, dict):
            for child in action.choices.values():
                yield from _actions(child)
