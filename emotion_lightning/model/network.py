"""What answers once training is over: backbone, classifier, and what makes probabilities of their logits."""

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from emotion_lightning.batch import Normalization
from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.selective import Threshold
from emotion_lightning.model.backbone import Backbone
from emotion_lightning.model.finite import refuse_nonfinite
from emotion_lightning.model.head import build_head
from emotion_lightning.model.inputs import as_images
from emotion_lightning.model.tta import TTA, tta_logits
from emotion_lightning.runs.config import BEFORE_A_CHOICE


class EmotionNetwork(nn.Module):
    """A timm backbone and a classifier on it; :class:`EmotionClassifier` is the same with all that trains it.

    Attributes:
        hparams: Hyper-parameters of :class:`EmotionClassifier`.
        class_names: Names of the emotions in the order of the logits.
        normalization: What pixels are normalized by.
        temperature: What logits are divided by before they are probabilities.
        temperature_tta: Views with which it was fitted; None until it is.
        threshold: Below which an answer is "uncertain"; None: it always answers.
    """

    hparams: Any
    class_names: list[str]
    temperature: float
    temperature_tta: str | None
    threshold: Threshold | None

    def build(self, weights: Path | None = None) -> None:
        """Build what ``hparams`` say, with random weights but for those of the backbone in a file ``weights``.

        Raises:
            DataError: The file does not hold the backbone's weights.
            UsageError: An unknown backbone, or one that takes no images of that size.
        """
        h = self.hparams
        self.class_names = list(h["class_names"])
        self.backbone = Backbone(h["backbone"], weights, h["batch_norm"], h["input_size"])
        self.classifier = build_head(
            h["head"], self.backbone.num_features, len(self.class_names), h["hidden_features"], h["dropout_rate"]
        )
        own = self.backbone.normalization
        self._normalize_by(own.mean if h["mean"] is None else h["mean"], own.std if h["std"] is None else h["std"])
        self.temperature, self.temperature_tta, self.threshold = 1.0, None, None

    @classmethod
    def restored(cls, checkpoint: Mapping[str, Any]) -> Self:
        """Restore the averaged weights of a checkpoint, in evaluation mode and float32.

        Raises:
            DataError: They are not those of the network that its hyper-parameters name.
        """
        network = cls()
        network.hparams = BEFORE_A_CHOICE | checkpoint["hyper_parameters"]
        network.build()
        network.take_up(checkpoint)
        try:
            network.load_state_dict(checkpoint["state_dict"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise DataError("the checkpoint's weights are not those of the network that it names") from error
        return network.to(memory_format=torch.channels_last).eval()

    def take_up(self, checkpoint: Mapping[str, Any]) -> None:
        """Take from a checkpoint its temperature, its threshold and what its images were normalized by.

        Raises:
            DataError: The temperature is no number above 0, or a weight is not finite.
        """
        refuse_nonfinite(checkpoint.get("state_dict", {}))
        hparams = BEFORE_A_CHOICE | checkpoint["hyper_parameters"]
        self._normalize_by(hparams["mean"], hparams["std"])
        calibration = checkpoint.get("calibration", {})
        self.temperature = calibration.get("temperature", 1.0)
        if not (isinstance(self.temperature, int | float) and 0 < self.temperature < inf):
            raise DataError(f"the checkpoint's temperature is {self.temperature}, and logits are divided by it")
        self.temperature_tta = calibration.get("tta")
        threshold = calibration.get("threshold")  # which version 0.1 did not have
        self.threshold = None if threshold is None else Threshold(**{k: float(v) for k, v in threshold.items()})

    def forward(self, images: Tensor) -> Tensor:
        """Turn images ``(B, 3, H, W)``, normalized floats or uint8 pixels, into logits ``(B, classes)``.

        In training mode a batch has at least two images, as the classifier's BatchNorm needs them.

        Raises:
            DataError: The images have another shape.
        """
        weights = next(self.parameters())  # 16-true and bf16-true convert them, but not images made on the device
        images = as_images(images, self.normalization).to(weights.dtype, memory_format=torch.channels_last)
        logits: Tensor = self.classifier(self.backbone(images))
        return logits

    def probabilities(self, images: Tensor, tta: TTA) -> Tensor:
        """Turn normalized images ``(B, 3, H, W)`` into calibrated probabilities float32 ``(B, classes)``."""
        return (tta_logits(self, images, tta) / self.temperature).softmax(dim=1)

    def _normalize_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep both for this model, and as hyper-parameters for its checkpoints."""
        self.normalization = Normalization(tuple(mean), tuple(std))
        self.hparams.update(mean=list(mean), std=list(std))
