"""What was measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """How long something took.

    Args:
        section: Part of the benchmark, such as phases.
        work: What was done, such as "+ layer4".
        who: Who did it, such as ours.
        seconds: Seconds of a step or a call, one value for each round.
        images: Images of a step or a call; 0 where there are none.
        peak_memory: Bytes at most, one value for each round, as ``Turn`` says; empty where that is not measured.
        note: Why nothing was measured, or what else must be known.
    """

    section: str
    work: str
    who: str
    seconds: tuple[float, ...] = ()
    images: int = 0
    peak_memory: tuple[int, ...] = ()
    note: str = ""

    @property
    def median(self) -> float | None:
        """Median of the rounds in seconds."""
        return median(self.seconds) if self.seconds else None

    @property
    def images_per_second(self) -> float | None:
        """Images in a second, by the median."""
        return self.images / self.median if self.images and self.median else None

    @property
    def memory_per_image(self) -> float | None:
        """Megabytes (10⁶) for each image of a batch, weights and all."""
        return self.memory / self.images if self.memory and self.images else None

    @property
    def memory(self) -> float | None:
        """Median of the rounds' peaks in megabytes (10⁶)."""
        return median(self.peak_memory) / 1e6 if self.peak_memory else None

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "section": self.section,
            "work": self.work,
            "who": self.who,
            "median_seconds": self.median,
            "seconds": list(self.seconds),
            "images": self.images,
            "images_per_second": self.images_per_second,
            "peak_memory_bytes": list(self.peak_memory),
            "note": self.note,
        }


class Figures:
    """All that was measured, to look things up in."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self.all = list(figures)

    def find(self, section: str, work: str, who: str) -> Figure:
        """Return what was measured; a figure without values where nothing was."""
        wanted = (section, work, who)
        return next((f for f in self.all if (f.section, f.work, f.who) == wanted), Figure(*wanted))

    def ratio(self, section: str, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """Median time of ``one`` (work, who) over that of the ``other``; None where either was not measured."""
        above, below = (self.find(section, *which).median for which in (one, other))
        return above / below if above and below else None
