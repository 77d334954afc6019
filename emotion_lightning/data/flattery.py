"""Why the figures of a split may be better than the model: it was trained on it, or chosen by it."""

from emotion_lightning.data.audit import Audit
from emotion_lightning.data.manifest import Manifest, Split

MANY = 0.5
"""Share of a split's images with a copy in another from which the two count as one."""

FER2013_TEST = "PrivateTest"
"""What the names of FER2013's test images begin with."""


def flattery(manifest: Manifest, audit: Audit | None, split: Split) -> list[str]:
    """Say in a sentence each why figures of ``split`` flatter; nothing, if they do not.

    Checkpoints are chosen by the validation split. If that is the test split, or much of it, so are the figures of the
    test split, whatever either is called.
    """
    return _measured(split) + _selected(manifest, audit)


def _measured(split: Split) -> list[str]:
    if split == "train":
        return ["These are the images that the model was trained on: the figures say nothing about others."]
    if split == "val":
        return ["These are the images that chose the checkpoint: on others the figures will be somewhat lower."]
    return []


def _selected(manifest: Manifest, audit: Audit | None) -> list[str]:
    found = []
    val, test = manifest.indices("val"), manifest.indices("test")
    known = sum(manifest.names[index].rpartition("/")[2].startswith(FER2013_TEST) for index in val)
    if known:
        found.append(
            f"The checkpoint was selected on the test set: {known:,} of {len(val):,} validation images are of "
            "FER2013's PrivateTest, its test split."
        )
    if audit is not None and val and test:
        copied = len(audit.seen(test, val))
        if copied >= MANY * min(len(val), len(test)):
            found.append(
                f"The checkpoint was selected on the test set: {copied:,} of {len(test):,} test images have a copy "
                "in the validation split."
            )
    return found
