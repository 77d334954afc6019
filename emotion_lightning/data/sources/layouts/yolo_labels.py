"""The files of YOLO data: what names its classes, and the labels of an image."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from emotion_lightning.data.sources.labels import is_number, plain_number
from emotion_lightning.data.sources.layouts.listing import text_of
from emotion_lightning.errors import DataError
from emotion_lightning.runs.limited_yaml import read_yaml

NAME_LISTS = ("classes.txt", "obj.names")
"""Files that name a class in each line, in the order of the ids."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the image's sides."""


def class_names(root: Path, folder: Path, labels: Sequence[Path]) -> dict[str, str]:
    """Find what each id means, in a YAML file with ``names`` or a list of names, near the images or above them.

    ``data.yaml`` is asked before YAML files of other names.

    Raises:
        DataError: There is none, it cannot be read, or two name other classes.
    """
    above = [place for place in (folder, *folder.parents) if place.is_relative_to(root)]
    faults = list[DataError]()
    for place in above:
        if names := _names_in(place, faults):
            return names
    for place in (*above, *labels):
        for file in (place / name for name in NAME_LISTS):
            if file.is_file():
                lines = filter(None, map(str.strip, text_of(file).splitlines()))
                return _refuse_numbers({str(index): name for index, name in enumerate(lines)}, file)
    if faults:
        raise faults[0]
    raise DataError(
        f"{folder} has no data.yaml that names the classes of its labels: write one with a line like "
        "names: [angry, happy], in the order of their numbers"
    )


def _names_in(folder: Path, faults: list[DataError]) -> dict[str, str]:
    """Read what the YAML files of a folder name; nothing where none does.

    Files that cannot be read may be about something else: they are added to ``faults``, unless it is ``data.yaml``.
    """
    for file in (folder / "data.yaml", folder / "data.yml"):
        if file.is_file() and (names := _yaml_names(file)):
            return _refuse_numbers(names, file)
    found = dict[Path, dict[str, str]]()
    for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            found[file] = _yaml_names(file)
        except DataError as error:
            faults.append(error)
    named = [file for file in found if found[file]]
    if others := [file for file in named if found[file] != found[named[0]]]:
        raise DataError(f"{named[0]} and {others[0]} name other classes: call the file of these labels data.yaml")
    return _refuse_numbers(found[named[0]], named[0]) if named else {}


def _yaml_names(file: Path) -> dict[str, str]:
    """Read ``names``, a list or a map from ids; nothing where there is none."""
    content = read_yaml(file)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    return {str(index): str(name).strip() for index, name in names.items()} if isinstance(names, dict) else {}


def _refuse_numbers(names: dict[str, str], file: Path) -> dict[str, str]:
    if all(map(is_number, names.values())):
        raise DataError(f"{file} names the classes by numbers ({', '.join(names.values())}): write what they mean")
    return names


def read_faces(label: Path, names: Mapping[str, str], counts: Counter[str]) -> list[tuple[Box, str]]:
    """Return the boxes of a label that have one class, and count in words what is left out.

    Raises:
        DataError: A line is not as it should be.
    """
    found = defaultdict[Box, set[str]](set)
    for number, line in enumerate(text_of(label).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{label} line {number}"
        index, *values = line.split()
        if (name := names.get(plain_number(index))) is None:
            known = ", ".join(f"{key} {value}" for key, value in names.items())
            raise DataError(f"{where}: class {index!r} is none of {known}: correct it")
        found[_box(values, where)].add(name)
    for box in [box for box in found if box[0] >= box[2] or box[1] >= box[3]]:
        counts["left out {} empty boxes"] += 1
        del found[box]
    counts["left out {} boxes of several classes"] += sum(len(emotions) > 1 for emotions in found.values())
    return [(box, min(emotions)) for box, emotions in found.items() if len(emotions) == 1]


def _box(values: Sequence[str], where: str) -> Box:
    """Read center, width and height, or the corners of a polygon; the whole image where there is nothing."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = [math.nan]
    if not all(-0.01 <= number <= 1.01 for number in numbers) or (len(numbers) % 2 and len(numbers) != 5):
        raise DataError(
            f"{where}: {' '.join(values)!r} is no box: x, y, width and height are shares from 0 to 1 of the image"
        )
    if len(numbers) in (4, 5):  # a fifth is the confidence of a detector
        (x, y, width, height), half = numbers[:4], 0.5
        edges = x - half * width, y - half * height, x + half * width, y + half * height
    else:
        across, down = numbers[::2] or [0, 1], numbers[1::2] or [0, 1]
        edges = min(across), min(down), max(across), max(down)
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return left, top, right, bottom
