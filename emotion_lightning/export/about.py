"""What a program must know of a model besides its weights, as each format writes it."""

import json
from dataclasses import dataclass
from typing import Any

from emotion_lightning.batch import Normalization
from emotion_lightning.inference.predictor import Predictor
from emotion_lightning.model.tta import TTA
from emotion_lightning.runs.provenance import versions


@dataclass(frozen=True)
class About:
    """Everything between a picture and an answer that is not a weight.

    Attributes:
        class_names: Names of the emotions in the order of the outputs.
        side: Side in pixels of the square that pictures are resized to.
        normalization: Mean of red, green and blue in [0, 1] that is subtracted, and what the difference is divided by.
        temperature: What the logits are divided by before the softmax.
        tta: Views that are averaged.
        threshold: Least probability of an answer, with the precision and coverage that it was chosen for; None if
            every picture is answered.
        backbone: timm's name of the network.
        license: License of the weights, if one was stated.
    """

    class_names: list[str]
    side: int
    normalization: Normalization
    temperature: float
    tta: TTA
    threshold: dict[str, float] | None
    backbone: str
    license: str | None

    @classmethod
    def of(cls, predictor: Predictor, license: str | None) -> "About":
        """Gather it from a model."""
        model, threshold = predictor.model, predictor.model.threshold
        return cls(
            class_names=list(model.class_names),
            side=predictor.image_size,
            normalization=model.normalization,
            temperature=model.temperature,
            tta=model.hparams["tta"],
            threshold=None if threshold is None else threshold._asdict(),
            backbone=model.hparams["backbone"],
            license=license,
        )

    def metadata(self) -> dict[str, str]:
        """What the ONNX files hold as metadata; values are JSON but for plain words."""
        found = {
            "class_names": json.dumps(self.class_names),
            "threshold": json.dumps(self.threshold),
            "license": self.license or "not stated",
            "version": str(versions()["emotion_lightning"]),
            "backbone": self.backbone,
            "tta": self.tta,
        }
        numbers = {"side": self.side, "temperature": self.temperature, **self.normalization._asdict()}
        return found | {name: json.dumps(value) for name, value in numbers.items()}

    def image_processor(self) -> dict[str, Any]:
        """Preprocessing as Hugging Face's image processors name it, for those of the class ViTImageProcessor."""
        return {
            "image_processor_type": "ViTImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"height": self.side, "width": self.side},
            "resample": 2,  # bilinear
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.normalization.mean),
            "image_std": list(self.normalization.std),
        }

    def timm_config(self) -> dict[str, Any]:
        """What timm's config.json says of a network besides how it is built."""
        size = (3, self.side, self.side)
        preprocessing = {
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            **self.normalization._asdict(),
        }
        sizes = {"input_size": size, "test_input_size": size, "test_crop_pct": 1.0}
        return {
            "label_names": self.class_names,
            "pretrained_cfg": {"license": self.license, "tag": "", **sizes, **preprocessing},
        }
