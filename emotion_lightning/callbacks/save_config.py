"""The resolved configuration of a run, kept beside its checkpoints and inside them."""

from enum import Enum
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_warn

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.errors import DataError
from emotion_lightning.runs.config import KEY
from emotion_lightning.runs.files import atomic_write, write_json
from emotion_lightning.runs.folder import CHECKPOINTS, log_dir
from emotion_lightning.runs.provenance import EARLY, FINISHED, PROVENANCE, provenance, read_starts
from emotion_lightning.runs.temporary import owner


class SaveRunConfig(SaveConfigCallback):
    """Writes config.yaml into a new run's folder, and the same into each of its checkpoints; and provenance.json."""

    _written: tuple[Namespace, str] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save the configuration of a fit; a resumed run keeps the file it has, and a test writes none."""
        if stage == "fit" and (data := data_of(trainer)):
            self.config.data.batch_size = data.batch_size  # which auto has found
            if self.config.trainer.plugins is None:  # of which one may have a precision of its own
                self.config.trainer.precision = trainer.precision  # which this machine has decided
            for name in ("batch_norm", "mean", "std"):  # which its weights decide
                self.config.model[name] = pl_module.hparams[name]
        if stage != "fit" or trainer.fast_dev_run or self.config.get("ckpt_path"):  # type: ignore[attr-defined]
            return
        folder = log_dir(trainer)  # asks all ranks
        file = folder / self.config_filename
        begun = file.is_file() and any((folder / CHECKPOINTS).glob("*"))  # else it is of a start that came to nothing
        if trainer.is_global_zero and not begun:
            with atomic_write(file) as temporary:
                temporary.write_text(self._text(), encoding="utf-8")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add this start to those of the run."""
        folder, data = log_dir(trainer), data_of(trainer)  # asks all ranks
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            identity = data and data.identity()
            start = provenance() | {"epoch": trainer.current_epoch, "process": owner(), "data": identity}
            write_json(folder / PROVENANCE, [*read_starts(folder), start])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that the run has come to its end, which a run that is interrupted does not."""
        folder = log_dir(trainer)  # asks all ranks
        stopping = trainer.early_stopping_callback
        early = stopping is not None and stopping.wait_count >= stopping.patience
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            try:
                *earlier, start = read_starts(folder)
                write_json(folder / PROVENANCE, [*earlier, start | {"ended": EARLY if early else FINISHED}])
            except (DataError, ValueError) as error:  # no reason to lose the weights
                rank_zero_warn(f"that the run has ended is not noted: {error}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the configuration into the checkpoint, as text."""
        checkpoint[KEY] = self._text()

    def _text(self) -> str:
        """The configuration as YAML; written anew only where it has changed, as the parser checks all of it."""
        config = _plain(self.config)
        if self._written is None or self._written[0] != config:
            self._written = config, self.parser.dump(config, skip_unset=False, format="yaml")
        return self._written[1]


def _plain(config: Any) -> Any:
    """Put what its annotation allows in place of an enumeration's member, such as the default of Lightning's Timer."""
    if isinstance(config, Namespace):
        plain = {name: _plain(value) for name, value in vars(config).items()}
        return Namespace(plain)  # type: ignore[no-untyped-call]
    if isinstance(config, list | tuple):
        return [_plain(value) for value in config]
    return config.value if isinstance(config, Enum) else config
