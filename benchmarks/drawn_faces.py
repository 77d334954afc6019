"""Faces as FER2013 keeps them, gray and 48 pixels wide, for who has no data set at hand."""

from pathlib import Path

from emotion_lightning.data.drawn import EMOTIONS, draw_face

SIDE = 48


def write_faces(root: Path, train: int, val: int, seed: int = 42) -> None:
    """Write JPEG files below ``root``/{train,val}/<class>, at least as many as asked for, the classes balanced."""
    index = 0
    for split, count in (("train", train), ("val", val)):
        for emotion in EMOTIONS:
            folder = root / split / emotion
            folder.mkdir(parents=True)
            for _ in range(-(-count // len(EMOTIONS))):
                draw_face(emotion, seed, index, SIDE).convert("L").save(folder / f"{index:05d}.jpg", quality=90)
                index += 1
