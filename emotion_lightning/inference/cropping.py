"""What of a picture a model is given: all of it, or each of its faces where the model knows crops of faces alone."""

import warnings
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple, get_args

from PIL import Image

from emotion_lightning.data.images.typical import TypicalSize
from emotion_lightning.errors import UsageError, check_choice
from emotion_lightning.inference.faces import NEED, FaceDetector, crop
from emotion_lightning.inference.prediction import Box

Detect = Literal["auto", "always", "never"]
"""When faces are looked for: in photographs if the model was trained on crops of faces, in every picture, or never."""

NO_FACE = "no face"
"""Why there is no answer for a picture in which faces were looked for, and none is."""


class Part(NamedTuple):
    """A part of a picture, where in it that is: left, top, width and height in pixels, and how sure a face is."""

    picture: Image.Image
    box: Box
    score: float | None = None


class FaceCropper:
    """Gives a model the faces in a photograph, and a picture of any other kind as it is.

    Args:
        trained_on: How large the model's training images were; None if that is not known.
        detect: In which pictures to look for faces. ``auto`` looks for them in photographs, by
            :meth:`TypicalSize.is_photograph`; where the extra ``face`` is missing, it warns once and gives photographs
            as they are.
        model: File of a YuNet network; by default the one that the extra brings.

    Raises:
        UsageError: ``detect`` is none of these; or the extra is missing and was asked for.
        DataError: ``model`` is no YuNet.
    """

    def __init__(self, trained_on: TypicalSize | None = None, detect: Detect = "auto", model: str | Path | None = None):
        check_choice("face.detect", detect, get_args(Detect))
        self.trained_on, self.detect, self.model = trained_on, detect, model
        self._first = Lock()  # taken by the first thread that warns
        if detect == "always" or (model is not None and detect != "never"):
            self._detector  # noqa: B018  # what is asked for and missing is said now

    def parts(self, picture: Image.Image) -> list[Part]:
        """Return all of a picture, or its faces, the largest first; none where there is no face."""
        whole = [Part(picture, (0, 0, *picture.size))]
        if self.detect != "always" and not self.is_photograph(picture):
            return whole
        if self.detect == "never":
            self._warn(picture, "`face.detect=auto` cuts its faces out")
            return whole
        try:
            detector = self._detector
        except UsageError:
            self._warn(picture, NEED)
            return whole
        return [Part(crop(picture, face), face.box, face.score) for face in detector.find(picture)]

    def is_photograph(self, picture: Image.Image) -> bool:
        """Say whether a picture is a photograph to a model that knows crops of faces."""
        return self.trained_on is not None and self.trained_on.is_photograph(*picture.size)

    def _warn(self, picture: Image.Image, advice: str) -> None:
        if self.trained_on is not None and self._first.acquire(blocking=False):
            warnings.warn(
                f"a picture of {picture.width} x {picture.height} pixels seems to be a photograph, and the model was "
                f"trained on crops of faces (of {self.trained_on.side:.0f} pixels): its answers for photographs mean "
                f"little; {advice}",
                stacklevel=2,
            )

    @cached_property
    def _detector(self) -> FaceDetector:
        return FaceDetector(self.model)
