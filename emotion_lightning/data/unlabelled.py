"""Images to predict: every image file below a folder, whatever its folders mean."""

from pathlib import Path

from emotion_lightning.data.images import IMAGE_SUFFIXES, Files
from emotion_lightning.errors import DataError


def find_images(root: Path) -> Files:
    """Return the image at ``root``, or all below it in the order of their paths.

    Raises:
        DataError: There is none.
    """
    if root.is_file():
        return Files((root,))
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    visible = tuple(path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts))
    if not visible:
        raise DataError(f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return Files(visible)
