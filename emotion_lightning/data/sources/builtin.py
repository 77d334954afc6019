"""The built-in data set: drawn faces with splits, for a first run and for tests."""

from collections.abc import Sequence

from emotion_lightning.data.drawn import EMOTIONS, DrawnFaces
from emotion_lightning.data.sources.labels import labels_of
from emotion_lightning.data.sources.manifest import SPLITS, Manifest, Split
from emotion_lightning.errors import DataError

SIZES: dict[Split, int] = {"train": 3000, "val": 600, "test": 600}


def builtin_manifest(seed: int, class_names: Sequence[str] | None = None) -> Manifest:
    """List balanced drawn faces, deterministic in ``seed``; nothing is read or stored.

    Raises:
        DataError: ``class_names``, such as those of a checkpoint, are not the emotions drawn.
    """
    names = tuple(class_names or EMOTIONS)
    if len(names) != len(EMOTIONS):
        raise DataError(f"the checkpoint has classes {', '.join(names)}; the drawn faces have {', '.join(EMOTIONS)}")
    to_label = labels_of(EMOTIONS, names)
    splits = tuple(split for split in SPLITS for _ in range(SIZES[split]))
    emotions = tuple(index % len(EMOTIONS) for index in range(len(splits)))
    return Manifest(
        layout="built-in drawn faces",
        root=None,
        class_names=names,
        names=tuple(f"face_{index:04d}" for index in range(len(splits))),
        labels=tuple(to_label[emotion] for emotion in emotions),
        splits=splits,
        read=DrawnFaces(seed, emotions),
    )
