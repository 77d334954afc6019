"""Robustness: corrupted copies of the images of a test, classified batch by batch as the images themselves are."""

from statistics import mean
from typing import Any

import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from emotion_lightning.batch import denormalize, normalize
from emotion_lightning.callbacks.data import data_of
from emotion_lightning.data.corruptions import CORRUPTIONS, STRENGTHS, corrupted
from emotion_lightning.data.images.data_uri import data_uri
from emotion_lightning.data.images.sheet import contact_sheet
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.calibration import reliability
from emotion_lightning.evaluation.outputs import EvalOutputs, OutputCollector
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.model.tta import tta_logits

SHEET = 1400
"""Most pixels of the sheet of examples, in width and height."""


class Robustness:
    """Measures the model of a test on corrupted copies of its batches, with the same weights, views and precision.

    Raises:
        UsageError: The data is not that of :class:`EmotionDataModule`, which names its images.
    """

    def __init__(self, trainer: Trainer):
        data = data_of(trainer)
        if data is None:
            raise UsageError("`evaluation.robustness` draws by the names of images, which EmotionDataModule gives")
        self.trainer, self.names, self.sheet = trainer, data.manifest.names, ""
        self.found = {(name, strength): OutputCollector() for name in CORRUPTIONS for strength in STRENGTHS}

    def add(self, model: EmotionClassifier, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Classify every corrupted copy of a batch, of which the images are normalized."""
        images, labels, indices = batch
        pixels = denormalize(images, model.normalization)
        names = [self.names[index] if index >= 0 else "" for index in indices.tolist()]
        self.sheet = self.sheet or _sheet(pixels[:1], names[:1])
        for (name, strength), collector in self.found.items():
            copies = normalize(corrupted(pixels, name, strength, names).float() / 255, model.normalization)
            with self.trainer.precision_plugin.test_step_context():
                logits = tta_logits(model, copies, model.hparams["tta"])
            collector.update(logits, labels, indices)

    def measured(self, model: EmotionClassifier, clean: EvalOutputs) -> dict[str, Any]:
        """What was measured, over all ranks, in plain types.

        Args:
            model: The model, whose temperature calibrates and whose threshold says what is uncertain.
            clean: Its outputs for the images as they are.
        """
        found = {key: _metrics(model, collector.outputs()) for key, collector in self.found.items()}
        of_clean = _metrics(model, clean)
        means = {key: mean(each[key] for each in found.values()) for key in of_clean if of_clean[key] is not None}
        return {
            "n": len(clean.labels),
            "clean": of_clean,
            "corruptions": {
                name: {
                    "unit": corruption.unit,
                    "amounts": corruption.amounts,
                    "strengths": [found[name, strength] for strength in STRENGTHS],
                }
                for name, corruption in CORRUPTIONS.items()
            },
            "mean": means,
            "relative_accuracy": means["accuracy"] / of_clean["accuracy"] if of_clean["accuracy"] else None,
            "sheet": self.sheet,
        }


def _metrics(model: EmotionClassifier, outputs: EvalOutputs) -> dict[str, Any]:
    """Accuracy, calibration error of calibrated answers, and the share that is uncertain if there is a threshold."""
    sure = outputs.scaled(model.temperature).probabilities.amax(dim=1)
    threshold = None if model.threshold is None else model.threshold.probability
    return {
        "accuracy": (outputs.predicted == outputs.labels).double().mean().item(),
        "ece": reliability(outputs.logits, outputs.labels, model.temperature).ece,
        "uncertain": None if threshold is None else (sure < threshold).double().mean().item(),
    }


def _sheet(image: Tensor, names: list[str]) -> str:
    """A row of each corruption of an image, by strength."""
    pictures = torch.cat([corrupted(image, name, strength, names) for name in CORRUPTIONS for strength in STRENGTHS])
    captions = [f"{name} {amount:g}" for name, (_, amounts, _) in CORRUPTIONS.items() for amount in amounts]
    sheet = Image.fromarray(contact_sheet(pictures, captions, 2 * len(STRENGTHS)))
    return data_uri(sheet, SHEET, "JPEG", quality=80)
