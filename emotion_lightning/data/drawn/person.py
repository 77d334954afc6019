"""Who a drawn face belongs to and what it expresses; only ``Expression`` depends on the emotion."""

from dataclasses import dataclass, fields
from random import Random

from emotion_lightning.data.drawn.drawing import INK, Color, any_color, between_two, mix

EMOTIONS = ("angry", "fearful", "happy", "neutral", "sad", "surprised")

# How strongly an emotion shows. The weak ones pass for neutral, as some do in any labelled set.
_WEAK_SHARE = 0.04
_WEAK_INTENSITY = (0.0, 0.5)
_CLEAR_INTENSITY = (0.75, 1.0)

_SKINS: tuple[Color, ...] = ((92, 58, 40), (141, 91, 62), (190, 134, 96), (226, 178, 142), (247, 212, 186))
_HAIRS: tuple[Color, ...] = ((30, 25, 24), (74, 48, 32), (128, 82, 46), (196, 152, 86), (158, 70, 40), (188, 188, 188))
_IRISES: tuple[Color, ...] = ((66, 40, 24), (104, 72, 38), (70, 104, 66), (72, 116, 158), (96, 104, 112))


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

    The chin is narrower than the temples by the share ``jaw``; ``beard`` is how far the cheeks take the color of the
    hair, in [0, 1]; ``mouth_y`` is the row of the mouth.
    """

    skin: Color
    hair: Color
    iris: Color
    lips: Color
    cloth: Color
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
    def shade(self) -> Color:
        """Skin in shadow: nose, ears, wrinkles."""
        return mix(self.skin, INK, 0.3)


def draw_expression(rng: Random, emotion: str) -> Expression:
    """Draw an expression: the neutral face, moved towards the emotion by an intensity that the picture draws."""
    column, rest = EMOTIONS.index(emotion), EMOTIONS.index("neutral")
    intensity = rng.uniform(*(_WEAK_INTENSITY if rng.random() < _WEAK_SHARE else _CLEAR_INTENSITY))
    values = {}
    for field in fields(Expression):
        ranges = _RANGES[field.name]
        relaxed, full = rng.uniform(*ranges[rest]), rng.uniform(*ranges[column])
        values[field.name] = relaxed + intensity * (full - relaxed)
    return Expression(**values)


def draw_identity(rng: Random) -> Identity:
    """Draw a person."""
    skin = between_two(rng, _SKINS)
    return Identity(
        skin=skin,
        hair=between_two(rng, _HAIRS),
        iris=between_two(rng, _IRISES),
        lips=mix(skin, (176, 48, 60), rng.uniform(0.25, 0.7)),
        cloth=any_color(rng),
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
