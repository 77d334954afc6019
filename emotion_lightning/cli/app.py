"""Lightning's command line for one model and one datamodule, and how a command ends."""

import logging
import re
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as lightning_callbacks
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from emotion_lightning.callbacks import (
    EMA,
    EarlyStopping,
    PredictionWriter,
    ProgressBar,
    Report,
    RunCheckpoint,
    TensorBoardImages,
    Unfreeze,
    fixed_callbacks,
)
from emotion_lightning.callbacks.checkpoint import run_checkpoint
from emotion_lightning.callbacks.save_config import SaveRunConfig
from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.cli.flags import given_flag
from emotion_lightning.cli.parser import EmotionParser, seed_of, with_dashes
from emotion_lightning.cli.tools import audit, report
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError, EmotionError, UsageError
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.options import PROGRAM
from emotion_lightning.report.run import Run
from emotion_lightning.report.summary import summary, unfreezing_advice
from emotion_lightning.runs.config import checkpoint_config, load_checkpoint, refuse_contradictions, splits_of_old_run
from emotion_lightning.runs.files import ensure_writable
from emotion_lightning.runs.folder import CHECKPOINTS, pasted, run_dir
from emotion_lightning.runtime.allocator import tune_malloc
from emotion_lightning.runtime.precision import allow_tf32, resolve_precision
from emotion_lightning.schedule import last_unfreezing, unfreeze_epoch
from emotion_lightning.tuning.dry_run import dry_run, table
from emotion_lightning.tuning.lr_find import lr_find

RUNS = "lightning_logs"
OWN = {
    Unfreeze: "`unfreeze.schedule`",
    EMA: "`ema.decay`",
    EarlyStopping: "`early_stopping.patience`",
    RunCheckpoint: "`checkpoint.every_n_epochs`",
    TensorBoardImages: "`tensorboard.every_n_epochs`",
    PredictionWriter: "`predictions.output`",
    Report: "`report.write`",
}
"""The recipe's callbacks, and the option by which each is set."""
RECIPE_TRAINER = {
    "max_epochs": 80,
    "precision": "16-mixed",
    "gradient_clip_val": 1.0,
    "log_every_n_steps": 10,
    "benchmark": True,  # every batch of a kind has the same shape
    "enable_model_summary": False,  # it would count stages as trainable before they are frozen; Unfreeze says it right
}


class EmotionCLI(LightningCLI):
    """Lightning's command line for one model and one datamodule, with the recipe's callbacks as option groups."""

    def __init__(self, args: Sequence[str]):
        self._command = args[0]
        super().__init__(
            EmotionClassifier,
            EmotionDataModule,
            save_config_callback=SaveRunConfig,
            trainer_defaults=RECIPE_TRAINER | {"callbacks": fixed_callbacks()},
            seed_everything_default=42,
            parser_class=EmotionParser,
            parser_kwargs={"prog": PROGRAM} | {name: {"description": COMMANDS[name]} for name in self.subcommands()},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # the hyper-parameters themselves suffice
            args=list(args),
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the given command alone, since building the options of each command takes a second."""
        every = LightningCLI.subcommands()
        return {name: skipped for name, skipped in every.items() if name == self._command} or every

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks' options, and link options that state the same fact."""
        parser.add_lightning_class_args(Unfreeze, "unfreeze")
        parser.add_lightning_class_args(EMA, "ema")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(TensorBoardImages, "tensorboard")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.add_lightning_class_args(Report, "report")
        for target in ("data.seed", "model.seed"):
            parser.link_arguments("seed_everything", target, compute_fn=seed_of)
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        parser.link_arguments("unfreeze.schedule", "data.unfreeze_epoch", compute_fn=unfreeze_epoch)
        parser.link_arguments("unfreeze.schedule", "early_stopping.start_epoch", compute_fn=last_unfreezing)
        parser.link_arguments("unfreeze.schedule", "tensorboard.schedule")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the options; with a checkpoint, those of its run replace the defaults."""
        self.checkpoint_path: str | None = None
        quiet = [
            arg for arg in args if not arg.startswith("--print_config")
        ]  # printed once the checkpoint's options are known
        self.config = parser.parse_args(quiet)
        subcommand = self.config.subcommand
        if args[0] != subcommand:
            raise UsageError(f"put {subcommand} first and its options after it, not {args[0]}")
        self.flag = given_flag(self.config[subcommand])
        path = self.config[subcommand].get("ckpt_path")
        if path is None:
            if quiet != args:
                self.config = parser.parse_args(args)
            if subcommand != "fit":
                raise UsageError(f"{subcommand} needs --ckpt_path, such as a run's best.ckpt")
            return
        self.checkpoint_path = str(path)
        checkpoint = load_checkpoint(self.checkpoint_path)
        saved = checkpoint_config(checkpoint, subcommand)
        base = yaml.safe_dump(saved)
        self.config = parser.parse_args([subcommand, "--config", base, *args[1:]])
        refuse_contradictions(yaml.safe_load(base), self.config[subcommand].as_dict(), subcommand)
        data = self.config[subcommand].data
        if subcommand != "predict" and data.root == saved["data"]["root"] and data.splits_file is None:
            data.splits_file = splits_of_old_run(checkpoint, self.checkpoint_path)
        self.config[subcommand].weights_only = True

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would replace given options by the checkpoint's without saying so."""

    def instantiate_classes(self) -> None:
        """Build everything; a model that is restored needs no pretrained weights and no network.

        Raises:
            UsageError: What was chosen cannot be built, for example as a package is missing.
        """
        model = self.config[self.subcommand].model
        pretrained = model.pretrained
        if self.checkpoint_path is not None:
            model.pretrained = False
        try:
            super().instantiate_classes()
        except (EmotionError, MisconfigurationException, torch.OutOfMemoryError):
            raise
        except (ValueError, TypeError, RuntimeError, ImportError) as error:  # of a library
            raise UsageError(_reason(error)) from error
        model.pretrained = self.model.hparams["pretrained"] = pretrained

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the precision, logger and strategy that suit this machine and command."""
        given = self.config_init[self.subcommand].trainer
        _refuse_own(given.callbacks)
        if given.barebones:
            raise UsageError(
                "`barebones` leaves out validation and checkpoints, which a run is for; `dry_run` measures its speed"
            )
        callback_keys = self._parser(self.subcommand).callback_keys
        if given.enable_checkpointing is False and "checkpoint" in callback_keys:
            callback_keys.remove("checkpoint")
        kwargs["precision"] = resolve_precision(given.precision, given.accelerator, self.model)
        if given.logger is None or given.logger is True:
            logs = self.subcommand == "fit" and self.flag is None and not given.fast_dev_run
            kwargs["logger"] = self._logger(given.default_root_dir) if logs else False
        if given.deterministic:
            kwargs["benchmark"] = False  # it may choose another kernel in each run
        allow_tf32(given.accelerator)
        if given.enable_progress_bar is not False and not _has_progress_bar(given.callbacks):
            self.trainer_defaults["callbacks"].append(ProgressBar())
        single = given.devices in (1, "1") or (given.devices == "auto" and torch.cuda.device_count() < 2)
        if given.strategy in ("auto", "ddp") and not single:
            kwargs["strategy"] = "ddp_find_unused_parameters_true"  # or gradients of stages unfrozen later stay apart
        self.trainer_options = {**given, **kwargs}
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Check everything before other processes start, which would wait for it, and before a folder is made."""
        if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return
        self.datamodule.check("fit")
        if self.flag is not None or self.checkpoint_path is not None:
            return  # nothing is written, or into the folder of the run that is resumed
        self.model.check_fit(self.trainer)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if check_fit := getattr(callback, "check_fit", None):
                check_fit(self.trainer, self.model)

    def fit(self, **kwargs: Any) -> None:
        """Train; with a flag, only try the run out."""
        if self.flag is None:
            self.trainer.fit(**kwargs)
            return
        given, options = self.config[self.subcommand], self.trainer_options
        if self.flag == "lr_find":
            text = lr_find(self.model, self.datamodule, options)
        else:
            run = dry_run(self.model, self.datamodule, options, given.unfreeze.schedule, given.ema.decay)
            text = table(run, options["precision"])
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            print(with_dashes(text))

    def after_fit(self) -> None:
        """Measure the best checkpoint, and print the run's result and the next commands."""
        if self.flag is not None or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if self.trainer.global_step == 0:
            raise DataError("nothing was trained: see `limit_train_batches`, `max_steps` and `max_time`")
        checkpoint, loggers = run_checkpoint(self.trainer), self.trainer.loggers
        if checkpoint is None:
            rank_zero_info("\nNo checkpoint was kept, as `enable_checkpointing` is false")
            return
        if not checkpoint.best_model_path:
            rank_zero_info(
                "\nNo checkpoint is the best, as no validation was taken: see `limit_val_batches`, "
                "`check_val_every_n_epoch`, `val_check_interval` and `max_steps`"
                + self._next(checkpoint.folder / "last.ckpt", loggers)
            )
            return
        best = pasted(checkpoint.best_model_path)
        rank_zero_info(
            f"\nBest epoch {checkpoint.best_epoch}: validation macro F1 {checkpoint.best_score:.4f}"
            f"\nCheckpoint: {best}, which is now measured on the validation split"
        )
        self.trainer.loggers = []  # the curves have this epoch already
        self.trainer.validate(self.model, self.datamodule, checkpoint.best_model_path, verbose=False)
        run = run_dir(self.trainer)
        if self.trainer.is_global_zero:
            found = Run(run)
            rank_zero_info(f"\n{pasted(run)}\n{summary(found, 'val')}")
            if advice := unfreezing_advice(found):
                rank_zero_info(f"\n{advice}")
            report = f"{PROGRAM} report {pasted(run)}"
            rank_zero_info(self._next(Path(checkpoint.best_model_path), loggers, report))

    def _next(self, checkpoint: Path, loggers: Sequence[Any], *more: str) -> str:
        """Write the commands that go on with ``checkpoint``, as they can be pasted."""
        data, given = self.datamodule, f"--ckpt_path {pasted(checkpoint)}"
        commands = [f"{PROGRAM} test {given}"] if data.indices(data.test_split) else []
        if data.root is not None and data.root.is_dir():
            commands.append(f"{PROGRAM} predict {given} --data.root {pasted(data.root)}")
        folders = [logger.root_dir for logger in loggers if isinstance(logger, TensorBoardLogger)]
        commands += [*more, *(f"tensorboard --logdir {pasted(folder)}" for folder in folders)]
        return "\n  ".join(["\nNext:", *commands])

    def _logger(self, root: str | None) -> TensorBoardLogger:
        """Log into a new folder of lightning_logs, or into the folder of the run that is resumed."""
        if self.checkpoint_path is not None:
            folder = Path(self.checkpoint_path).resolve().parent
            if folder.name == CHECKPOINTS:
                run = folder.parent
                if root is not None and Path(root).resolve() != run.parent.parent:
                    raise UsageError(f"--trainer.default_root_dir {root}: a resumed run goes on in {run}")
                return TensorBoardLogger(
                    run.parent.parent, name=run.parent.name, version=run.name, default_hp_metric=False
                )
        ensure_writable(Path(root or ".") / RUNS)
        return TensorBoardLogger(root or ".", name=RUNS, default_hp_metric=False)


FULL_MEMORY = ("out of shared memory", "shared memory(shm)", "unable to write to file </torch", "unable to mmap")
"""What torch says where the memory through which processes share tensors is full."""

EXPECTED_WARNINGS = (
    r".*LeafSpec.* is deprecated",  # Lightning's, on a torch newer than it
    r"find_unused_parameters=True was specified",  # needed while stages are frozen, idle once none is
    r"The number of training batches .* is smaller than the logging",  # metrics of epochs are logged all the same
    r"It is recommended to use .*sync_dist=True",  # every metric was already summed over the ranks
)


def run(args: Sequence[str]) -> None:
    """Run a command with its options; a user's mistake ends in one line on stderr and exit status 1 or 2."""
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(_speak_command_line)
    try:
        command = args[0]
        _check_command(command)
        tools = {"audit": audit, "report": report}
        if tool := tools.get(command):
            tool(args[1:], f"{PROGRAM} {command}", COMMANDS[command])
        else:
            tune_malloc()
            EmotionCLI(args)
    except EmotionError as error:
        _stop(str(error), error.exit_status)
    except MisconfigurationException as error:
        _stop(str(error), 2)
    except torch.OutOfMemoryError:
        _stop("the device is out of memory: halve --data.batch_size, or choose a smaller --data.image_size", 1)
    except Warning as warning:  # of python -W error
        _stop(f"a warning ended the run, as Python was told to: {type(warning).__name__}: {_reason(warning)}", 1)
    except ImportError as error:
        _stop(_reason(error), 1)
    except OSError as error:
        _stop(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or _reason(error)}", 1)
    except RuntimeError as error:
        if any(sign in str(error) for sign in FULL_MEMORY):
            _stop(
                "the shared memory (/dev/shm) is too small for what `num_workers` processes read: give `num_workers=0`,"
                " or enlarge it (in Docker by --shm-size)",
                1,
            )
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).partition("\n")[0]  # torch has no public class for what its compiler raises
        _stop(f"`compile=true` needs a C++ compiler, on a GPU Triton as well; torch failed with: {reason}", 2)
    except SIGTERMException:
        sys.exit(128 + 15)
    except KeyboardInterrupt:
        sys.exit(128 + 2)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning has cleaned up, and would end with 1
            sys.exit(128 + 2)
        raise
    finally:
        logger.removeFilter(_speak_command_line)


def _speak_command_line(record: logging.LogRecord) -> bool:
    """Write options in place of the parameters that a line of the log names."""
    record.msg = with_dashes(str(record.msg))
    return True


def _has_progress_bar(callbacks: Any) -> bool:
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    return any(isinstance(callback, lightning_callbacks.ProgressBar) for callback in given)


def _refuse_own(callbacks: Any) -> None:
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        if type(callback) in OWN:
            name, option = type(callback).__name__, OWN[type(callback)]
            raise UsageError(f"{name} is in every run: leave it out of `callbacks`, and use {option}")


def _check_command(name: str) -> None:
    if not name.startswith("-") and name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        meant = f" -- did you mean {near[0]}?" if near else f"; the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"there is no command '{name}'{meant}")


def _stop(message: str, status: int) -> None:
    print(f"error: {with_dashes(message)}", file=sys.stderr)
    sys.exit(status)


def _reason(error: Exception) -> str:
    """One line of what a library says, without the parser's account of where."""
    found = re.search(r"Problem with given class_path '[\w.]*?(\w+)':\s*(.+)", str(error))
    if found:
        return f"{found[1]}: {found[2]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
