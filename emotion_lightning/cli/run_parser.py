"""Parsing the options of a run, which are Lightning's and those of the recipe's classes."""

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from emotion_lightning.cli.flags import add_flags
from emotion_lightning.cli.parser import HELP, OptionParser


def whole_numbers_stay(parser: LightningArgumentParser) -> None:
    """Read ``--trainer.limit_val_batches 1`` as one batch, as from Python, and not as 1.0, which is all of them.

    Python may give ``float | int``, in which the float comes first, for the ``int | float`` of Lightning's trainer.
    Should jsonargparse call its types otherwise, 1 is 1.0 again.
    """
    for action in parser._actions:
        if action.dest.startswith("trainer.limit_") and hasattr(action, "_typehint"):
            action._typehint = int | float | None


class RunParser(OptionParser, LightningArgumentParser):
    """Parser of the program and of each of Lightning's commands."""

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
