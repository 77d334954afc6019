"""Writes the small data sets that the tests read."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from emotion_lightning.data.audit.duplicates import Pair
from emotion_lightning.data.audit.exposure import Exposure
from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.audit.policy import Policies
from emotion_lightning.data.audit.scan import Scan
from emotion_lightning.data.drawn import DrawnFaces
from emotion_lightning.data.sources.manifest import Manifest, Split

PIXELS = 48 * 48


def face(path: Path, number: int = 0) -> None:
    """An image whose content is ``number``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), (number % 256, number // 256, 7)).save(path)


def faces(folder: Path, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        face(folder / f"{number}.png", number)


def table(file: Path, header: str, rows: Iterable[Iterable[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        stream.write(header + "\n")
        csv.writer(stream).writerows(rows)
    return file


def remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root.joinpath(*parts))


def empty(*parts: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        shutil.rmtree(root.joinpath(*parts), ignore_errors=True)
        root.joinpath(*parts).mkdir()

    return act


def pixels(value: int = 0) -> str:
    return " ".join([str(value)] * PIXELS)


def fer_rows() -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [(label, pixels(label), "Training") for label in range(7)]
    return [*rows, (3, pixels(100), "PublicTest"), (6, pixels(255), "PrivateTest")]


VOTES_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def votes(**counts: int) -> tuple[int, ...]:
    """Counts in the order of FER+'s columns, such as ``votes(anger=7, NF=1)``."""
    return tuple(counts.get(answer, 0) for answer in VOTES_HEADER.split(",")[2:])


def ferplus_votes(each: int = 2) -> list[tuple[object, ...]]:
    """Usage, name and votes: of each emotion ``each`` training images and one of validation, all divided 7 to 3."""
    columns = VOTES_HEADER.split(",")[2:10]
    kinds = [votes(**{first: 7, columns[place - 1]: 3}) for place, first in enumerate(columns)]
    splits = ["Training"] * each + ["PublicTest"]
    return [(split, f"fer{n:07d}.png", *kind) for n, (split, kind) in enumerate((s, k) for s in splits for k in kinds)]


def ferplus(base: Path, rows: Sequence[Sequence[object]]) -> Path:
    """The rows as fer2013new.csv, and as many rows of fer2013.csv, all of them angry."""
    table(base / "fer2013new.csv", VOTES_HEADER, rows)
    table(base / "fer2013.csv", "emotion,pixels,Usage", [(0, pixels(n), row[0]) for n, row in enumerate(rows)])
    return base


AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def affectnet_row(name: str, expression: object) -> tuple[object, ...]:
    return (name, 1, 2, 30, 40, "1.5;2.5", expression, -0.5, 0.5)


def affectnet(base: Path, lists: str = "", images: str = "Manually_Annotated_Images") -> Path:
    """The official tables; images of what is no emotion are not there."""
    for number, name in enumerate(("training", "validation")):
        rows = [affectnet_row(f"{number}/{label}.jpg", label) for label in range(8)]
        for label in range(8):
            face(base / images / f"{number}/{label}.jpg", 10 * number + label)
        none = [affectnet_row(f"{number}/none{label}.jpg", label) for label in (8, 9, 10, 10)]
        table(base / lists / f"{name}.csv", AFFECTNET_HEADER, [*none, *rows])
    return base / lists / "training.csv"


CKPLUS_EMOTIONS = ("anger", "contempt", "fear")


def ckplus(base: Path, subjects: int = 12) -> Path:
    """Every subject shows every emotion in a sequence of three frames."""
    for subject in range(subjects):
        for sequence, emotion in enumerate(CKPLUS_EMOTIONS):
            for frame in range(3):
                number = 1000 * subject + 10 * sequence + frame
                face(base / emotion / f"S{subject:03d}_{sequence:03d}_{frame + 15:08d}.png", number)
    return base


EMOSET_EMOTIONS = ("amusement", "awe", "anger")


def emoset(base: Path, label: Callable[[int], object] = EMOSET_EMOTIONS.__getitem__, elements: int = 4) -> Path:
    """Rows of label, id, image and annotation; without the id for three elements."""
    for place, (split, count) in enumerate({"train": 6, "val": 3, "test": 3}.items()):
        rows = []
        for number in range(count):
            kind, name = number % 3, f"{EMOSET_EMOTIONS[number % 3]}_{place}{number:04d}"
            image = f"image/{EMOSET_EMOTIONS[kind]}/{name}.jpg"
            face(base / image, 100 * place + number)
            row = [label(kind), name, image, f"annotation/{EMOSET_EMOTIONS[kind]}/{name}.json"]
            rows.append([row[0], *row[5 - elements :]])
        (base / f"{split}.json").write_text(json.dumps(rows))
    return base


def rafdb(base: Path, list_folder: str, image_folder: str = "Image/aligned", each: int = 7) -> Path:
    """The archive's layout: the list says ``train_00001.jpg 5``, the file is ``train_00001_aligned.jpg``."""
    lines = []
    for split, count in {"train": each, "test": 2}.items():
        for number in range(1, 7 * count + 1):
            name, label = f"{split}_{number:05d}", number % 7 + 1
            face(base / image_folder / f"{name}_aligned.jpg", 100 * number + (split == "test"))
            lines.append(f"{name}.jpg {label}")
    face(base / "Image" / "original" / "train_00001.jpg", 1)
    file = base / list_folder / "list_patition_label.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + " \n\n")
    return file


KDEF_CODES = ("AF", "AN", "DI", "HA", "NE", "SA", "SU")


def kdef(base: Path, people: int = 10, folders: bool = True, lower: bool = False) -> Path:
    """Each person in both sessions, with every emotion; and what the archive and its copies have besides."""
    for number in range(people):
        person = f"{'FM'[number % 2]}{number // 2 + 1:02d}"
        for session, code in product("AB", KDEF_CODES):
            angle = ("S", "HL", "FR")[number % 3]
            name = f"{session}{person}{code}{angle}.JPG"
            folder = base / f"{session}{person}" if folders else base
            place = 100 * number + 10 * KDEF_CODES.index(code) + (session == "B")
            face(folder / (name.lower() if lower else name), place)
    return base


def jaffe(base: Path, suffix: str = ".tiff") -> Path:
    """Ten people, of each three images of every emotion, numbered through."""
    people = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
    images = product(people, ("AN", "DI", "FE", "HA", "NE", "SA", "SU"), "123")
    for number, (person, code, time) in enumerate(images, 1):
        face(base / f"{person}.{code}{time}.{number}{suffix}", number)
    return base


def expw(base: Path, lists: str = "label", images: str = "image/origin") -> Path:
    """Images of 40 x 30 pixels with a face left and right, of which one image in three has only one labelled."""
    lines = []
    for number in range(42):
        name, label = f"angry_actor_{number}.jpg", number % 7
        face(base / images / name, number)
        picture = Image.new("RGB", (40, 30), (number, 0, 0))
        picture.paste((number, 200, 0), (20, 0, 40, 30))
        picture.save(base / images / name, quality=95)
        lines.append(f"{name} 0 5 0 18 28 {30.5 + number} {label}")
        if number % 3:
            lines.append(f"{name} 1 2 22 44 30 64 {(label + 1) % 7}")
    file = base / lists / "label.lst"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return base


YOLO_NAMES = ("Anger", "Happy", "sad")


def yolo(base: Path, inside: bool = False, boxes: Callable[[int], str] = "{} 0.5 0.5 1 1".format) -> Path:
    """Images and labels in a folder for each split or, ``inside``, the other way round; one label for each image."""
    for place, (split, count) in enumerate({"train": 9, "valid": 6, "test": 3}.items()):
        for number in range(count):
            images, labels = (
                base / ("{1}/{0}" if inside else "{0}/{1}").format(split, part) for part in ("images", "labels")
            )
            face(images / f"{number}_jpg.rf.{number}.jpg", 100 * place + number)
            labels.mkdir(parents=True, exist_ok=True)
            (labels / f"{number}_jpg.rf.{number}.txt").write_text(boxes(number % 3) + "\n")
    names = "\n".join(f"- {name}" for name in YOLO_NAMES)
    (base / "data.yaml").write_text(f"train: ../train/images\nval: ../valid/images\nnc: 3\nnames:\n{names}\n")
    return base


# Positions:                        0        1        2      3      4       5       6       7
AUDITED_SPLITS: tuple[Split, ...] = ("train", "train", "train", "val", "val", "test", "test", "train")
AUDITED_LABELS = (0, 0, 1, 0, 1, 1, 0, 1)


def digest(letter: str) -> str:
    return hashlib.sha256(letter.encode()).hexdigest()


def audit(
    digests: str = "abcdefgh",
    near: tuple[tuple[int, int], ...] = (),
    groups: tuple[str | None, ...] | None = None,
    unreadable: tuple[int, ...] = (),
    splits: tuple[Split, ...] = AUDITED_SPLITS,
    labels: tuple[int, ...] = AUDITED_LABELS,
) -> Audit:
    """Eight images; those with the same letter are identical."""
    n = len(digests)
    sizes = np.array([0 if index in unreadable else 48 for index in range(n)], np.int32)
    scan = Scan(
        reasons=tuple("truncated" if index in unreadable else None for index in range(n)),
        digests=tuple(map(digest, digests)),
        widths=sizes,
        heights=sizes,
        frames=np.ones(n, np.int32),
        modes=("L",) * n,
        formats=("PNG",) * n,
        sizes=np.full(n, 1000),
    )
    manifest = Manifest(
        "folder tree with splits",
        None,
        ("angry", "happy"),
        tuple(f"{split}/{index}.png" for index, split in enumerate(splits)),
        labels,
        splits,
        DrawnFaces(0, labels, 48),
        groups=groups,
        unread=("notes.pdf",),
    )
    return Audit(manifest, scan, tuple(Pair(*pair, 0.99, "near") for pair in near))


def overlapping(
    found: Audit, split: Split, policies: Policies | None = None, trained_on: Tensor | None = None
) -> set[int]:
    checkpoint = None if trained_on is None else {"trained_on": trained_on}
    mask = Exposure(found.manifest, found, policies or Policies(), checkpoint).overlap_mask(split)
    assert mask is not None
    return set(mask.nonzero().flatten().tolist())
