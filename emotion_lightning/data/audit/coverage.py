"""Which part of a model's classes and of a split's images a measurement covers, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from emotion_lightning.data.sources.manifest import Split


def unknown_note(unknown: Mapping[str, int]) -> list[str]:
    """Name the classes whose images are left out because the model does not know them."""
    if not unknown:
        return []
    named = ", ".join(f"{name} ({images:,})" for name, images in unknown.items())
    return [f"{sum(unknown.values()):,} images of classes that the model does not know are left out: {named}"]


def absent_note(counts: Mapping[str, int], split: Split, other: bool) -> list[str]:
    """Name the classes of the model that have no images, and what that means for the metrics.

    Args:
        counts: Number of images of each class of the model.
        split: The split that has them.
        other: Whether the images are of other data than that of the model's run, or only a part of a split. Macro F1 is
            then averaged over the classes that they have; a whole split counts the others as 0.
    """
    absent = [name for name, images in counts.items() if not images]
    if not absent:
        return []
    left = f"the {len(counts) - len(absent)} of {len(counts)} classes that have some"
    meant = (
        f"macro F1 is over {left}; the model may answer any of its classes, and an answer that no image has is an error"
        if other
        else f"macro F1 counts such a class as 0, and is said over {left} as well"
    )
    where = "" if other else f" of the {split} split"
    return [f"no image{where} is of {', '.join(absent)}: {meant}"]


def limit_note(measured: int, images: int, split: Split) -> list[str]:
    """Say that only a part of a split is measured."""
    if measured == images:
        return []
    return [f"{measured:,} of {images:,} images of the {split} split are measured, drawn evenly over the classes"]


def part_of(measured: int, images: int, counts: Sequence[int]) -> str:
    """The shortest words for what a macro F1 is not of, in brackets: " (80 of 350 images)"; nothing where it is of all.

    Args:
        measured: Number of images that are measured.
        images: Number of images of the split.
        counts: Number of measured images of each class.
    """
    part = [f"{measured:,} of {images:,} images"] * (measured < images)
    if absent := counts.count(0):
        part.append(f"{absent} of {len(counts)} classes without images counted as 0")
    return f" ({'; '.join(part)})" if part else ""


def votes_note(votes: Sequence[Sequence[float]]) -> str:
    """Say for how many training images the votes, which they learn, are not all for one class."""
    divided = sum(max(shares) < sum(shares) for shares in votes)
    return (
        f"training learns the shares of the votes, of which {divided:,} of {len(votes):,} training images have some "
        "for another class than their majority; measured is the majority"
    )


def corrected_note(corrected: Mapping[str, Any]) -> str:
    """Say how many labels of the measured split were corrected, and how many of its images are left out."""
    left_out = corrected["left_out"]
    return f"{corrected['labels']:,} were corrected" + f" (and {left_out:,} images left out)" * bool(left_out)
