"""Lightning's command line for one model and one datamodule."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as lightning_callbacks
import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.callbacks import (
    EMA,
    Calibration,
    EarlyStopping,
    EpochRows,
    MetricsWriter,
    ProgressBar,
    Report,
    RunCheckpoint,
    TensorBoardImages,
    Unfreeze,
    fixed_callbacks,
)
from emotion_lightning.callbacks.save_config import SaveRunConfig
from emotion_lightning.cli.after_fit import conclude, report_so_far
from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.cli.flags import given_flag
from emotion_lightning.cli.help import help_text
from emotion_lightning.cli.messages import reason, with_dashes
from emotion_lightning.cli.over import stop_if_over
from emotion_lightning.cli.parser import seed_of
from emotion_lightning.cli.peers import wait_for_others
from emotion_lightning.cli.refusal import (
    nothing_left_of_a_refusal,
    refuse_own,
    refuse_strategy,
    refuse_threshold,
    remembered_options_named,
    taken_up,
)
from emotion_lightning.cli.run_folder import folder_to_write, refuse_two_folders, tensorboard_logger
from emotion_lightning.cli.run_parser import RunParser, whole_numbers_stay
from emotion_lightning.cli.same_data import same_data
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError, EmotionError, UsageError
from emotion_lightning.model.body import check_sizes
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.options import PROGRAM, flatten
from emotion_lightning.runs.config import (
    READ,
    checkpoint_config,
    keep_found,
    load_checkpoint,
    of_checkpoint,
    refuse_contradictions,
    run_options,
    splits_of_old_run,
)
from emotion_lightning.runs.ended import PROGRESS
from emotion_lightning.runs.folder import CHECKPOINTS
from emotion_lightning.runs.newest import checkpoint_named, newest
from emotion_lightning.runs.temporary import sweep_below
from emotion_lightning.runtime.devices import ddp_processes
from emotion_lightning.runtime.precision import allow_tf32, resolve_precision
from emotion_lightning.runtime.ranks import is_first_rank
from emotion_lightning.runtime.signals import Interrupted
from emotion_lightning.schedule import RECIPE_EPOCHS, in_epochs, last_unfreezing, unfreeze_epoch
from emotion_lightning.tuning.dry_run import dry_run, table
from emotion_lightning.tuning.lr_find import lr_find

RECIPE_TRAINER = {
    "max_epochs": RECIPE_EPOCHS,
    "precision": "16-mixed",
    "gradient_clip_val": 1.0,
    "log_every_n_steps": 10,
    "benchmark": True,  # every batch of a kind has the same shape
    "enable_model_summary": False,  # it would count stages as trainable before they are frozen; Unfreeze says it right
}


class EmotionCLI(LightningCLI):
    """Lightning's command line for one model and one datamodule, with the recipe's callbacks as option groups."""

    def __init__(self, args: Sequence[str]):
        self._args, self._command, self._remembered = list(args), args[0], dict[str, Any]()
        with remembered_options_named(args, self._remembered):
            super().__init__(
                EmotionClassifier,
                EmotionDataModule,
                save_config_callback=SaveRunConfig,
                trainer_defaults=RECIPE_TRAINER | {"callbacks": fixed_callbacks()},
                seed_everything_default=42,
                parser_class=RunParser,
                parser_kwargs={"prog": PROGRAM}
                | {name: {"description": COMMANDS[name]} for name in self.subcommands()},
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,  # the hyper-parameters themselves suffice
                args=list(args),
            )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the given command alone, since building the options of each command takes a second.

        ``predict`` is a command of its own, without a trainer.
        """
        every = {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}
        return {name: skipped for name, skipped in every.items() if name == self._command} or every

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks' options, and link options that state the same fact."""
        parser.add_lightning_class_args(Unfreeze, "unfreeze")
        parser.add_lightning_class_args(EMA, "ema")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(TensorBoardImages, "tensorboard")
        parser.add_lightning_class_args(Calibration, "predict")
        parser.add_lightning_class_args(MetricsWriter, "evaluation")
        parser.add_lightning_class_args(Report, "report")
        whole_numbers_stay(parser)
        for target in ("data.seed", "model.seed"):
            parser.link_arguments("seed_everything", target, compute_fn=seed_of)
        parser.link_arguments("data.image_size", "model.input_size")
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        schedule = ("unfreeze.schedule", "trainer.max_epochs")
        parser.link_arguments(schedule, "data.unfreeze_epoch", compute_fn=unfreeze_epoch)
        parser.link_arguments(schedule, "early_stopping.start_epoch", compute_fn=last_unfreezing)
        parser.link_arguments(schedule, "tensorboard.schedule", compute_fn=in_epochs)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the options; with a checkpoint, those of its run replace the defaults."""
        self.checkpoint_path: str | None = None
        if "--help.trainer" in args:
            print(help_text(self._parser(args[0]), "trainer"), end="")
            sys.exit(0)
        quiet = [
            arg for arg in args if not arg.startswith("--print_config")
        ]  # printed once the checkpoint's options are known
        self.config = parser.parse_args(quiet)
        subcommand = self.config.subcommand
        if args[0] != subcommand:
            raise UsageError(f"put {subcommand} first and its options after it, not {args[0]}")
        refuse_threshold(subcommand, args)
        self.flag = given_flag(self.config[subcommand])
        path = self._checkpoint(subcommand)
        if path is None:
            if quiet != args:
                self.config = parser.parse_args(args)
            if subcommand != "fit":
                raise UsageError(f"{subcommand} needs --ckpt_path, such as a run's best.ckpt")
            self._forget_start(subcommand)
            self._resolve_schedule(subcommand)
            return
        self.checkpoint_path = path
        if (folder := Path(path).resolve().parent).name == CHECKPOINTS:
            sweep_below(folder.parent)
        checkpoint = load_checkpoint(path, (*READ, *PROGRESS) if subcommand == "fit" else READ)
        self.trained_size = checkpoint["hyper_parameters"].get("input_size")
        given = _given(args, self.config[subcommand].trainer)
        with of_checkpoint(path):
            saved = checkpoint_config(checkpoint, subcommand, path, given)
        root = self.config[subcommand].data.root
        if root is not None and Path(root).expanduser().resolve() != Path(saved["data"]["root"] or "").resolve():
            saved["data"].pop("allow_outside", None)  # it was given for the tables of the run's own data
        self.layout_remembered = self.config[subcommand].data.layout == "auto"  # no other was given
        self._remembered.update(flatten(saved))
        base = yaml.safe_dump(saved)
        chosen = self._parser(subcommand)
        assert isinstance(chosen, RunParser)
        chosen.source = f"--ckpt_path {path}: "  # what was typed has been parsed before
        self.config = parser.parse_args([subcommand, "--config", base, *args[1:]])
        data, trainer = self.config[subcommand].data, self.config[subcommand].trainer
        place = run_options(checkpoint).get("trainer", {}).get("default_root_dir")
        if subcommand != "fit" and trainer.default_root_dir == place:
            trainer.default_root_dir = None  # a run's config.yaml says where it was made, and it may have been moved
        data.class_names = data.class_names or saved["data"]["class_names"]  # a run's config.yaml leaves them open
        self._resolve_schedule(subcommand)
        for line in keep_found(self.config[subcommand], saved) if subcommand == "fit" else ():
            rank_zero_info(line)
        refuse_contradictions(yaml.safe_load(base), self.config[subcommand].as_dict(), subcommand)
        if data.root == saved["data"]["root"] and data.splits_file is None:
            data.splits_file = splits_of_old_run(checkpoint, self.checkpoint_path)
        self.config[subcommand].ckpt_path = path
        self.config[subcommand].weights_only = True
        self._forget_start(subcommand)
        if subcommand == "fit":
            stop_if_over(path, checkpoint, trainer, self.config[subcommand].report.write)

    def _forget_start(self, subcommand: str) -> None:
        """Take out what is of this start and not of the run, whose configuration others may begin with."""
        given = self.config[subcommand]
        self.name, self.again = given.pop("name", None), given.pop("resume", None) is not None

    def _resolve_schedule(self, subcommand: str) -> None:
        """Put epochs in place of parts of the run, so that the configuration says what ran."""
        unfreeze = self.config[subcommand].unfreeze
        unfreeze.schedule = in_epochs(unfreeze.schedule, self.config[subcommand].trainer.max_epochs)

    def _checkpoint(self, subcommand: str) -> str | None:
        """File of the checkpoint that a command works on; None for a new run."""
        given = self.config[subcommand]
        path = given.get("ckpt_path")
        if path is not None and "resume" in given:
            raise UsageError("--resume auto finds the checkpoint to go on from: leave out --ckpt_path, or --resume")
        root, name = given.trainer.default_root_dir, given.get("name")
        if path is not None and name is not None:
            raise UsageError("--name is for a new run: leave it out, as a run that goes on keeps its folder")
        if path is not None:
            return checkpoint_named(str(path), root, "last" if subcommand == "fit" else "best")
        last = newest("last", root, name or "*") if "resume" in given else None
        return None if last is None else str(last)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would replace given options by the checkpoint's without saying so."""

    def instantiate_classes(self) -> None:
        """Build everything; a model that is restored needs no pretrained weights and no network.

        Raises:
            UsageError: What was chosen cannot be built, for example as a package is missing.
        """
        model, data = self.config[self.subcommand].model, self.config[self.subcommand].data
        check_sizes(model.backbone, data.image_size, (data.resolution_schedule or {}).values())  # before data is read
        pretrained = model.pretrained
        if self.checkpoint_path is not None:
            model.pretrained, model.input_size = False, self.trained_size
        try:
            super().instantiate_classes()
        except (EmotionError, MisconfigurationException, torch.OutOfMemoryError):
            raise
        except (ValueError, TypeError, RuntimeError, ImportError) as error:  # of a library
            raise UsageError(reason(error)) from error
        model.pretrained = self.model.hparams["pretrained"] = pretrained
        self.datamodule.layout_remembered = self.checkpoint_path is not None and self.layout_remembered

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the precision, logger and strategy that suit this machine and command."""
        given = self.config_init[self.subcommand].trainer
        refuse_own(given.callbacks)
        if given.barebones:
            raise UsageError(
                "`barebones` leaves out validation and checkpoints, which a run is for; `dry_run` measures its speed"
            )
        callback_keys = self._parser(self.subcommand).callback_keys
        if given.enable_checkpointing is False and "checkpoint" in callback_keys:
            callback_keys.remove("checkpoint")
        refuse_strategy(given.strategy)
        kwargs["precision"] = resolve_precision(given.precision, given.accelerator, self.model)
        folder = None
        if self.subcommand == "fit" and self.flag is None and not given.fast_dev_run:
            refuse_two_folders(self.name, given.logger)
            folder = folder_to_write(self.checkpoint_path, given.default_root_dir, self.name, self.again)
            kwargs["default_root_dir"] = str(folder)  # where a logger has no folder for each run, the run is there
        if given.logger is None or given.logger is True:
            kwargs["logger"] = False if folder is None else tensorboard_logger(folder)
        if given.deterministic:
            kwargs["benchmark"] = False  # it may choose another kernel in each run
        allow_tf32(given.accelerator)
        own = _listed(given.callbacks)
        kwargs["callbacks"] = [EpochRows(), *own]
        if given.enable_progress_bar is not False and not any(map(_is_progress_bar, own)):
            self.trainer_defaults["callbacks"].append(ProgressBar())
        ddp = given.strategy == "auto" and ddp_processes(given.accelerator, given.devices, given.num_nodes) > 1
        if ddp or given.strategy == "ddp":
            kwargs["strategy"] = "ddp_find_unused_parameters_true"  # or gradients of stages unfrozen later stay apart
        self.trainer_options = {**given, **kwargs}
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Check everything before other processes start, which would wait for it, and before a folder is made."""
        if is_first_rank():
            self._check_before_fit()
        wait_for_others()

    def before_validate(self) -> None:
        """Begin when the other processes are ready."""
        wait_for_others()

    def before_test(self) -> None:
        """Begin when the other processes are ready."""
        wait_for_others()

    def _check_before_fit(self) -> None:
        self.datamodule.check("fit")
        for line in same_data(self._args, self.datamodule.identity()):
            rank_zero_info(line)
        if self.flag is not None or self.checkpoint_path is not None:
            return  # nothing is written, or into the folder of the run that is resumed
        self.model.check_fit(self.trainer)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if check_fit := getattr(callback, "check_fit", None):
                check_fit(self.trainer, self.model)

    def validate(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the validation split."""
        with taken_up(self.checkpoint_path):
            self.trainer.validate(**kwargs)

    def test(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the test split."""
        with taken_up(self.checkpoint_path):
            self.trainer.test(**kwargs)

    def fit(self, **kwargs: Any) -> None:
        """Train; with a flag, only try the run out."""
        if self.flag is None:
            try:
                with nothing_left_of_a_refusal(self.trainer), taken_up(self.checkpoint_path):
                    self.trainer.fit(**kwargs)
            except Interrupted as end:
                report_so_far(self.trainer, self.model, self.datamodule, end)
                raise
            return
        given, options = self.config[self.subcommand], self.trainer_options
        if self.flag == "lr_find":
            text = lr_find(self.model, self.datamodule, options)
        else:
            run = dry_run(self.model, self.datamodule, options, given.unfreeze.schedule, given.ema.decay)
            text = table(run, options["precision"])
        if is_first_rank():
            print(with_dashes(text))

    def after_fit(self) -> None:
        """Measure the best checkpoint, and print the run's result and the next commands."""
        if self.flag is None and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            conclude(self.trainer, self.model, self.datamodule)

    def after_validate(self) -> None:
        """See that anything was measured."""
        if not sum(self.trainer.num_val_batches):
            raise DataError("nothing was measured: see `limit_val_batches`")

    def after_test(self) -> None:
        """See that anything was measured."""
        if not sum(self.trainer.num_test_batches):
            raise DataError("nothing was measured: see `limit_test_batches`")


def _given(args: Sequence[str], trainer: Mapping[str, Any]) -> set[str]:
    """Options of the trainer that were typed, or that a configuration file has."""
    typed = {arg.removeprefix("--trainer.") for arg in args if arg.startswith("--trainer.")}
    configured = {name for name, value in trainer.items() if value not in (None, "auto")}
    return configured | {re.split(r"[.+=]", option)[0] for option in typed}


def _listed(callbacks: Any) -> list[Any]:
    return callbacks if isinstance(callbacks, list) else [] if callbacks is None else [callbacks]


def _is_progress_bar(callback: Any) -> bool:
    return isinstance(callback, lightning_callbacks.ProgressBar)
