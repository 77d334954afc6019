"""What ``--help`` says of a command: the options that it uses, its own first, with types in words."""

import textwrap
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.options import AUDITED, OPTIONS, Effect

KINDS: Mapping[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
USAGE = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]"}
KINDS_OF: Mapping[str, str] = {
    "ckpt_path": "a file or a run",
    "config": "a file",
    "seed_everything": "a whole number",
    "print_config": "",
    "data.root": "a folder or a file",
    "data.splits_file": "a file",
    "model.pretrained": "true, false or a file",
    "report.baseline_run": "a run",
    "report.baseline_predictions": "a file",
    "trainer.precision": "16-mixed, bf16-mixed, 32-true and others",
    "trainer.accelerator": "auto, cpu, gpu and others",
    "trainer.devices": "a whole number, a list such as [0, 1], or auto",
    "trainer.default_root_dir": "a folder",
}
"""What options take whose type says it badly."""

ONLY_FIT = ("unfreeze", "ema", "early_stopping", "checkpoint", "tensorboard")
"""Groups of options that act on a fit alone; the other commands accept them, as a run's configuration has them."""

OF_TRAINER = ("max_epochs", "precision", "accelerator", "devices", "default_root_dir")
"""The trainer's options that help shows without being asked for Lightning's own."""

WIDTH = 80


class Row(NamedTuple):
    """An option as help shows it."""

    name: str
    kind: str
    default: str
    text: str
    usage: str = ""
    """How the usage line writes an argument that has no dashes."""


def shipped(args: Sequence[str]) -> str | None:
    """Help that ``args`` ask for, from the file that is kept of it, as building a parser takes seconds."""
    named = [arg for arg in args if arg in COMMANDS][:1]
    if not named or (not {"-h", "--help"} & {*args} and args[0] != "help"):
        return None
    file = files(__package__) / "help" / f"{named[0]}.txt"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def help_text(parser: ArgumentParser, only: str = "") -> str:
    """Write the help of a command.

    Args:
        parser: Parser of the command.
        only: Group of which every option is shown, and nothing else; by default all groups, with what is used.
    """
    command = parser.prog.rpartition(" ")[2]
    program = " ".join(part for part in parser.prog.split() if part != "[options]")
    words = "".join(f" {row.usage}" for _, rows in groups(parser) for row in rows if row.usage)
    text = [] if only else [f"usage: {program}{words} [options]", "", *_wrapped(parser.description or "", 0)]
    for title, rows in groups(parser):
        shown = [row for row in rows if (_group(row) == only if only else is_shown(command, row.name.lstrip("-")))]
        if shown:
            text += ["", *_wrapped(f"{title}:", 0), *(line for row in shown for line in _lines(row))]
    if not only and command in ("fit", "validate", "test"):
        text += ["", "More options of Lightning's Trainer: --help.trainer. All on one page: docs/options.md."]
    return "\n".join(text) + "\n"


def is_shown(command: str, name: str) -> bool:
    """Whether the help of a ``command`` shows the option ``name``, which all commands of a run accept."""
    group, _, last = name.rpartition(".")
    if command not in ("fit", "validate", "test"):
        return True
    if group == "trainer":
        return last in OF_TRAINER[0 if command == "fit" else 1 :]
    if name == "weights_only" or command == "fit":
        return name != "weights_only"
    if name == "predict.precision":
        return command == "validate"
    fixed = OPTIONS.get(name) is Effect.LEARNING and not (group == "data" and last in AUDITED)
    return not fixed and group not in ONLY_FIT and name != "model.compile"


def groups(parser: ArgumentParser) -> list[tuple[str, list[Row]]]:
    """Title and options of each group of a parser; the command's own come first, the trainer's last."""
    found: dict[str, list[Row]] = {}
    for group in parser._action_groups:  # argparse has no public list of them
        rows = [row for action in group._group_actions for row in _rows(action)]
        if rows:
            own = group.title in ("options", "positional arguments") or all("." not in row.name for row in rows)
            title = "Options" if own else "Lightning's Trainer" if _group(rows[0]) == "trainer" else str(group.title)
            found.setdefault(title.replace("``", ""), []).extend(rows)
    order = {"Options": 0, "Lightning's Trainer": 3}
    return sorted(found.items(), key=lambda item: order.get(item[0], 1 + ("--data" not in item[1][0].name)))


def in_words(kind: Any) -> str:
    """Write a type as a reader who knows no Python says it."""
    args = [arg for arg in get_args(kind) if arg is not NoneType]
    origin = get_origin(kind) or kind
    if origin is Literal:
        return ("one of " if len(args) > 1 else "") + ", ".join(map(str, args))
    if origin in (Union, UnionType):
        if float in args and int in args:
            args.remove(int)
        return " or ".join(dict.fromkeys(map(in_words, args)))
    if origin in KINDS:
        return KINDS[origin]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping such as {'{a: [b, c]}' if args[:1] == [str] else '{0: a, 5: b}'}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list such as {'[a, b]' if args[:1] == [str] else '[1, 2]'}"
    return str(getattr(origin, "__name__", origin))


def kind_of(action: Action) -> str:
    """What an option takes, in words; nothing for a flag."""
    if action.dest in KINDS_OF or action.nargs == 0:
        return KINDS_OF.get(action.dest, "")
    if action.choices is not None:
        return in_words(Literal[tuple(action.choices)])
    return in_words(getattr(action, "_typehint", action.type) or str)


def _rows(action: Action) -> Iterator[Row]:
    """Yield an option, unless it only loads a group's file, explains a class or is set by another option."""
    loads = type(action).__name__ in ("_ActionConfigLoad", "_ActionHelpClassPath", "ActionLink", "_HelpAction")
    if action.help == SUPPRESS or loads or action.dest == "print_shtab":
        return
    name = next((option for option in action.option_strings if option.startswith("--")), str(action.metavar or ""))
    text = " ".join((action.help or "").split()).replace("%%", "%").replace("``", "")
    shown = action.default is not None and action.default != SUPPRESS and kind_of(action)
    usage = "" if action.option_strings else USAGE.get(str(action.nargs), "{0}").format(name)
    yield Row(name or action.dest, kind_of(action), _value(action.default) if shown else "", text, usage)


def _value(value: Any) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(each)}" for key, each in value.items()) + "}"
    return str(value)


def _group(row: Row) -> str:
    return row.name.lstrip("-").rpartition(".")[0].partition(".")[0]


def _lines(row: Row) -> list[str]:
    default = f"; default {row.default}" if row.default else ""
    first = _wrapped(f"{row.name}   {row.kind}{default}".rstrip(), 2)
    return [*first, *_wrapped(row.text, 6)]


def _wrapped(text: str, indent: int) -> list[str]:
    blanks = " " * indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=blanks, subsequent_indent=blanks if indent != 2 else " " * 6, break_on_hyphens=False
    )
