"""A smaller data set of the same faces."""

import shutil
from pathlib import Path

from emotion_lightning.errors import DataError
from emotion_lightning.seeding import derive_seed


def training_faces(root: Path, per_class: int | None, folder: Path) -> Path:
    """Return a folder of ``root``'s faces with ``per_class`` of each class in train, and val as it is.

    Which faces they are depends on their names alone: every machine and seed gets the same.

    Args:
        root: Folder of train/<class>/ and val/<class>/.
        per_class: How many; None for all, which is ``root`` itself.
        folder: Where copies are kept.

    Raises:
        DataError: ``root`` is not such a folder.
    """
    for split in ("train", "val"):
        if not (root / split).is_dir():
            raise DataError(f"`--root` {root} has no folder {split}: a study needs train/<class>/ and val/<class>/")
    if per_class is None:
        return root
    target = folder / f"{per_class}_per_class"
    if not target.is_dir():
        half = target.with_name(f"{target.name}.part")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(root / "val", half / "val")
        for source in sorted(path for path in (root / "train").iterdir() if path.is_dir()):
            (half / "train" / source.name).mkdir(parents=True)
            by_hash = sorted(source.iterdir(), key=lambda path: derive_seed(0, source.name, path.name))
            for path in by_hash[:per_class]:
                shutil.copy(path, half / "train" / source.name)
        half.rename(target)  # whole or not at all
    return target
