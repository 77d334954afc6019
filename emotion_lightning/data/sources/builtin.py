"""The built-in data set: drawn faces with splits, for a first run and for tests."""

from collections.abc import Sequence

from emotion_lightning.data.drawn import EMOTIONS, DrawnFaces
from emotion_lightning.data.sources.labels import canonical_name, class_ids, labels_of
from emotion_lightning.data.sources.manifest import SPLITS, Manifest, Split
from emotion_lightning.errors import DataError

SIZES: dict[Split, int] = {"train": 3000, "val": 600, "test": 600}


def builtin_manifest(seed: int, class_names: Sequence[str] | None = None, training: bool = True) -> Manifest:
    """List balanced drawn faces, deterministic in ``seed``; nothing is read or stored.

    Args:
        seed: Names the faces.
        class_names: Classes in the order of their labels, such as those of a checkpoint.
        training: Whether a model is to be trained; one that is only measured need not know all emotions drawn.

    Raises:
        DataError: ``class_names`` are not the emotions drawn, or none of them is.
    """
    names = tuple(class_names or EMOTIONS)
    drawn = [name for name in EMOTIONS if canonical_name(name) in class_ids(names)]
    if not drawn or (training and not len(drawn) == len(names) == len(EMOTIONS)):
        raise DataError(f"the checkpoint has classes {', '.join(names)}; the drawn faces have {', '.join(EMOTIONS)}")
    to_label = dict(zip(map(EMOTIONS.index, drawn), labels_of(drawn, names), strict=True))
    splits = tuple(split for split in SPLITS for _ in range(SIZES[split]))
    emotions = tuple(EMOTIONS.index(drawn[index % len(drawn)]) for index in range(len(splits)))
    return Manifest(
        layout="built-in drawn faces",
        root=None,
        class_names=names,
        names=tuple(f"face_{index:04d}" for index in range(len(splits))),
        labels=tuple(to_label[emotion] for emotion in emotions),
        splits=splits,
        read=DrawnFaces(seed, emotions),
    )
