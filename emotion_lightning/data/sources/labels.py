"""Names of emotions and their aliases: classes are matched by name, never by the index of another data set."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from emotion_lightning.errors import DataError

FER2013_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The classes of FER2013 in the order of its ids 0 to 6."""

_SYNONYMS = (
    ("angry", "anger"),
    ("disgust", "disgusted"),
    ("fear", "fearful"),
    ("happy", "happiness", "joy"),
    ("sad", "sadness"),
    ("surprise", "surprised"),
    ("neutral",),
    ("contempt",),
)
_CANONICAL = {alias: names[0] for names in _SYNONYMS for alias in names}
_OTHER_EMOTIONS = (
    *("afraid", "amused", "amusement", "annoyed", "anxious", "anxiety", "awe", "bored", "boredom", "calm", "calmness"),
    *("confused", "confusion", "content", "contentment", "contemptuous", "disappointed", "disappointment"),
    *("embarrassed", "embarrassment", "excited", "excitement", "frustrated", "frustration", "interest", "interested"),
    *("love", "pain", "pride", "proud", "relief", "scared", "shame", "sleepy", "tired", "worried"),
)
_EMOTIONS = frozenset((*_CANONICAL, *_OTHER_EMOTIONS))


@lru_cache(maxsize=4096)  # asked for every image of a data set
def canonical_name(name: str) -> str:
    """Return the one name that stands for ``name`` and all its aliases.

    Case and surrounding blanks do not count. A name that is no known emotion stands for itself.
    """
    # NFC: macOS stores "é" in folder names as two code points, CSV files and checkpoints usually as one.
    plain = unicodedata.normalize("NFC", name.strip()).casefold()
    return _CANONICAL.get(plain, plain)


def is_emotion(name: str) -> bool:
    """Say whether ``name`` or a word in it, as in "0_angry", is an emotion that is known by name."""
    return any(word in _EMOTIONS for word in re.findall(r"[^\W\d_]+", name.casefold()))


@lru_cache(maxsize=4096)
def is_nothing(label: str) -> bool:
    """Say whether a label is what programs write where they have none."""
    return label.strip().casefold() in ("", "nan", "na", "n/a", "<na>", "none", "null", "nat")


@lru_cache(maxsize=4096)
def is_number(label: str) -> bool:
    """Say whether a label is a number or a list of numbers rather than a name: "3", "3.0", "[9, 0, 1]"."""
    letters = re.sub(r"(?<=[\d.])e(?=[-+]?\d)|\b(?:inf|true|false)\b", "0", label.casefold())
    return any(map(str.isdigit, letters)) and not any(map(str.isalpha, letters))


def plain_number(label: str) -> str:
    """Return "3" for "3.0", as a table of floats has it, and any other label without blanks around it."""
    return re.sub(r"^(\d+)\.0*$", r"\1", label.strip())


def is_utf8(text: str) -> bool:
    """Say whether a text is free of bytes that were no UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def has_line_break(text: str) -> bool:
    """Say whether a name would be two lines of a list, a table or a message."""
    return "\n" in text or "\r" in text


def class_ids(class_names: Iterable[str]) -> dict[str, int]:
    """Map the canonical_name form of each name to its position.

    Raises:
        DataError: Two of the names mean the same class.
    """
    ids: dict[str, int] = {}
    names = list(class_names)
    for position, name in enumerate(names):
        first = ids.setdefault(canonical_name(name), position)
        if first != position:
            raise DataError(f"classes {names[first]!r} and {name!r} mean the same emotion: rename one or merge them")
    return ids


def labels_of(names: Iterable[str], class_names: Sequence[str]) -> list[int]:
    """Return the position in ``class_names`` of the class that each of ``names`` means.

    Raises:
        DataError: A name means none of the classes, or two of ``class_names`` mean the same.
    """
    names, ids = list(names), class_ids(class_names)
    unknown = sorted({name for name in names if canonical_name(name) not in ids})
    if unknown:
        raise DataError(f"no such class: {', '.join(unknown)} (the classes are {', '.join(class_names)})")
    return [ids[canonical_name(name)] for name in names]
