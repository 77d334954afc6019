"""Why the figures of a split may be better than the model: it was trained on it, or chosen by it."""

from torch import Tensor

from emotion_lightning.data.audit.usage import Usage
from emotion_lightning.data.sources.splits import Split

MANY = 0.5
"""Share of the validation or test images with a copy in the other split from which the two count as one."""

FER2013_TEST = "PrivateTest"
"""What the names of FER2013's test images begin with."""

MEASURED: dict[Split, list[str]] = {
    "train": ["These are the images that the model was trained on: the figures say nothing about others."],
    "val": ["These are the images that chose the checkpoint: on others the figures will be somewhat lower."],
    "test": [],
}


def flattery(usage: Usage, split: Split, trained_on: Tensor | None, selected_on: Tensor | None) -> list[str]:
    """Say in a sentence each why figures of ``split`` flatter; nothing, if they do not.

    Checkpoints are chosen by the validation split. If that is the test split, or much of it, so are the figures of the
    test split, whatever either is called, and whichever data is measured now.

    Args:
        usage: The data that is measured.
        split: The split that is measured.
        trained_on: Images that the model was trained on, by their content; by default this data's.
        selected_on: Images that chose the checkpoint, by their content; by default this data's.
    """
    here = usage.is_training_data(trained_on)
    validating = usage.used("val") if selected_on is None and here else usage.positions(selected_on)
    return (MEASURED[split] if here else []) + _private_test(usage, validating) + _same_split(usage, validating)


def _private_test(usage: Usage, validating: list[int]) -> list[str]:
    names = usage.audit.manifest.names
    private = sum(names[index].rpartition("/")[2].startswith(FER2013_TEST) for index in validating)
    splits = {usage.audit.manifest.splits[index] for index in validating}
    if not private or splits != {"val"}:
        return []
    return [
        f"The checkpoint was selected on the test set: {private:,} of {len(validating):,} validation images are of "
        "FER2013's PrivateTest, its test split."
    ]


def _same_split(usage: Usage, validating: list[int]) -> list[str]:
    test = usage.used("test")
    copied = len(usage.audit.seen(test, validating))
    if not copied or copied < MANY * min(len(set(validating)), len(test)):
        return []
    return [
        f"The checkpoint was selected on the test set: {copied:,} of {len(test):,} test images, or copies of them, are "
        "in the validation split that chose it."
    ]
