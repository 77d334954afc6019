"""What a checkpoint and each exported file answer, all in the same form."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor

from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.export.about import About
from emotion_lightning.export.verification import Answer
from emotion_lightning.inference.predictor import Predictor
from emotion_lightning.model.inputs import as_images
from emotion_lightning.model.tta import tta_logits

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def pixels(pictures: Sequence[Image.Image], side: int) -> Tensor:
    """Resize as evaluation does: uint8 ``(N, 3, side, side)``."""
    return torch.stack([to_tensor(picture.convert("RGB"), side) for picture in pictures])


def images(pictures: Sequence[Image.Image], about: About) -> Tensor:
    """Resize and normalize as evaluation does: float ``(N, 3, side, side)``."""
    return as_images(pixels(pictures, about.side), about.normalization)


def checkpoint_answer(predictor: Predictor) -> Answer:
    """What the checkpoint answers, to whoever asks ``predict`` or Python."""
    return lambda pictures: predictor.probabilities(pixels(pictures, predictor.image_size))


def whole_answer(file: Path) -> Answer:
    """What an ONNX file answers that takes pictures as they are; those of one size and mode are given together."""
    session = open_session(file)

    def answer(pictures: Sequence[Image.Image]) -> Tensor:
        shapes: dict[tuple[tuple[int, int], str], list[int]] = {}
        for place, picture in enumerate(pictures):
            shapes.setdefault((picture.size, picture.mode), []).append(place)
        rows: dict[int, Tensor] = {}
        for (_, mode), places in shapes.items():
            given = np.stack([np.asarray(pictures[place]) for place in places])
            given = given[..., None] if mode == "L" else given
            rows.update(zip(places, _run(session, "pictures", given), strict=True))
        return torch.stack([rows[place] for place in range(len(pictures))])

    return answer


def core_answer(file: Path, about: About) -> Answer:
    """What an ONNX file answers that takes normalized images, made into probabilities as the model does."""
    session = open_session(file)

    def answer(pictures: Sequence[Image.Image]) -> Tensor:
        logits = _run(session, "images", images(pictures, about).numpy())
        return (logits / about.temperature).softmax(dim=1)

    return answer


def program_answer(file: Path, side: int) -> Answer:
    """What a file of torch.export answers that takes pixels."""
    network = torch.export.load(file).module()

    @torch.inference_mode()
    def answer(pictures: Sequence[Image.Image]) -> Tensor:
        probabilities: Tensor = network(pixels(pictures, side))
        return probabilities

    return answer


def timm_answer(folder: Path, about: About) -> Answer:
    """What timm's own network answers that is built and loaded from a folder alone, seen in the model's views."""
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()

    @torch.inference_mode()
    def answer(pictures: Sequence[Image.Image]) -> Tensor:
        logits = tta_logits(network, images(pictures, about), about.tta)
        return (logits / about.temperature).softmax(dim=1)

    return answer


def open_session(file: Path) -> "InferenceSession":
    """Open an ONNX file on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def _run(session: "InferenceSession", name: str, values: "np.typing.NDArray[np.generic]") -> Tensor:
    [found] = session.run(None, {name: values})
    return torch.from_numpy(found)
