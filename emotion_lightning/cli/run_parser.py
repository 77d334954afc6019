"""Parsing the options of a run, which are Lightning's and those of the recipe's classes."""

import argparse
import os
import re
from typing import Any

from jsonargparse import ActionConfigFile, set_parsing_settings  # type: ignore[attr-defined]  # it is public
from lightning.pytorch.cli import LightningArgumentParser

from emotion_lightning.cli.flags import add_flags
from emotion_lightning.cli.parser import HELP, OptionParser
from emotion_lightning.errors import DataError
from emotion_lightning.runs.limited_yaml import read_yaml

set_parsing_settings(config_read_mode_fsspec_enabled=False)  # Lightning, as it was imported, let files be fetched


def whole_numbers_stay(parser: LightningArgumentParser) -> None:
    """Read ``--trainer.limit_val_batches 1`` as one batch, as from Python, and not as 1.0, which is all of them.

    Python may give ``float | int``, in which the float comes first, for the ``int | float`` of Lightning's trainer.
    Should jsonargparse call its types otherwise, 1 is 1.0 again.
    """
    for action in parser._actions:
        if action.dest.startswith("trainer.limit_") and hasattr(action, "_typehint"):
            action._typehint = int | float | None


class LocalConfigFile(ActionConfigFile):
    """Option that names a configuration file, which is looked at before it is read."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Refuse what is no local file within the limits on YAML, unless it is the YAML itself."""
        path = os.path.expanduser(values)
        if values == "-" or re.match(r"\w+://", values) or os.path.exists(path):
            try:
                read_yaml(path)
            except DataError as error:
                parser.error(f"{option_string} {error}")
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]


class RunParser(OptionParser, LightningArgumentParser):
    """Parser of the program and of each of Lightning's commands."""

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an option; one for a configuration takes local files only."""
        if kwargs.get("action") is ActionConfigFile:
            kwargs["action"] = LocalConfigFile
        added: argparse.Action = super().add_argument(*args, **kwargs)
        return added

    def add_method_arguments(self, class_type: type, method_name: str, *args: Any, **kwargs: Any) -> list[str]:
        """Add a subcommand's own arguments, with our words where Lightning's speak of other things."""
        added: list[str] = super().add_method_arguments(class_type, method_name, *args, **kwargs)
        for action in self._actions:
            action.help = HELP.get(action.dest, action.help)
        if method_name in ("validate", "test"):
            self.set_defaults({"verbose": False})  # the classification report says it better
        if method_name == "fit":
            add_flags(self)
        return added
