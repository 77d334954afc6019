"""Built-in data: cartoon faces of six emotions, drawn on demand, so that everything runs without a download.

A face is drawn in *face units*: the origin is the middle of the head, x points right, y points down, and the head
reaches about 0.8 to either side and 1 up and down. `Pose` alone knows where that lands on the picture. Only
`Expression` depends on the emotion; identity, pose, light, background and what covers the face carry no hint of it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from emotion_lightning.seeding import derive_seed

EMOTIONS = ("angry", "fearful", "happy", "neutral", "sad", "surprised")

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Drawn this much larger and then reduced: Pillow draws polygons with hard edges.
_SUPERSAMPLING = 2

# How strongly an emotion shows. The weak ones pass for neutral, as some do in any labelled set.
_WEAK_SHARE = 0.04
_WEAK_INTENSITY = (0.0, 0.5)
_CLEAR_INTENSITY = (0.75, 1.0)

# How often something covers a part of the face, and how often a picture has no colour.
_COVERED_SHARE = 0.06
_GREY_SHARE = 0.15

_SKINS: tuple[Colour, ...] = ((92, 58, 40), (141, 91, 62), (190, 134, 96), (226, 178, 142), (247, 212, 186))
_HAIRS: tuple[Colour, ...] = ((30, 25, 24), (74, 48, 32), (128, 82, 46), (196, 152, 86), (158, 70, 40), (188, 188, 188))
_IRISES: tuple[Colour, ...] = ((66, 40, 24), (104, 72, 38), (70, 104, 66), (72, 116, 158), (96, 104, 112))
_INK: Colour = (26, 18, 18)
_WHITE: Colour = (242, 240, 234)
_MOUTH_INSIDE: Colour = (74, 20, 24)
_TONGUE: Colour = (190, 82, 84)

# Row of the eyes, in face units.
_EYE_Y = -0.1


@dataclass(frozen=True)
class Expression:
    """What the muscles of a face do; lengths in face units.

    Attributes:
        brow_height: gap between eye and brow.
        brow_tilt: how far the inner end of a brow is above its outer end (negative: a frown).
        brow_arch: how far the middle of a brow is above its ends.
        eye_open: distance from the middle of the eye to its upper lid.
        eye_tilt: how far the outer corner of an eye droops below the inner one.
        squint: share of the lower half of the eye that a raised cheek hides, in [0, 1].
        mouth_width: half the distance between the corners of the mouth.
        mouth_open: distance between the lips.
        smile: how far the corners are above the middle of the mouth (negative: turned down).
        teeth: share of an open mouth that the teeth fill, in [0, 1].
    """

    brow_height: float
    brow_tilt: float
    brow_arch: float
    eye_open: float
    eye_tilt: float
    squint: float
    mouth_width: float
    mouth_open: float
    smile: float
    teeth: float


# The range of each parameter when an emotion shows in full, one column per emotion in the order of EMOTIONS.
# fmt: off
_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    #               angry           fearful         happy           neutral         sad             surprised
    "brow_height": (( 0.14,  0.20), ( 0.32,  0.42), ( 0.26,  0.34), ( 0.24,  0.31), ( 0.24,  0.34), ( 0.42,  0.52)),
    "brow_tilt":   ((-0.36, -0.24), ( 0.16,  0.28), (-0.04,  0.04), (-0.03,  0.05), ( 0.22,  0.36), (-0.05,  0.04)),
    "brow_arch":   ((-0.01,  0.04), (-0.02,  0.04), ( 0.07,  0.13), ( 0.02,  0.07), (-0.03,  0.03), ( 0.12,  0.20)),
    "eye_open":    (( 0.08,  0.13), ( 0.22,  0.29), ( 0.10,  0.15), ( 0.13,  0.18), ( 0.06,  0.10), ( 0.23,  0.30)),
    "eye_tilt":    ((-0.08, -0.02), ( 0.00,  0.05), (-0.02,  0.03), (-0.02,  0.03), ( 0.04,  0.10), (-0.02,  0.02)),
    "squint":      (( 0.10,  0.40), ( 0.00,  0.10), ( 0.50,  1.00), ( 0.00,  0.30), ( 0.00,  0.30), ( 0.00,  0.10)),
    "mouth_width": (( 0.30,  0.42), ( 0.38,  0.50), ( 0.44,  0.56), ( 0.28,  0.38), ( 0.28,  0.38), ( 0.18,  0.26)),
    "mouth_open":  ((-0.06,  0.24), ( 0.16,  0.32), ( 0.04,  0.38), (-0.08,  0.02), (-0.08,  0.02), ( 0.36,  0.52)),
    "smile":       ((-0.18, -0.08), (-0.16, -0.05), ( 0.22,  0.34), (-0.03,  0.04), (-0.34, -0.20), (-0.03,  0.03)),
    "teeth":       (( 0.70,  1.00), ( 0.30,  0.90), ( 0.30,  0.80), ( 0.00,  0.50), ( 0.00,  0.50), ( 0.00,  0.20)),
}
# fmt: on


@dataclass(frozen=True)
class Identity:
    """Who the face belongs to; lengths in face units.

    The chin is narrower than the temples by the share ``jaw``; ``beard`` is how far the cheeks take the colour of the
    hair, in [0, 1]; ``mouth_y`` is the row of the mouth.
    """

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cloth: Colour
    hairstyle: str
    head_width: float
    jaw: float
    eye_gap: float
    eye_width: float
    brow_width: float
    nose_width: float
    lip_height: float
    mouth_y: float
    beard: float
    glasses: bool
    wrinkled: bool

    @property
    def shade(self) -> Colour:
        """Skin in shadow: nose, ears, wrinkles."""
        return _mix(self.skin, _INK, 0.3)


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


class Pen:
    """Draws in face units on a picture."""

    def __init__(self, image: Image.Image, pose: Pose) -> None:
        self._draw = ImageDraw.Draw(image)
        self._pose = pose

    def fill(self, outline: Iterable[Point], colour: Colour) -> None:
        """Fill the polygon within ``outline``."""
        self._draw.polygon([self._pose.place(point) for point in outline], fill=colour)

    def line(self, points: Iterable[Point], colour: Colour, width: float) -> None:
        """Draw a line ``width`` face units wide through ``points``."""
        pixels = max(1, round(width * self._pose.scale))
        self._draw.line([self._pose.place(point) for point in points], fill=colour, width=pixels, joint="curve")


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
    image = _background(rng, canvas)
    pen = Pen(image, _pose(rng, canvas))
    who, mood = _identity(rng), _expression(rng, emotion)
    _draw_head(pen, who)
    _draw_mouth(pen, who, mood)
    _draw_nose(pen, who)
    for side in (-1, 1):
        _draw_eye(pen, who, mood, side)
        _draw_brow(pen, who, mood, side)
    if who.glasses:
        _draw_glasses(pen, who)
    _draw_hair(pen, rng, who)
    if rng.random() < _COVERED_SHARE:
        rng.choice(_COVERS)(pen, rng, who)
    return _photograph(rng, image.reduce(_SUPERSAMPLING))


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


# What is drawn by lot.


def _expression(rng: Random, emotion: str) -> Expression:
    """Draw an expression: the neutral face, moved towards the emotion by an intensity that the picture draws."""
    column, rest = EMOTIONS.index(emotion), EMOTIONS.index("neutral")
    intensity = rng.uniform(*(_WEAK_INTENSITY if rng.random() < _WEAK_SHARE else _CLEAR_INTENSITY))
    values = {}
    for field in fields(Expression):
        ranges = _RANGES[field.name]
        relaxed, full = rng.uniform(*ranges[rest]), rng.uniform(*ranges[column])
        values[field.name] = relaxed + intensity * (full - relaxed)
    return Expression(**values)


def _identity(rng: Random) -> Identity:
    """Draw a person."""
    skin = _between(rng, _SKINS)
    return Identity(
        skin=skin,
        hair=_between(rng, _HAIRS),
        iris=_between(rng, _IRISES),
        lips=_mix(skin, (176, 48, 60), rng.uniform(0.25, 0.7)),
        cloth=_any_colour(rng),
        hairstyle=rng.choice(("bald", "short", "short", "fringe", "long", "long", "curly", "hat", "scarf")),
        head_width=rng.uniform(0.74, 0.88),
        jaw=rng.uniform(0.05, 0.3),
        eye_gap=rng.uniform(0.36, 0.41),
        eye_width=rng.uniform(0.24, 0.29),
        brow_width=rng.uniform(0.09, 0.14),
        nose_width=rng.uniform(0.07, 0.13),
        lip_height=rng.uniform(0.04, 0.08),
        mouth_y=rng.uniform(0.5, 0.58),
        beard=rng.choice((0.0, 0.0, 0.0, 0.35, 0.8)),
        glasses=rng.random() < 0.15,
        wrinkled=rng.random() < 0.2,
    )


def _pose(rng: Random, canvas: int) -> Pose:
    """Draw a nearly frontal pose that fills most of a picture of ``canvas`` pixels."""
    return Pose(
        x=canvas * rng.uniform(0.42, 0.58),
        y=canvas * rng.uniform(0.43, 0.59),
        scale=canvas * rng.uniform(0.42, 0.54),
        roll=math.radians(rng.uniform(-12, 12)),
        yaw=rng.uniform(-0.12, 0.12),
        nod=rng.uniform(-0.08, 0.08),
    )


# The head.


def _draw_head(pen: Pen, who: Identity) -> None:
    """Draw everything behind the features: hair at the back, neck and shoulders, ears, face, beard, wrinkles."""
    if who.hairstyle in ("long", "scarf"):
        colour = who.cloth if who.hairstyle == "scarf" else who.hair
        pen.fill(_ellipse(0, 0.1, who.head_width + 0.2, 1.2), colour)
    pen.fill(((-1.1, 2), (-0.95, 1.3), (-0.3, 1.05), (0.3, 1.05), (0.95, 1.3), (1.1, 2)), who.cloth)
    pen.fill(((-0.3, 0.6), (0.3, 0.6), (0.32, 1.12), (0, 1.25), (-0.32, 1.12)), who.shade)
    for side in (-1, 1):
        pen.fill(_ellipse(side * who.head_width, 0.05, 0.12, 0.2), who.shade)
    pen.fill(_face_outline(who, 0, 2 * math.pi), who.skin)
    if who.beard:
        pen.fill(_face_outline(who, -0.05, math.pi + 0.05), _mix(who.skin, who.hair, who.beard))
        pen.fill(_ellipse(0, 0.08, who.head_width * 0.72, 0.32), who.skin)
    if who.wrinkled:
        for y in (-0.62, -0.71):
            pen.line(((-0.3, y + 0.02), (0, y), (0.3, y + 0.02)), who.shade, 0.02)
        for side in (-1, 1):
            pen.line(((side * 0.24, 0.34), (side * 0.42, 0.5)), who.shade, 0.025)


def _face_outline(who: Identity, start: float, stop: float) -> list[Point]:
    """Outline of the face between two angles in radians, clockwise from the right; the jaw narrows it below."""
    directions = [(math.cos(angle), math.sin(angle)) for angle in _steps(start, stop, 32)]
    return [(who.head_width * x * (1 - who.jaw * max(0.0, y)), y) for x, y in directions]


def _draw_hair(pen: Pen, rng: Random, who: Identity) -> None:
    """Draw the hair, hat or scarf on top of the head."""
    if who.hairstyle == "bald":
        return
    colour = who.cloth if who.hairstyle in ("hat", "scarf") else who.hair
    crown = [(x * 1.06, y * 1.07) for x, y in _face_outline(who, math.pi * 1.03, math.pi * 1.97)]
    parting, hairline = rng.uniform(-0.5, 0.5), -0.6 if who.hairstyle == "fringe" else -0.72
    pen.fill([*crown, (parting + 0.25, hairline), (parting - 0.25, hairline)], colour)
    if who.hairstyle == "curly":
        for x, y in crown[::4]:
            pen.fill(_ellipse(x, y, 0.17, 0.17), colour)
    if who.hairstyle == "hat":
        pen.line(((-0.85, -0.6), (0, -0.74), (0.85, -0.6)), _mix(colour, _INK, 0.35), 0.12)


# The features.


def _draw_eye(pen: Pen, who: Identity, mood: Expression, side: int) -> None:
    """Draw one eye; ``side`` is -1 on the left of the picture and 1 on the right."""
    middle, across = side * who.eye_gap, _steps(-1, 1, 9)

    def lid(t: float, height: float) -> Point:
        """Point of a lid, ``t`` from -1 at the inner corner to 1 at the outer."""
        return middle + side * t * who.eye_width, _EYE_Y + mood.eye_tilt * t - height * (1 - t * t) ** 0.6

    upper = [lid(t, mood.eye_open) for t in across]
    lower = [lid(t, -0.09 * (1 - mood.squint)) for t in across]
    pen.fill([*upper, *reversed(lower)], _WHITE)
    for radius, colour in ((0.13, who.iris), (0.07, _INK)):
        pen.fill(_clip(_ellipse(middle, _EYE_Y - 0.02, radius, radius), upper[::side], lower[::side]), colour)
    pen.line(upper, _INK, 0.045)
    pen.line(lower, who.shade, 0.02)


def _draw_brow(pen: Pen, who: Identity, mood: Expression, side: int) -> None:
    """Draw one brow, darker than the hair so that fair brows show."""
    middle = _EYE_Y - mood.brow_height
    points = [
        (side * (who.eye_gap + 0.3 * t), middle + mood.brow_tilt * t - mood.brow_arch * (1 - t * t))
        for t in _steps(-1, 1, 7)
    ]
    pen.line(points, _mix(who.hair, _INK, 0.4), who.brow_width)


def _draw_nose(pen: Pen, who: Identity) -> None:
    """Draw the nose."""
    pen.line(((-0.02, 0.0), (-who.nose_width, 0.24), (who.nose_width, 0.26)), who.shade, 0.04)


def _draw_mouth(pen: Pen, who: Identity, mood: Expression) -> None:
    """Draw the mouth: lips, and between them, where they part, teeth and tongue."""
    gap = max(0.0, mood.mouth_open)
    middle = [(t, who.mouth_y - mood.smile * (t * t - 0.4)) for t in _steps(-1, 1, 13)]

    def arc(height: float) -> list[Point]:
        """Line from corner to corner that passes ``height`` above the middle of the mouth."""
        return [(mood.mouth_width * t, y - height * math.sqrt(1 - t * t)) for t, y in middle]

    upper, lower = 0.35 * gap, -0.65 * gap
    pen.fill([*arc(upper + who.lip_height), *reversed(arc(lower - 1.3 * who.lip_height))], who.lips)
    if gap < 0.02:
        pen.line(arc(0.0), _mix(who.lips, _INK, 0.7), 0.04)
        return
    pen.fill([*arc(upper), *reversed(arc(lower))], _MOUTH_INSIDE)
    pen.fill([*arc(lower + 0.25 * gap), *reversed(arc(lower))], _TONGUE)
    pen.fill([*arc(upper), *reversed(arc(upper - mood.teeth * gap))], _WHITE)


def _draw_glasses(pen: Pen, who: Identity) -> None:
    """Draw the frame of a pair of glasses."""
    colour = _mix(who.cloth, _INK, 0.6)
    for side in (-1, 1):
        pen.line(_ellipse(side * who.eye_gap, _EYE_Y, 0.28, 0.25), colour, 0.03)
        pen.line(((side * 0.64, _EYE_Y), (side * who.head_width, _EYE_Y - 0.03)), colour, 0.03)
    pen.line(((-0.08, _EYE_Y), (0.08, _EYE_Y)), colour, 0.03)


# What covers a part of the face.


def _cover_with_hand(pen: Pen, rng: Random, who: Identity) -> None:
    """A hand with four fingers, over one cheek or over the mouth."""
    x, y = rng.choice(((-0.6, 0.3), (0.6, 0.3), (0.0, 0.62)))
    lean = -0.6 if x > 0 else 0.6
    pen.fill(_ellipse(x, y + 0.45, 0.4, 0.35), who.shade)
    for finger in range(4):
        start = x - 0.27 + 0.18 * finger
        pen.line(((start, y + 0.4), (start + 0.25 * lean, y - 0.15)), _mix(who.skin, who.shade, 0.4), 0.16)


def _cover_with_scarf(pen: Pen, rng: Random, who: Identity) -> None:
    """A scarf pulled up over mouth and chin."""
    y, colour = rng.uniform(0.2, 0.45), _any_colour(rng)
    pen.fill(((-0.9, y + 0.1), (0, y), (0.9, y + 0.1), (0.95, 1.3), (-0.95, 1.3)), colour)
    pen.line(((-0.85, y + 0.3), (0, y + 0.25), (0.85, y + 0.3)), _mix(colour, _INK, 0.3), 0.05)


def _cover_with_sunglasses(pen: Pen, rng: Random, who: Identity) -> None:
    """Dark glasses over both eyes."""
    colour = _mix(_any_colour(rng), _INK, 0.8)
    for side in (-1, 1):
        pen.fill(_ellipse(side * who.eye_gap, _EYE_Y, 0.31, rng.uniform(0.22, 0.27)), colour)
    pen.line(((-who.head_width, _EYE_Y - 0.06), (who.head_width, _EYE_Y - 0.06)), colour, 0.06)


def _cover_with_patch(pen: Pen, rng: Random, who: Identity) -> None:
    """A flat tilted block, as of a book or a passer-by, over some part of the face."""
    x, y, turn = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.7), rng.uniform(0, math.pi)
    corners = ((turn + step * math.pi / 2, rng.uniform(0.4, 0.6)) for step in range(4))
    pen.fill([(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle, radius in corners], who.cloth)


_COVERS: tuple[Callable[[Pen, Random, Identity], None], ...] = (
    _cover_with_hand,
    _cover_with_scarf,
    _cover_with_sunglasses,
    _cover_with_patch,
)


# The picture around the face.


def _background(rng: Random, canvas: int) -> Image.Image:
    """A square of ``canvas`` pixels: plain, shaded from one colour to another, or strewn with shapes."""
    kind, colour = rng.choice(("plain", "shaded", "shapes")), _any_colour(rng)
    image = Image.new("RGB", (canvas, canvas), colour)
    if kind == "shaded":
        ramp = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize((canvas, canvas))
        image.paste(_any_colour(rng), mask=ramp)
    elif kind == "shapes":
        draw = ImageDraw.Draw(image)
        for _ in range(rng.randint(3, 8)):
            x, y, radius = rng.uniform(0, canvas), rng.uniform(0, canvas), canvas * rng.uniform(0.05, 0.3)
            shape = rng.choice((draw.ellipse, draw.rectangle))
            shape((x - radius, y - radius, x + radius, y + radius), fill=_any_colour(rng))
    return image


def _photograph(rng: Random, image: Image.Image) -> Image.Image:
    """Light the drawn picture and take it with an imperfect camera: blur, side light, cast, noise, at times grey."""
    size = image.width
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.BoxBlur(size / 96 * rng.uniform(0.2, 1.0)))
    angle, strength, brightness = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.45), rng.uniform(0.6, 1.15)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    light = brightness * (1 + strength * (math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]))
    cast = np.array([rng.uniform(0.88, 1.1) for _ in range(3)], dtype=np.float32)
    noise = np.random.default_rng(rng.getrandbits(63)).standard_normal((size, size, 3), dtype=np.float32)
    pixels = np.asarray(image) * light[..., None] * cast + rng.uniform(0, 6) * noise
    photograph = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return photograph.convert("L").convert("RGB") if rng.random() < _GREY_SHARE else photograph


# Geometry and colour.


def _steps(start: float, stop: float, count: int) -> list[float]:
    """``count`` evenly spaced numbers, both ends included."""
    return [start + (stop - start) * step / (count - 1) for step in range(count)]


def _ellipse(x: float, y: float, width: float, height: float) -> list[Point]:
    """Outline of an ellipse around ``(x, y)`` with the given half axes."""
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in _steps(0, 2 * math.pi, 20)]


def _clip(outline: Sequence[Point], upper: Sequence[Point], lower: Sequence[Point]) -> list[Point]:
    """Push the points of ``outline`` between two lines that run from left to right."""
    left, right = upper[0][0], upper[-1][0]
    nearest = [round((x - left) / (right - left) * (len(upper) - 1)) for x, _ in outline]
    return [(x, min(max(y, upper[at][1]), lower[at][1])) for (x, y), at in zip(outline, nearest, strict=True)]


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    """Colour ``share`` of the way from ``one`` to ``other``."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _between(rng: Random, colours: Sequence[Colour]) -> Colour:
    """Colour somewhere between two neighbours."""
    position = rng.randrange(len(colours) - 1)
    return _mix(colours[position], colours[position + 1], rng.random())


def _any_colour(rng: Random) -> Colour:
    """Any colour but the very dark and the very bright."""
    return rng.randint(25, 235), rng.randint(25, 235), rng.randint(25, 235)
