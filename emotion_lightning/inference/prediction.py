"""What a model thinks of a picture, and of several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from typing import TYPE_CHECKING, Any, overload

from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.selective import UNCERTAIN

if TYPE_CHECKING:
    import pandas

SHOWN = 20
"""Answers that a printed table has at most."""

Box = tuple[float, float, float, float]
"""Left, top, width and height of a part of a picture in pixels."""


@dataclass(frozen=True)
class Prediction:
    """What a model thinks of one picture.

    Attributes:
        label: The most probable class, "uncertain" where its probability is below the model's threshold, or None where
            there is no answer.
        probability: Calibrated probability of the most probable class; nan where there is no answer.
        probabilities: Calibrated probability of each class by its name; empty where there is no answer.
        error: Why there is no answer.
        path: File of the picture, if it was given as one.
        box: Left, top, width and height in pixels of the part of the picture that the answer is about, which is all of
            it unless faces were looked for; None where the picture cannot be read.
        part: Place of that part among those of its picture, from 0 on: of its faces, the largest first.
        score: How sure the detector is of the face, in [0, 1]; None where none was looked for.
    """

    label: str | None = None
    probability: float = nan
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    path: str | None = None
    box: Box | None = None
    part: int = 0
    score: float | None = None

    @property
    def best(self) -> str | None:
        """The most probable class, certain or not."""
        return max(self.probabilities, key=self.probabilities.__getitem__, default=None)

    @property
    def uncertain(self) -> bool:
        """Whether the label is none of the classes, as the probability is below the threshold."""
        return self.label == UNCERTAIN != self.best

    def __str__(self) -> str:
        of = "" if self.path is None else f"{self.path}: "
        if self.error is not None:
            return f"{of}no answer, {self.error}"
        best = f", perhaps {self.best}" if self.uncertain else ""
        others = sorted(self.probabilities.items(), key=lambda item: -item[1])[1:4]
        rest = ", ".join(f"{name} {probability:.3f}" for name, probability in others)
        return f"{of}{self.label}{best} {self.probability:.3f} ({rest})"


COLUMNS = ("path", "predicted", "probability", "box", "error")
"""Columns of a table of answers; in front of the last stand those of the classes."""


def columns_of(class_names: Iterable[str]) -> list[str]:
    """Names of the classes' columns: their own; behind that of another column stands " (class)", until no other has it.

    Args:
        class_names: All classes, each once.
    """
    names = list(class_names)
    taken, found = {*COLUMNS, *names}, list[str]()
    for name in names:
        column = name
        while name in COLUMNS and column in taken:
            column += " (class)"
        taken.add(column)
        found.append(column)
    return found


def row(answer: Prediction) -> dict[str, Any]:
    """Return an answer as the row of a table; without an answer, the columns of the classes are not in it."""
    classes = dict(zip(columns_of(answer.probabilities), answer.probabilities.values(), strict=True))
    box = None if answer.box is None else ",".join(f"{value:g}" for value in answer.box)
    values = (answer.path, answer.label, answer.probability, box)
    return {**dict(zip(COLUMNS, values, strict=False)), **classes, COLUMNS[-1]: answer.error}


class Predictions(Sequence[Prediction]):
    """Answers in the order of their pictures; they print as a table."""

    def __init__(self, answers: Iterable[Prediction]):
        self._answers = tuple(answers)

    def __len__(self) -> int:
        return len(self._answers)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...
    def __getitem__(self, index: int | slice) -> "Prediction | Predictions":
        return Predictions(self._answers[index]) if isinstance(index, slice) else self._answers[index]

    def __str__(self) -> str:
        rows = [("", "predicted", "probability", "")]
        for place, answer in enumerate(self._answers[:SHOWN]):
            number = "" if isnan(answer.probability) else f"{answer.probability:.3f}"
            rows.append((answer.path or str(place), answer.label or "", number, answer.error or ""))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}" for row in rows]
        more = len(self) - SHOWN
        return "\n".join([*(line.rstrip() for line in lines), *([f"and {more:,} more"] if more > 0 else [])])

    __repr__ = __str__

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a table with a row for each answer, and a column for each class beside those of the other fields.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UsageError("to_pandas needs pandas: pip install pandas") from error
        rows = [row(answer) for answer in self]
        return pandas.DataFrame(rows, columns=list(max(rows, key=len, default=COLUMNS)))
