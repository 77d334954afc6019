"""From photographs to a data set: the faces in a folder tree cut out, and a manifest of where each comes from."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from emotion_lightning.data.images.decode import UnreadableImage, open_image
from emotion_lightning.data.sources.folder import find_images
from emotion_lightning.errors import UsageError
from emotion_lightning.inference.cropping import NO_FACE
from emotion_lightning.inference.faces import Face, FaceDetector, crop
from emotion_lightning.runs.files import atomic_csv, new_folder

MANIFEST = "manifest.csv"

HEADER = ("source", "file", "left", "top", "width", "height", "score", "landmarks", "reason")
"""Columns of the manifest. The landmarks are "x,y" of the right and left eye, the nose, and the right and left corner
of the mouth, as the person has them. A photograph without a face in it has no file, but a reason."""


class Prepared(NamedTuple):
    """How many photographs there were, with how many faces, and of how many there is none."""

    photographs: int
    faces: int
    without: int
    unreadable: int

    def __str__(self) -> str:
        return (
            f"{self.faces:,} faces of {self.photographs:,} photographs; {self.without:,} without a face, "
            f"{self.unreadable:,} unreadable"
        )


def prepare(photographs: Path, output: Path, detector: FaceDetector, progress: bool = True) -> Prepared:
    """Cut the faces out of every photograph of a folder tree, in its order, into a new tree with the same folders.

    The faces of ``happy/x.jpg`` become ``happy/x_crop1.png``, ``happy/x_crop2.png`` and so on, the largest first. By
    these names a cut of splits knows that they belong together. ``manifest.csv`` has a row for each face, and for each
    photograph without one. The same photographs always give the same files.

    Args:
        photographs: Folder, with class folders and folders of splits if it is to be trained on.
        output: Folder to make.
        detector: What finds the faces.
        progress: Show a progress bar on stderr.

    Raises:
        UsageError: There is something at ``output``, or it lies in ``photographs``, or that is no folder.
        DataError: There are no photographs, or the folder cannot be written.
    """
    if output.resolve().is_relative_to(photographs.resolve()):
        raise UsageError(f"{output} lies in {photographs}, whose images it would join: name a folder elsewhere")
    if photographs.is_file():
        raise UsageError(f"{photographs} is a file: give the folder of the photographs")
    with new_folder(output) as temporary:
        sources = find_images(photographs).paths
        stems, counts = _stems(sources), Counter[str]()
        with atomic_csv(temporary / MANIFEST) as stream:
            writer = csv.writer(stream)
            writer.writerow(HEADER)
            shown = tqdm(sources, "Cutting out", disable=None if progress else True)
            for source, stem in zip(shown, stems, strict=True):
                name = source.relative_to(photographs)
                try:
                    picture = open_image(source)
                except UnreadableImage as error:
                    counts["unreadable"] += 1
                    writer.writerow(_row(name, reason=error.reason))
                    continue
                faces = detector.find(picture)
                counts["faces"] += len(faces)
                if not faces:
                    counts["without"] += 1
                    writer.writerow(_row(name, reason=NO_FACE))
                for number, face in enumerate(faces, 1):
                    file = name.with_name(f"{stem}_crop{number}.png")
                    _save(crop(picture, face), temporary / file)
                    writer.writerow(_row(name, file, face))
    return Prepared(len(sources), counts["faces"], counts["without"], counts["unreadable"])


def _stems(sources: Sequence[Path]) -> list[str]:
    """What the files of each photograph begin with: its name without suffix, unless another would have the same."""
    names = {(source.parent, source.name.casefold()) for source in sources}
    keys = [(source.parent, source.stem.casefold()) for source in sources]
    counts = Counter(keys)
    shared = [counts[key] > 1 or key in names for key in keys]
    return [source.name if twice else source.stem for source, twice in zip(sources, shared, strict=True)]


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, compress_level=1)  # photographs become little smaller by more, and much slower


def _row(name: Path, file: Path | None = None, face: Face | None = None, reason: str = "") -> tuple[object, ...]:
    if file is None or face is None:
        return (name.as_posix(), *[""] * (len(HEADER) - 2), reason)
    landmarks = " ".join(f"{x:.1f},{y:.1f}" for x, y in face.landmarks)
    return (name.as_posix(), file.as_posix(), *face.box, face.score, landmarks, reason)
