"""How large the images of a data set typically are, by which a model knows whether it was trained on crops of faces."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

CROP = 512
"""Longest side in pixels of crops of faces, as data sets have them: 48 in FER2013, 100 in RAF-DB, 224 in AffectNet."""

PHOTOGRAPH = 256
"""Longer side in pixels from which a picture may be a photograph."""

LARGER = 4.0
"""How often the side of the training images goes into a photograph's, whatever its proportions are."""

NOT_SQUARE = 1.25
"""Longer side over shorter from which an image is not cut out around a face, because a crop is square or almost."""


class TypicalSize(NamedTuple):
    """Medians over the images of a data set.

    Attributes:
        side: Of the longer side in pixels.
        ratio: Of the longer side over the shorter.
    """

    side: float
    ratio: float

    @classmethod
    def of(cls, widths: ArrayLike, heights: ArrayLike) -> "TypicalSize":
        """Take the medians over images of these sides in pixels; those of a side of 0 do not count."""
        shorter, longer = np.sort([widths, heights], axis=0)
        shorter, longer = shorter[shorter > 0], longer[shorter > 0]
        return cls(float(np.median(longer)), float(np.median(longer / shorter))) if len(longer) else cls(0.0, 0.0)

    @property
    def of_crops(self) -> bool:
        """Whether the images are crops of faces: small and nearly square."""
        return self.side <= CROP and 1 <= self.ratio < NOT_SQUARE

    def is_photograph(self, width: int, height: int) -> bool:
        """Say whether a picture is clearly none of the crops that the data consists of.

        Large ones are not that are far larger than the crops, or larger and of other proportions. Of data that does not
        consist of crops, no picture is called a photograph.
        """
        shorter, longer = sorted((width, height))
        if not self.of_crops or longer < PHOTOGRAPH:
            return False
        return longer > LARGER * self.side or (longer > 1.5 * self.side and longer > NOT_SQUARE * shorter)
