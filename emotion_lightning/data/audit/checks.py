"""Whether data can be used for a stage, before the stage starts."""

from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_info

from emotion_lightning.data.audit.exposure import Exposure
from emotion_lightning.data.audit.policy import Policies, enforce, unreadable_message
from emotion_lightning.data.audit.scan import scan
from emotion_lightning.data.images.decode import Files
from emotion_lightning.data.sources.manifest import SPLITS, Manifest, Split
from emotion_lightning.errors import DataError


def check_usable(exposure: Exposure, needed: Sequence[Split], training: bool, other: bool = False) -> None:
    """Refuse data that cannot be used.

    Args:
        exposure: The data, its audit and the policies.
        needed: The splits that are used.
        training: Whether a model is trained, for which the whole data must be sound.
        other: Whether it is other data than that of the model's run.

    Raises:
        DataError: A needed split or a class has no image that can be used, or a policy is error and something is wrong.
    """
    manifest, root = exposure.manifest, exposure.manifest.root
    for split in needed:
        if not manifest.indices(split):
            raise DataError(_missing_split(split, manifest, other))
    if exposure.audit is not None:
        enforce(exposure.audit, exposure.policies, SPLITS if training else needed, training)
    for split in needed:
        if not exposure.used(split):
            raise DataError(f"no image of the {split} split of {root} can be used")
    if training and (empty := [name for name, count in exposure.class_counts("train").items() if not count]):
        raise DataError(
            f"class '{empty[0]}' has no training image under {root} that can be used: add some or remove it, "
            "or let `leaks`, `conflicts` and `unreadable` leave out less"
        )


def readable_images(files: Files, policies: Policies, progress: bool) -> list[int]:
    """Return the positions of the images that can be decoded, and say which cannot.

    Raises:
        DataError: One cannot be decoded, and the policy is error.
    """
    reasons = scan(files, None, progress).reasons
    broken = {name: reason for name, reason in zip(files.names, reasons, strict=True) if reason is not None}
    if broken and policies.unreadable == "error":
        raise DataError(unreadable_message(broken))
    if broken:
        rank_zero_info(f"Data: {unreadable_message(broken, excluded=True)}")
    return [index for index, reason in enumerate(reasons) if reason is None]


def _missing_split(split: Split, manifest: Manifest, other: bool) -> str:
    root, there = manifest.root, [name for name in SPLITS if manifest.indices(name)]
    if other:
        known = " and ".join(there)
        return (
            f"{root} has no {split} images, but {known}: test measures those of {there[-1]} by `test_split={there[-1]}`"
        )
    if split != "test":
        return f"{root} has no {split} images"
    return (
        f"{root} has no test images: add a test split, or measure the validation split by `test_split=val` "
        "(it chose the checkpoint, so its metrics are too good)"
    )
