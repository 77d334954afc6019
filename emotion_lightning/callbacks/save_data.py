"""What a run must be able to look up about its data: the splits that were cut, and the audit."""

from functools import partial
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks.data import data_of
from emotion_lightning.data.audit.summary import everything
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.manifest import write_splits
from emotion_lightning.runs.files import write_json, write_page
from emotion_lightning.runs.folder import log_dir
from emotion_lightning.runtime.ranks import on_first_rank


class SaveData(Callback):
    """Writes ``splits.csv``, where splits were cut, ``audit.json`` and ``audit.html`` into the run's folder.

    Raises:
        DataError: A file cannot be written.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write only now: by this point, a resumed run has checked that it sees the same data."""
        data, folder = data_of(trainer), log_dir(trainer)  # asks all ranks
        if data is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            on_first_rank(trainer, partial(_write, data, folder, resuming=trainer.ckpt_path is not None))


def _write(data: EmotionDataModule, folder: Path, resuming: bool) -> None:
    splits, audit = folder / "splits.csv", folder / "audit.json"
    if data.manifest.cut and data.root is not None and not splits.is_file():
        write_splits(data.manifest, splits)
    if data.audit is not None and not (resuming and audit.is_file()):
        from emotion_lightning.report.audit_page import page  # what draws is slow to import

        write_json(audit, everything(data.audit), indent=1)
        write_page(audit.with_suffix(".html"), page(data.audit))
