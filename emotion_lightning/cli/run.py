"""How a command is run, and how it ends: with what status, and what one line says of a mistake."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.cli.messages import reason, with_dashes
from emotion_lightning.cli.slips import check_words
from emotion_lightning.cli.terminal import ended_by_reader
from emotion_lightning.errors import EmotionError, RunIsOver
from emotion_lightning.options import PROGRAM

FULL_MEMORY = ("out of shared memory", "shared memory(shm)", "unable to write to file </torch", "unable to mmap")
"""What torch says where the memory through which processes share tensors is full."""

EXPECTED_WARNINGS = (
    r".*LeafSpec.* is deprecated",  # Lightning's, on a torch newer than it
    r"find_unused_parameters=True was specified",  # needed while stages are frozen, idle once none is
    r"The number of training batches .* is smaller than the logging",  # metrics of epochs are logged all the same
    r"It is recommended to use .*sync_dist=True",  # every metric was already summed over the ranks
)

SHORT = {("test", "--robustness"): "--evaluation.robustness=true"}
"""Flags of a command, and what they are short for."""

PACKAGE, FORMAT_WARNING = Path(__file__).parents[1], warnings.formatwarning


def run(args: Sequence[str]) -> None:
    """Run a command with its options; a user's mistake ends in one line on stderr and exit status 1 or 2."""
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    warnings.formatwarning = _speak_of_warning
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(_speak_command_line)
    try:
        command = args[0]
        args = [SHORT.get((command, arg), arg) for arg in args]
        check_words(args)
        if tool := _tool(command):
            with ended_by_reader():
                tool(args[1:], f"{PROGRAM} {command}", COMMANDS[command])
        else:
            from emotion_lightning.cli.studies import run_study
            from emotion_lightning.cli.training import run_lightning

            if (alone := run_study(args)) is not None:
                run_lightning(alone)
    except RunIsOver as over:
        from emotion_lightning.runtime.ranks import is_first_rank

        if is_first_rank():
            print(over)
    except EmotionError as error:
        _stop(str(error), error.exit_status, error.of_all_ranks)
    except Warning as warning:  # of python -W error
        _stop(f"a warning ended the run, as Python was told to: {type(warning).__name__}: {reason(warning)}", 1)
    except ImportError as error:
        _stop(reason(error), 1)
    except OSError as error:
        _stop(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or reason(error)}", 1)
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":  # of torch, which not every command has imported
            _stop("the device is out of memory: halve --data.batch_size, or choose a smaller --data.image_size", 1)
        from emotion_lightning.cli.peers import peer_error

        if peer := peer_error(error):
            _stop(str(peer), peer.exit_status, peer.of_all_ranks)
        if any(sign in str(error) for sign in FULL_MEMORY):
            _stop(
                "the shared memory (/dev/shm) is too small for what `num_workers` processes read: give `num_workers=0`,"
                " or enlarge it (in Docker by --shm-size)",
                1,
            )
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        # torch has no public class for what its compiler raises
        _stop(f"`compile=true` needs a C++ compiler, on a GPU Triton as well; torch failed with: {reason(error)}", 2)
    except KeyboardInterrupt:
        sys.exit(128 + 2)
    finally:
        warnings.formatwarning = FORMAT_WARNING
        logger.removeFilter(_speak_command_line)


def _speak_command_line(record: logging.LogRecord) -> bool:
    """Write options in place of the parameters that a line of the log names."""
    record.msg = with_dashes(str(record.msg))
    return True


def _speak_of_warning(message: Warning | str, category: type[Warning], filename: str, *args: Any, **kwargs: Any) -> str:
    """Write a warning of our own as one line, with options in place of parameters."""
    if Path(filename).is_relative_to(PACKAGE):
        return f"warning: {with_dashes(str(message))}\n"
    return FORMAT_WARNING(message, category, filename, *args, **kwargs)


def _tool(command: str) -> Callable[[Sequence[str], str, str], None] | None:
    """Return the function of a command that has no trainer; each imports what it needs alone, as that takes seconds."""
    match command:
        case "predict":
            from emotion_lightning.cli.predict import predict as tool
        case "export":
            from emotion_lightning.cli.export import export as tool
        case "demo":
            from emotion_lightning.cli.demo import demo as tool
        case "audit":
            from emotion_lightning.cli.tools import audit as tool
        case "report":
            from emotion_lightning.cli.tools import report as tool
        case "runs":
            from emotion_lightning.cli.runs import runs as tool
        case "review":
            from emotion_lightning.cli.review import review as tool
        case "prepare":
            from emotion_lightning.cli.prepare import prepare as tool
        case _:
            return None
    return tool


def _stop(message: str, status: int, of_all_ranks: bool = False) -> NoReturn:
    said = with_dashes(message)
    if "torch" not in sys.modules:  # which a run in several processes has imported
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"error: {said}", file=sys.stderr)
        sys.exit(status)
    from emotion_lightning.cli.peers import is_to_say

    if is_to_say(status, said, of_all_ranks) and said:
        print(f"error: {said}", file=sys.stderr)
    sys.exit(status)
