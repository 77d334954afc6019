"""The parts of a face, from the hair behind the head to the glasses on the nose."""

import math
from random import Random

from emotion_lightning.data.drawn.drawing import INK, WHITE, Color, Pen, Point, clip, ellipse, mix, steps
from emotion_lightning.data.drawn.person import Expression, Identity

EYE_Y = -0.1
"""Row of the eyes, in face units."""

_MOUTH_INSIDE: Color = (74, 20, 24)
_TONGUE: Color = (190, 82, 84)


def draw_person(pen: Pen, rng: Random, who: Identity, mood: Expression) -> None:
    """Draw a whole person, from the hair behind the head to the hair in front of it."""
    draw_head(pen, who)
    draw_mouth(pen, who, mood)
    draw_nose(pen, who)
    for side in (-1, 1):
        draw_eye(pen, who, mood, side)
        draw_brow(pen, who, mood, side)
    if who.glasses:
        draw_glasses(pen, who)
    draw_hair(pen, rng, who)


def draw_head(pen: Pen, who: Identity) -> None:
    """Draw everything behind the features: hair at the back, neck and shoulders, ears, face, beard, wrinkles."""
    if who.hairstyle in ("long", "scarf"):
        color = who.cloth if who.hairstyle == "scarf" else who.hair
        pen.fill(ellipse(0, 0.1, who.head_width + 0.2, 1.2), color)
    pen.fill(((-1.1, 2), (-0.95, 1.3), (-0.3, 1.05), (0.3, 1.05), (0.95, 1.3), (1.1, 2)), who.cloth)
    pen.fill(((-0.3, 0.6), (0.3, 0.6), (0.32, 1.12), (0, 1.25), (-0.32, 1.12)), who.shade)
    for side in (-1, 1):
        pen.fill(ellipse(side * who.head_width, 0.05, 0.12, 0.2), who.shade)
    pen.fill(_face_outline(who, 0, 2 * math.pi), who.skin)
    if who.beard:
        pen.fill(_face_outline(who, -0.05, math.pi + 0.05), mix(who.skin, who.hair, who.beard))
        pen.fill(ellipse(0, 0.08, who.head_width * 0.72, 0.32), who.skin)
    if who.wrinkled:
        for y in (-0.62, -0.71):
            pen.line(((-0.3, y + 0.02), (0, y), (0.3, y + 0.02)), who.shade, 0.02)
        for side in (-1, 1):
            pen.line(((side * 0.24, 0.34), (side * 0.42, 0.5)), who.shade, 0.025)


def _face_outline(who: Identity, start: float, stop: float) -> list[Point]:
    """Outline of the face between two angles in radians, clockwise from the right; the jaw narrows it below."""
    directions = [(math.cos(angle), math.sin(angle)) for angle in steps(start, stop, 32)]
    return [(who.head_width * x * (1 - who.jaw * max(0.0, y)), y) for x, y in directions]


def draw_hair(pen: Pen, rng: Random, who: Identity) -> None:
    """Draw the hair, hat or scarf on top of the head."""
    if who.hairstyle == "bald":
        return
    color = who.cloth if who.hairstyle in ("hat", "scarf") else who.hair
    crown = [(x * 1.06, y * 1.07) for x, y in _face_outline(who, math.pi * 1.03, math.pi * 1.97)]
    parting, hairline = rng.uniform(-0.5, 0.5), -0.6 if who.hairstyle == "fringe" else -0.72
    pen.fill([*crown, (parting + 0.25, hairline), (parting - 0.25, hairline)], color)
    if who.hairstyle == "curly":
        for x, y in crown[::4]:
            pen.fill(ellipse(x, y, 0.17, 0.17), color)
    if who.hairstyle == "hat":
        pen.line(((-0.85, -0.6), (0, -0.74), (0.85, -0.6)), mix(color, INK, 0.35), 0.12)


def draw_eye(pen: Pen, who: Identity, mood: Expression, side: int) -> None:
    """Draw one eye; ``side`` is -1 on the left of the picture and 1 on the right."""
    middle, across = side * who.eye_gap, steps(-1, 1, 9)

    def lid(t: float, height: float) -> Point:
        """Point of a lid, ``t`` from -1 at the inner corner to 1 at the outer."""
        return middle + side * t * who.eye_width, EYE_Y + mood.eye_tilt * t - height * (1 - t * t) ** 0.6

    upper = [lid(t, mood.eye_open) for t in across]
    lower = [lid(t, -0.09 * (1 - mood.squint)) for t in across]
    pen.fill([*upper, *reversed(lower)], WHITE)
    for radius, color in ((0.13, who.iris), (0.07, INK)):
        pen.fill(clip(ellipse(middle, EYE_Y - 0.02, radius, radius), upper[::side], lower[::side]), color)
    pen.line(upper, INK, 0.045)
    pen.line(lower, who.shade, 0.02)


def draw_brow(pen: Pen, who: Identity, mood: Expression, side: int) -> None:
    """Draw one brow, darker than the hair so that fair brows show."""
    middle = EYE_Y - mood.brow_height
    points = [
        (side * (who.eye_gap + 0.3 * t), middle + mood.brow_tilt * t - mood.brow_arch * (1 - t * t))
        for t in steps(-1, 1, 7)
    ]
    pen.line(points, mix(who.hair, INK, 0.4), who.brow_width)


def draw_nose(pen: Pen, who: Identity) -> None:
    """Draw the nose."""
    pen.line(((-0.02, 0.0), (-who.nose_width, 0.24), (who.nose_width, 0.26)), who.shade, 0.04)


def draw_mouth(pen: Pen, who: Identity, mood: Expression) -> None:
    """Draw the mouth: lips, and between them, where they part, teeth and tongue."""
    gap = max(0.0, mood.mouth_open)
    middle = [(t, who.mouth_y - mood.smile * (t * t - 0.4)) for t in steps(-1, 1, 13)]

    def arc(height: float) -> list[Point]:
        """Line from corner to corner that passes ``height`` above the middle of the mouth."""
        return [(mood.mouth_width * t, y - height * math.sqrt(1 - t * t)) for t, y in middle]

    upper, lower = 0.35 * gap, -0.65 * gap
    pen.fill([*arc(upper + who.lip_height), *reversed(arc(lower - 1.3 * who.lip_height))], who.lips)
    if gap < 0.02:
        pen.line(arc(0.0), mix(who.lips, INK, 0.7), 0.04)
        return
    pen.fill([*arc(upper), *reversed(arc(lower))], _MOUTH_INSIDE)
    pen.fill([*arc(lower + 0.25 * gap), *reversed(arc(lower))], _TONGUE)
    pen.fill([*arc(upper), *reversed(arc(upper - mood.teeth * gap))], WHITE)


def draw_glasses(pen: Pen, who: Identity) -> None:
    """Draw the frame of a pair of glasses."""
    color = mix(who.cloth, INK, 0.6)
    for side in (-1, 1):
        pen.line(ellipse(side * who.eye_gap, EYE_Y, 0.28, 0.25), color, 0.03)
        pen.line(((side * 0.64, EYE_Y), (side * who.head_width, EYE_Y - 0.03)), color, 0.03)
    pen.line(((-0.08, EYE_Y), (0.08, EYE_Y)), color, 0.03)
