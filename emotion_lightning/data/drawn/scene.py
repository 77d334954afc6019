"""What is around a face and in front of it, and the camera that takes it."""

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from emotion_lightning.data.drawn.drawing import INK, Pen, any_color, ellipse, mix
from emotion_lightning.data.drawn.features import EYE_Y
from emotion_lightning.data.drawn.person import Identity

_GREY_SHARE = 0.15
"""How often a picture has no color."""


def background(rng: Random, canvas: int) -> Image.Image:
    """A square of ``canvas`` pixels: plain, shaded from one color to another, or strewn with shapes."""
    kind, color = rng.choice(("plain", "shaded", "shapes")), any_color(rng)
    image = Image.new("RGB", (canvas, canvas), color)
    if kind == "shaded":
        ramp = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize((canvas, canvas))
        image.paste(any_color(rng), mask=ramp)
    elif kind == "shapes":
        draw = ImageDraw.Draw(image)
        for _ in range(rng.randint(3, 8)):
            x, y, radius = rng.uniform(0, canvas), rng.uniform(0, canvas), canvas * rng.uniform(0.05, 0.3)
            shape = rng.choice((draw.ellipse, draw.rectangle))
            shape((x - radius, y - radius, x + radius, y + radius), fill=any_color(rng))
    return image


def photograph(rng: Random, image: Image.Image) -> Image.Image:
    """Light the drawn picture and take it with an imperfect camera: blur, side light, cast, noise, at times gray."""
    size = image.width
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.BoxBlur(size / 96 * rng.uniform(0.2, 1.0)))
    angle, strength, brightness = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.45), rng.uniform(0.6, 1.15)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    light = brightness * (1 + strength * (math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]))
    cast = np.array([rng.uniform(0.88, 1.1) for _ in range(3)], dtype=np.float32)
    noise = np.random.default_rng(rng.getrandbits(63)).standard_normal((size, size, 3), dtype=np.float32)
    pixels = np.asarray(image) * light[..., None] * cast + rng.uniform(0, 6) * noise
    taken = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return taken.convert("L").convert("RGB") if rng.random() < _GREY_SHARE else taken


def _cover_with_hand(pen: Pen, rng: Random, who: Identity) -> None:
    """A hand with four fingers, over one cheek or over the mouth."""
    x, y = rng.choice(((-0.6, 0.3), (0.6, 0.3), (0.0, 0.62)))
    lean = -0.6 if x > 0 else 0.6
    pen.fill(ellipse(x, y + 0.45, 0.4, 0.35), who.shade)
    for finger in range(4):
        start = x - 0.27 + 0.18 * finger
        pen.line(((start, y + 0.4), (start + 0.25 * lean, y - 0.15)), mix(who.skin, who.shade, 0.4), 0.16)


def _cover_with_scarf(pen: Pen, rng: Random, who: Identity) -> None:
    """A scarf pulled up over mouth and chin."""
    y, color = rng.uniform(0.2, 0.45), any_color(rng)
    pen.fill(((-0.9, y + 0.1), (0, y), (0.9, y + 0.1), (0.95, 1.3), (-0.95, 1.3)), color)
    pen.line(((-0.85, y + 0.3), (0, y + 0.25), (0.85, y + 0.3)), mix(color, INK, 0.3), 0.05)


def _cover_with_sunglasses(pen: Pen, rng: Random, who: Identity) -> None:
    """Dark glasses over both eyes."""
    color = mix(any_color(rng), INK, 0.8)
    for side in (-1, 1):
        pen.fill(ellipse(side * who.eye_gap, EYE_Y, 0.31, rng.uniform(0.22, 0.27)), color)
    pen.line(((-who.head_width, EYE_Y - 0.06), (who.head_width, EYE_Y - 0.06)), color, 0.06)


def _cover_with_patch(pen: Pen, rng: Random, who: Identity) -> None:
    """A flat tilted block, as of a book or a passer-by, over some part of the face."""
    x, y, turn = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.7), rng.uniform(0, math.pi)
    corners = ((turn + step * math.pi / 2, rng.uniform(0.4, 0.6)) for step in range(4))
    pen.fill([(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle, radius in corners], who.cloth)


COVERS: tuple[Callable[[Pen, Random, Identity], None], ...] = (
    _cover_with_hand,
    _cover_with_scarf,
    _cover_with_sunglasses,
    _cover_with_patch,
)
