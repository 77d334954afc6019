"""Drawing in face units, and the geometry and colors that it takes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

INK: Color = (26, 18, 18)
WHITE: Color = (242, 240, 234)


@dataclass(frozen=True)
class Pose:
    """Where a face lies on the picture: lengths in pixels of the supersampled picture, angles in radians.

    Attributes:
        x: column of the middle of the head.
        y: row of the middle of the head.
        scale: pixels per face unit.
        roll: rotation in the plane of the picture.
        yaw: how far the head is turned aside, in face units that the nose moves.
        nod: how far the head is turned down, in face units that the nose moves.
    """

    x: float
    y: float
    scale: float
    roll: float
    yaw: float
    nod: float

    def place(self, point: Point) -> Point:
        """Pixel of a point of the face. The head is a ball: its middle moves most when it turns."""
        x, y = point
        depth = max(0.0, 1.0 - x * x - y * y)
        x, y = x + self.yaw * depth, y + self.nod * depth
        cos, sin = math.cos(self.roll) * self.scale, math.sin(self.roll) * self.scale
        return self.x + x * cos - y * sin, self.y + x * sin + y * cos


def draw_pose(rng: Random, canvas: int) -> Pose:
    """Draw a nearly frontal pose that fills most of a picture of ``canvas`` pixels."""
    return Pose(
        x=canvas * rng.uniform(0.42, 0.58),
        y=canvas * rng.uniform(0.43, 0.59),
        scale=canvas * rng.uniform(0.42, 0.54),
        roll=math.radians(rng.uniform(-12, 12)),
        yaw=rng.uniform(-0.12, 0.12),
        nod=rng.uniform(-0.08, 0.08),
    )


class Pen:
    """Draws in face units on a picture."""

    def __init__(self, image: Image.Image, pose: Pose) -> None:
        self._draw = ImageDraw.Draw(image)
        self._pose = pose

    def fill(self, outline: Iterable[Point], color: Color) -> None:
        """Fill the polygon within ``outline``."""
        self._draw.polygon([self._pose.place(point) for point in outline], fill=color)

    def line(self, points: Iterable[Point], color: Color, width: float) -> None:
        """Draw a line ``width`` face units wide through ``points``."""
        pixels = max(1, round(width * self._pose.scale))
        self._draw.line([self._pose.place(point) for point in points], fill=color, width=pixels, joint="curve")


def steps(start: float, stop: float, count: int) -> list[float]:
    """``count`` evenly spaced numbers, both ends included."""
    return [start + (stop - start) * step / (count - 1) for step in range(count)]


def ellipse(x: float, y: float, width: float, height: float) -> list[Point]:
    """Outline of an ellipse around ``(x, y)`` with the given half axes."""
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in steps(0, 2 * math.pi, 20)]


def clip(outline: Sequence[Point], upper: Sequence[Point], lower: Sequence[Point]) -> list[Point]:
    """Push the points of ``outline`` between two lines that run from left to right."""
    left, right = upper[0][0], upper[-1][0]
    nearest = [round((x - left) / (right - left) * (len(upper) - 1)) for x, _ in outline]
    return [(x, min(max(y, upper[at][1]), lower[at][1])) for (x, y), at in zip(outline, nearest, strict=True)]


def mix(one: Color, other: Color, share: float) -> Color:
    """Color ``share`` of the way from ``one`` to ``other``."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def between_two(rng: Random, colors: Sequence[Color]) -> Color:
    """Color somewhere between two neighbors."""
    position = rng.randrange(len(colors) - 1)
    return mix(colors[position], colors[position + 1], rng.random())


def any_color(rng: Random) -> Color:
    """Any color but the very dark and the very bright."""
    return rng.randint(25, 235), rng.randint(25, 235), rng.randint(25, 235)
