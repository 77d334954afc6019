"""One run of a study, by the product's own command line in a process of its own with one thread."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.accuracy.study import Case, merged, weights_file
from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.metrics import MONITOR
from emotion_lightning.report.run import Run
from emotion_lightning.runs.folder import CHECKPOINTS

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
QUIET: Mapping[str, Any] = {
    "trainer.enable_progress_bar": False,
    "checkpoint.every_n_epochs": 0,
    "tensorboard.every_n_epochs": 0,
    "report.write": False,
    "data.num_workers": 0,
    "data.test_split": "val",
}
"""Options of every run that change no result."""

CURVES = ("val/f1_macro", "val/accuracy", "val/loss", "train/loss")
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""One character for each class, so that the predictions of a run are one word."""


class Training:
    """A run that begins, or goes on where it was interrupted, and is measured as it ended.

    Args:
        case: What is trained.
        root: Folder of its faces.
        folder: Where its files are; one for each case.
        lock: File descriptor of the study's lock, which the process holds as long as it lives.
    """

    def __init__(self, case: Case, root: Path, folder: Path, lock: int):
        self.case, self.root, self.folder, self.lock = case, root, folder, lock
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> dict[str, Any]:
        """Train what is missing and return the result.

        Raises:
            DataError: The command failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yaml"
        options = merged(self.case.options, {**QUIET, "data.root": str(self.root)})
        options["model"]["pretrained"] = weights_file(options["model"].get("pretrained"))
        config.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
        last = self._last()
        if last is None:
            self._command("fit", "--config", str(config), "--trainer.default_root_dir", str(self.folder))
        else:  # which a run that is over only says
            self._command("fit", "--ckpt_path", str(last))
        last = self._last()
        if last is None:
            raise DataError(f"{self.folder}: the run ended without a checkpoint; see log.txt there")
        # the best checkpoint was measured when the run ended; what is compared is where training led to
        measure = ("validate", "--ckpt_path", str(last), "--data.root", str(self.root))
        views = {}
        if self.case.tta != "none":
            self._command(*measure, "--model.tta", self.case.tta)
            metrics = Run(last.parent.parent).results["val"].metrics
            views = {f"{name}_tta": metrics[name] for name in ("accuracy", "f1_macro")}
        self._command(*measure)
        return result(Run(last.parent.parent)) | views

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def _last(self) -> Path | None:
        """Last checkpoint of the newest start that reached the end of an epoch."""
        found = self.folder.glob(f"lightning_logs/version_*/{CHECKPOINTS}/last.ckpt")
        return max(found, key=lambda path: int(path.parent.parent.name.removeprefix("version_")), default=None)

    def _command(self, *args: str) -> None:
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emotion_lightning", *args],
                env=os.environ | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self.lock,),
            )
        if status := self.process.wait():
            raise DataError(f"{args[0]} ended with status {status}; the reason is in {self.folder / 'log.txt'}")


def result(run: Run) -> dict[str, Any]:
    """What a study keeps of a run whose last checkpoint was measured: curves, metrics and each prediction."""
    found = run.results["val"]
    metrics, scores = found.metrics, run.history[MONITOR]
    free = metrics["leak_free"] or {}
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch))
    return {
        "accuracy": metrics["accuracy"],
        "f1_macro": metrics["f1_macro"],
        "leak_free_accuracy": free.get("accuracy"),
        "leak_free_f1_macro": free.get("f1_macro"),
        "ece": metrics["calibration"]["ece"],
        "best_epoch": best,
        "best_f1_macro": scores[best],
        "minutes": sum(run.seconds.values()) / 60,
        "curves": {tag: [round(value, 6) for _, value in sorted(run.history[tag].items())] for tag in CURVES},
        "weights": metrics["weights"],
        "predicted": "".join(DIGITS[label] for label in found.outputs.predicted.tolist()),
        "labels": "".join(DIGITS[label] for label in found.outputs.labels.tolist()),
        "images": metrics["images"],
    }
