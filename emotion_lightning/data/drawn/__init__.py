"""Built-in data: cartoon faces of six emotions, drawn on demand, so that everything runs without a download.

A face is drawn in *face units*: the origin is the middle of the head, x points right, y points down, and the head
reaches about 0.8 to either side and 1 up and down. `Pose` alone knows where that lands on the picture. Only
`Expression` depends on the emotion; identity, pose, light, background and what covers the face carry no hint of it.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import Image

from emotion_lightning.data.drawn.drawing import Pen, draw_pose
from emotion_lightning.data.drawn.features import draw_person
from emotion_lightning.data.drawn.person import EMOTIONS, draw_expression, draw_identity
from emotion_lightning.data.drawn.scene import COVERS, background, photograph
from emotion_lightning.seeding import derive_seed

__all__ = ["EMOTIONS", "DrawnFaces", "draw_face"]

# Drawn this much larger and then reduced: Pillow draws polygons with hard edges.
_SUPERSAMPLING = 2

# How often something covers a part of the face.
_COVERED_SHARE = 0.06


def draw_face(emotion: str, seed: int, index: int, size: int = 96) -> Image.Image:
    """Draw one face, always the same for the same arguments.

    Args:
        emotion: one of `EMOTIONS`.
        seed: names the data set.
        index: position in the data set; every index is another person in another light.
        size: width and height in pixels, at least 16.

    Returns:
        An RGB picture of ``size`` x ``size`` pixels.

    Raises:
        ValueError: ``emotion`` is not one of `EMOTIONS`.
    """
    if emotion not in EMOTIONS:
        raise ValueError(f"unknown emotion {emotion!r}; the drawn faces know {', '.join(EMOTIONS)}")
    rng = Random(derive_seed(seed, "face", index, emotion))
    canvas = size * _SUPERSAMPLING
    image = background(rng, canvas)
    pen = Pen(image, draw_pose(rng, canvas))
    who, mood = draw_identity(rng), draw_expression(rng, emotion)
    draw_person(pen, rng, who, mood)
    if rng.random() < _COVERED_SHARE:
        rng.choice(COVERS)(pen, rng, who)
    return photograph(rng, image.reduce(_SUPERSAMPLING))


@dataclass(frozen=True)
class DrawnFaces:
    """A data set of drawn faces, each drawn when it is first asked for.

    Attributes:
        seed: names the data set.
        labels: for each sample, the position of its emotion in `EMOTIONS`.
        size: width and height of a picture in pixels.
    """

    seed: int
    labels: tuple[int, ...]
    size: int = 96

    def __call__(self, index: int) -> Image.Image:
        """Draw sample ``index``."""
        return _remembered(EMOTIONS[self.labels[index]], self.seed, index, self.size)


_remembered = lru_cache(maxsize=8192)(draw_face)  # a face is asked for in every epoch; 28 kB each at 96 pixels
