"""A trained model that answers: pictures in, calibrated probabilities by class out."""

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from math import isnan
from pathlib import Path
from threading import Semaphore
from typing import Any, NamedTuple, get_args, overload

import torch
from torch import Tensor

from emotion_lightning.data.images.decode import UnreadableImage, to_tensor
from emotion_lightning.data.images.typical import TypicalSize
from emotion_lightning.errors import DataError, UsageError, check_choice, check_least
from emotion_lightning.evaluation.selective import UNCERTAIN
from emotion_lightning.inference.cropping import NO_FACE, Detect, FaceCropper
from emotion_lightning.inference.pictures import Picture, as_picture, is_picture
from emotion_lightning.inference.prediction import Box, Prediction, Predictions
from emotion_lightning.model.inputs import as_images
from emotion_lightning.model.network import EmotionNetwork
from emotion_lightning.model.tta import TTA
from emotion_lightning.runs.config import MODEL, load_checkpoint, of_checkpoint

DEVICES = ("cuda", "mps", "cpu")
"""Where a model answers, the first that the machine has."""

READERS = 4
"""Most batches that are read while the model is at work; PIL and NumPy release Python's lock for most of that."""

READ_AHEAD = 2
"""Batches that wait at most to be read, which bounds the memory."""


class Read(NamedTuple):
    """A picture as the model takes it.

    Attributes:
        path: Its file, if it was given as one.
        pixels: uint8 ``(3, image_size, image_size)``; None if it cannot be read.
        box: Left, top, width and height of the part of it that this is.
        error: Why there are no pixels.
        part: Place of this part among those of its picture.
        score: How sure the detector is of the face that this is.
    """

    path: str | None
    pixels: Tensor | None = None
    box: Box | None = None
    error: str | None = None
    part: int = 0
    score: float | None = None


class Predictor:
    """Answers for pictures with a trained model, from several threads at once if need be.

    Args:
        model: A trained classifier; it is put into evaluation mode.
        image_size: Side in pixels of the square that pictures are resized to, as the model was trained.
        device: Such as ``cuda:1`` or ``cpu``; by default a GPU if there is one.
        tta: Views that are averaged: none, flip or tencrop; by default as the model was trained.
        cropper: What gives the model the faces of a photograph; by default pictures are taken as they are.

    Attributes:
        class_names: Names of the emotions.
        threshold: Probability below which an answer is "uncertain"; None where the model has none, or one that was
            chosen with another ``tta``, of which a warning tells.

    Raises:
        UsageError: There is no such device, or no such ``tta``.
    """

    def __init__(
        self,
        model: EmotionNetwork,
        image_size: int,
        device: str | torch.device | None = None,
        tta: TTA | None = None,
        cropper: FaceCropper | None = None,
    ):
        self.device, self.tta = _device(device), tta or model.hparams["tta"]
        check_choice("tta", self.tta, get_args(TTA))
        self.model, self.image_size = model.eval().to(self.device), image_size
        self.class_names = list(model.class_names)
        self.cropper = cropper or FaceCropper()
        self.threshold = model.threshold
        if self.threshold is not None and model.temperature_tta not in (None, self.tta):
            warnings.warn(
                f"the model's threshold was chosen for `tta={model.temperature_tta}`, and its precision does not hold "
                f"for `tta={self.tta}`: no answer will be uncertain; leave `tta` out to have the threshold",
                stacklevel=2,
            )
            self.threshold = None

    @overload
    def predict(self, x: Picture, batch_size: int = 32) -> Prediction: ...  # type: ignore[overload-overlap]  # a str
    @overload
    def predict(self, x: Iterable[Picture], batch_size: int = 32) -> Predictions: ...
    def predict(self, x: Any, batch_size: int = 32) -> Prediction | Predictions:
        """Answer for one picture, or for each of several.

        Args:
            x: A path, a PIL image, an array ``(H, W, 3)`` or ``(H, W)`` or a tensor ``(3, H, W)`` or ``(1, H, W)`` of
                uint8 pixels; or a list or iterator of them, or a batch of such pixels.
            batch_size: Pictures that the model is given at a time.

        Of a photograph with several faces, the answer for the one picture is that for the largest; of several pictures,
        each face has an answer of its own.

        Raises:
            DataError: The one picture cannot be read or has no face; of several it becomes an answer with an ``error``.
        """
        if isinstance(x, Iterable) and not is_picture(x):
            return Predictions(self.stream(x, batch_size))
        [answer] = self._answers(self._read(x)[:1])
        if answer.error is not None:
            raise DataError(answer.error if answer.path is None else f"{answer.path}: {answer.error}")
        return answer

    def stream(self, items: Iterable[Picture | UnreadableImage], batch_size: int = 32) -> Iterator[Prediction]:
        """Answer for each of ``items`` in their order, as they come: memory does not grow with their number.

        Args:
            items: Pictures as :meth:`predict` takes them; those that cannot be read become answers with an ``error``,
                and so do errors in place of pictures.
            batch_size: Pictures that the model is given at a time.

        Raises:
            UsageError: ``items`` is one picture.
        """
        check_least("batch_size", batch_size, 1)
        if is_picture(items):
            raise UsageError("stream takes several pictures, and was given one: give a list, as in [picture]")
        return self._stream(map(self._taken, items), batch_size)

    def _stream(self, coming: Iterator[str | Path | list[Read]], batch_size: int) -> Iterator[Prediction]:
        """Read and answer each batch in one thread, several of them side by side."""
        at_work = _models_at_work(self.device)
        threads, turn = max(at_work, min(READERS, _cores())), Semaphore(at_work)
        pool, ahead = ThreadPoolExecutor(threads), deque[Future[list[Prediction]]]()

        def answered(batch: Sequence[str | Path | list[Read]]) -> list[Prediction]:
            parts = [part for picture in batch for part in self._read(picture)]
            found = list[Prediction]()
            for start in range(0, len(parts), batch_size):  # pictures with many faces make several
                with turn:
                    found += self._answers(parts[start : start + batch_size])
            return found

        try:
            while batch := list(islice(coming, batch_size)):
                ahead.append(pool.submit(answered, batch))
                if len(ahead) >= threads + READ_AHEAD:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)  # also where nobody asks for the rest

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor) -> Tensor:
        """Turn pixels into calibrated probabilities, float32 ``(B, classes)`` on the CPU.

        Args:
            pixels: uint8 ``(B, 3, image_size, image_size)``, RGB.

        Raises:
            DataError: They have another type or shape.
        """
        if pixels.is_floating_point():
            raise DataError(f"pixels are {pixels.dtype}: the model takes whole numbers from 0 to 255")
        images = as_images(pixels.to(self.device, non_blocking=True), self.model.normalization)
        return self.model.probabilities(images, self.tta).cpu()

    def _taken(self, x: Picture | UnreadableImage) -> str | Path | list[Read]:
        """Read a picture in memory at once, as who gives it may fill the same object with the next; a file can wait."""
        return x if isinstance(x, str | Path) else self._read(x)

    def _read(self, x: Picture | UnreadableImage | list[Read]) -> list[Read]:
        """Return each part of a picture that is answered for, or why there is none."""
        if isinstance(x, list):
            return x
        if isinstance(x, UnreadableImage):
            return [Read(str(x.path), error=x.reason)]
        path = str(x) if isinstance(x, str | Path) else None
        try:
            picture = as_picture(x)
        except UnreadableImage as error:
            return [Read(path, error=error.reason)]
        except DataError as error:
            return [Read(path, error=str(error).removeprefix(f"{path}: "))]
        parts = self.cropper.parts(picture)
        found = [
            Read(path, to_tensor(part.picture, self.image_size), part.box, part=place, score=part.score)
            for place, part in enumerate(parts)
        ]
        return found or [Read(path, error=NO_FACE)]

    def _answers(self, pictures: Sequence[Read]) -> list[Prediction]:
        pixels = [picture.pixels for picture in pictures if picture.pixels is not None]
        rows = iter(self.probabilities(torch.stack(pixels)).tolist() if pixels else ())
        return [
            Prediction(error=picture.error, path=picture.path)
            if picture.pixels is None
            else self._answer(picture, next(rows))
            for picture in pictures
        ]

    def _answer(self, picture: Read, row: list[float]) -> Prediction:
        where: Any = {"path": picture.path, "box": picture.box, "part": picture.part, "score": picture.score}
        if any(map(isnan, row)):
            diverged = "the model gives no numbers, as its weights have diverged"
            return Prediction(error=diverged, **where)
        probability = max(row)
        certain = self.threshold is None or probability >= self.threshold.probability
        label = self.class_names[row.index(probability)] if certain else UNCERTAIN
        probabilities = dict(zip(self.class_names, row, strict=True))
        return Prediction(label, probability, probabilities, **where)


def load(
    ckpt_path: str | Path,
    device: str | torch.device | None = None,
    tta: TTA | None = None,
    detect: Detect = "auto",
    face_model: str | Path | None = None,
) -> Predictor:
    """Load the model of a checkpoint to answer with, without a network and without running code from the file.

    Its weights are the averaged ones, which were validated, and are computed with in float32.

    Args:
        ckpt_path: Checkpoint of a run, such as its best.ckpt.
        device: Such as ``cuda:1`` or ``cpu``; by default a GPU if there is one.
        tta: Views that are averaged: none, flip or tencrop; by default as the model was trained.
        detect: Whether faces are looked for: ``auto``, in photographs if the model was trained on crops of faces;
            ``always``; or ``never``. See :class:`FaceCropper`.
        face_model: File of a YuNet network; by default the one that the extra ``face`` brings.

    Raises:
        DataError: The file is missing or damaged, or not a checkpoint of a run of this package.
        UsageError: There is no such device, or no such ``tta``.
    """
    where = _device(device)
    checkpoint = load_checkpoint(os.path.expanduser(ckpt_path), MODEL)
    with of_checkpoint(ckpt_path):
        model = EmotionNetwork.restored(checkpoint)
        trained_on, image_size = _trained_on(checkpoint), _image_size(checkpoint, model)
        return Predictor(model, image_size, where, tta, FaceCropper(trained_on, detect, face_model))


def _trained_on(checkpoint: Mapping[str, Any]) -> TypicalSize | None:
    found = checkpoint.get("EmotionDataModule", {}).get("typical_size")
    return None if found is None else TypicalSize(**found)


def _image_size(checkpoint: Mapping[str, Any], model: EmotionNetwork) -> int:
    """Side of the pictures of the checkpoint's run; without its data, the side that the network is made for."""
    of_data = checkpoint.get("datamodule_hyper_parameters", {}).get("image_size")
    own: Any = getattr(model.backbone.body, "pretrained_cfg", None)
    return int(of_data or checkpoint["hyper_parameters"].get("input_size") or own["input_size"][-1])


def _device(name: str | torch.device | None) -> torch.device:
    """Return the device of this name, tried; without one, the first of ``DEVICES`` that the machine has."""
    if name is None:
        return next(device for device in map(torch.device, DEVICES) if _works(device))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"`device` {name} is none: give {', '.join(DEVICES)} or such as cuda:1") from error
    if not _works(device):
        raise UsageError(f"`device` {name}: this machine has none, or torch was installed without it")
    return device


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _models_at_work(device: torch.device) -> int:
    """Batches that a model answers at the same time: as many as there are cores for, with torch's threads for each."""
    return max(_cores() // torch.get_num_threads(), 1) if device.type == "cpu" else 1


def _works(device: torch.device) -> bool:
    try:
        return torch.zeros(1, device=device).item() == 0
    except (RuntimeError, AssertionError):  # what torch raises depends on the device
        return False
