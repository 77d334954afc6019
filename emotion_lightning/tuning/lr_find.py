"""The learning-rate range test (Smith, 2017) of the classifier: a hint, not a search.

Lightning's ``Tuner.lr_find`` drops all callbacks, so that all stages would train, and raises the rates of all groups.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from emotion_lightning.callbacks import Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.runs.files import atomic_write, ensure_writable
from emotion_lightning.tuning.short_fit import short_fit

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0

SMOOTHING = 0.8
"""Weight of the past in the moving average of the loss."""

DIVERGED = 4.0
"""How many times its least value the smoothed loss is when the test stops."""


class RangeTest(Callback):
    """Raises the classifier's learning rate exponentially from step to step, and notes the smoothed loss.

    Args:
        rates: Learning rate of each optimizer step.
    """

    def __init__(self, rates: Sequence[float]):
        self.rates = rates
        self.losses: list[float] = []
        self._average = self._loss = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the rate and momentum of this step, whatever OneCycle has set."""
        optimizer = trainer.optimizers[0]
        for group in optimizer.param_groups:
            group["lr"], group["betas"] = self.rates[len(self.losses)], optimizer.defaults["betas"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss after each optimizer step, bias-corrected; stop where it diverges."""
        assert isinstance(outputs, dict)
        self._loss += float(outputs["loss"])  # Lightning has divided it by the number of accumulated batches
        if trainer.global_step == len(self.losses):
            return
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * self._loss
        self.losses.append(self._average / (1 - SMOOTHING ** (len(self.losses) + 1)))
        self._loss = 0.0
        trainer.should_stop = not math.isfinite(self.losses[-1]) or self.losses[-1] > DIVERGED * min(self.losses)

    @property
    def suggestion(self) -> float | None:
        """Rate at which the smoothed loss falls most steeply over the logarithm of the rate; None if it never falls."""
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        if len(finite) < 3:
            return None
        slopes = np.gradient(finite, np.log(self.rates[: len(finite)]))
        return float(self.rates[int(slopes.argmin())]) if slopes.min() < 0 else None


def lr_find(model: EmotionClassifier, data: EmotionDataModule, options: Mapping[str, Any]) -> str:
    """Run the test with the classifier alone, draw ``lr_find/lr_find.png``, and say what it suggests.

    Args:
        model: The model; in the end it has the weights that it had.
        data: The data.
        options: The trainer's options. Callbacks among them are left out.

    Raises:
        DataError: The folder for the picture cannot be written; said before the test.
    """
    picture = Path(options.get("default_root_dir") or ".") / "lr_find" / "lr_find.png"
    ensure_writable(picture.parent)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    test = RangeTest(np.geomspace(LOWEST, HIGHEST, STEPS).tolist())
    ends = {"max_epochs": -1, "max_steps": STEPS, "max_time": None, "min_epochs": None, "min_steps": None}
    changes = ends | {"limit_val_batches": 0, "num_sanity_val_steps": 0, "overfit_batches": 0.0}
    short_fit(model, data, options, [Unfreeze({0: "classifier"}), test], **changes)
    model.load_state_dict(weights)
    _draw(test, picture)
    found, configured = test.suggestion, model.hparams["lr_classifier"]
    hint = "nothing, as the loss never falls" if found is None else f"`lr_classifier={found:.1e}`"
    return (
        f"Learning rate of the classifier, by {len(test.losses)} steps from {LOWEST:g} to {HIGHEST:g}: configured "
        f"{configured:.1e}, suggested {hint}\n"
        "This is a hint from one noisy pass: compare it with the recipe's rate. It says nothing about the backbone's.\n"
        f"Wrote {picture}"
    )


def _draw(test: RangeTest, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate of the classifier", ylabel="smoothed training loss")
    axes.plot(test.rates[: len(test.losses)], test.losses)
    if test.suggestion is not None:
        axes.axvline(test.suggestion, linestyle="--", label=f"steepest descent: {test.suggestion:.1e}")
        axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
