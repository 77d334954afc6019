"""Readers of the ways in which people keep facial-emotion data: folder trees, CSV manifests and FER2013's CSV."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emotion_lightning.data.images import IMAGE_SUFFIXES, Files, PixelRows
from emotion_lightning.data.labels import FER2013_CLASSES, canonical, class_ids
from emotion_lightning.data.splits import SPLITS, Split
from emotion_lightning.errors import DataError

LAYOUTS = (
    "ROOT/{train,val,test}/<class>/*.jpg; ROOT/<class>/*.jpg; ROOT/train.csv with the columns filepath,label; "
    "ROOT/fer2013.csv or ROOT/icml_face_data.csv"
)

_SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_PIXEL_CSVS = ("fer2013.csv", "icml_face_data.csv")
_USAGES: dict[str, Split] = {"training": "train", "publictest": "val", "privatetest": "test"}
_SIDE = 48


class Row(NamedTuple):
    """One image as a layout names it: below ROOT, its class as spelled there, its split where one is given."""

    name: str
    emotion: str
    split: Split | None


@dataclass(frozen=True)
class Listing:
    """What a layout holds, before classes are numbered and missing splits cut."""

    layout: str
    root: Path
    class_names: tuple[str, ...]
    rows: list[Row]
    source: Files | PixelRows


def read_layout(root: Path) -> Listing:
    """Find out how the data under ``root`` is kept and list it.

    Raises:
        DataError: There is no such path, no layout is recognised, or the data breaks a rule of its layout.
    """
    folder = _unwrap(root)
    if pixels := _pixel_csv(folder):
        return _read_pixels(pixels)
    if (folder / "train.csv").is_file():
        return _read_csvs(root, folder)
    folders = _visible_folders(folder)
    if any(child.name.casefold() in _SPLIT_FOLDERS for child in folders):
        return _read_split_tree(root, folder)
    if not any(_images(child) for child in folders):
        raise DataError(f"{root} holds no images in a layout that is understood. Understood are: {LAYOUTS}")
    names, rows = _read_classes(root, folder, None, required=True)
    return Listing("folder tree without splits", root, names, rows, _files(root, rows))


def read_splits_file(root: Path, file: Path) -> Listing:
    """List exactly the images that a CSV with the columns filepath,label,split names, with ``root`` as their base.

    Raises:
        DataError: The file is malformed, or names an image that is not there.
    """
    folder = _unwrap(root)
    if pixels := _pixel_csv(folder):
        whole = _read_pixels(pixels)
        place = {row.name: position for position, row in enumerate(whole.rows)}
        rows = _listed(file, place.__contains__, FER2013_CLASSES)
        assert isinstance(whole.source, PixelRows)
        source = PixelRows(whole.source.pixels[[place[row.name] for row in rows]])
        return Listing("splits file", whole.root, FER2013_CLASSES, rows, source)
    order = _label_map(folder) if (folder / "train.csv").is_file() else None
    rows = _listed(file, lambda name: (root / name).is_file(), order)
    names = order or _spelled_once((row.emotion for row in rows if row.split == "train"), file)
    return Listing("splits file", root, names, rows, _files(root, rows))


def _unwrap(root: Path) -> Path:
    """Look through the single folder that unpacking an archive may have put around the data."""
    if root.is_file() and root.suffix.lower() != ".csv":
        raise DataError(f"{root} is neither a folder nor a CSV file: give the folder with the data, archives unpacked")
    if root.is_file():
        return root
    if not root.is_dir():
        raise DataError(f"{root} does not exist: give the folder that holds the data")
    folders = _visible_folders(root)
    if len(folders) != 1 or folders[0].name.casefold() in _SPLIT_FOLDERS or _has_csv(root):
        return root
    holds_images = any(_is_image(entry.name) for entry in folders[0].iterdir())
    return root if holds_images and not _has_csv(folders[0]) else folders[0]


def _has_csv(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*_PIXEL_CSVS, "train.csv"))


def _visible_folders(folder: Path) -> list[Path]:
    folders = [path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name)]
    return sorted(folders, key=lambda path: (path.name.casefold(), path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return not _is_hidden(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _images(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        found += [Path(parent, name) for name in files if _is_image(name)]
    return sorted(found)


def _cannot_list(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error


def _files(root: Path, rows: Iterable[Row]) -> Files:
    return Files(tuple(root / row.name for row in rows))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _spelled_once(names: Iterable[str], where: Path) -> tuple[str, ...]:
    """Sort the different names, of which no two may mean the same class."""
    different = tuple(sorted(set(names), key=lambda name: (name.casefold(), name)))
    try:
        class_ids(different)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return different


# Folder trees


def _read_split_tree(root: Path, folder: Path) -> Listing:
    found: dict[Split, Path] = {}
    for child in _visible_folders(folder):
        if (split := _SPLIT_FOLDERS.get(child.name.casefold())) is None:
            continue
        if split in found:
            raise DataError(f"{folder} has both {found[split].name!r} and {child.name!r}: merge them or rename one")
        found[split] = child
    if "train" not in found:
        raise DataError(f"{folder} has {', '.join(p.name for p in found.values())} but no folder 'train': add one")
    class_names, rows = _read_classes(root, found.pop("train"), "train", required=True)
    for split, child in found.items():
        rows += _read_classes(root, child, split, required=False)[1]
    if "val" not in found and any(_is_public(row) for row in rows):
        rows = [row._replace(split="val") if _is_public(row) else row for row in rows]
        return Listing("FER2013 folders, test told apart by prefix", root, class_names, rows, _files(root, rows))
    return Listing("folder tree with splits", root, class_names, rows, _files(root, rows))


def _is_public(row: Row) -> bool:
    """Say whether an image in ``test`` is of FER2013's validation set, which shared copies put there too."""
    return row.split == "test" and row.name.rpartition("/")[2].startswith("PublicTest_")


def _read_classes(root: Path, folder: Path, split: Split | None, required: bool) -> tuple[tuple[str, ...], list[Row]]:
    """List ``folder/<class>/**``; ``required``: no class folder may be without images."""
    classes = _visible_folders(folder)
    names = _spelled_once((child.name for child in classes), folder)
    images = {child.name: _images(child) for child in classes}
    if not any(images.values()):
        raise DataError(f"{folder} has no images in class folders ({folder.name}/<class>/*): add some or remove it")
    empty = [name for name in names if not images[name]]
    if required and empty:
        raise DataError(f"class {empty[0]!r} has no images in {folder}: add some or remove the folder")
    return names, [Row(_name(path, root), name, split) for name in names for path in images[name]]


# CSV files


def _rows(file: Path, *columns: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line of a CSV file and its values of ``columns``, without blanks around them."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip().casefold() for name in next(reader, [])]
            if absent := [name for name in columns if name not in header]:
                raise DataError(
                    f"{file} has no column {', '.join(absent)}: its first line must name {','.join(columns)}"
                )
            places = [header.index(name) for name in columns]
            for row in filter(None, reader):
                if len(row) <= max(places):
                    raise DataError(f"{file} line {reader.line_num} has {len(row)} values, expected {len(header)}")
                yield reader.line_num, [row[place].strip() for place in places]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a CSV file: {error}") from error


def _listed(
    file: Path, exists: Callable[[str], bool], class_names: Sequence[str] | None, split: Split | None = None
) -> list[Row]:
    """Read the columns filepath and label, and split unless it is given."""
    rows, missing = [], []
    known = _keys(class_names) if class_names else None
    for line, (name, label, *given) in _rows(file, "filepath", "label", *([] if split else ["split"])):
        emotion = label if known is None else known.get(canonical(label))
        if not emotion:
            wanted = f"none of the classes {', '.join(class_names)}" if class_names else "empty"
            raise DataError(f"{file} line {line}: label {label!r} is {wanted}: correct it")
        place = split or _SPLIT_FOLDERS.get(given[0].casefold())
        if place is None:
            raise DataError(f"{file} line {line}: split {given[0]!r} is none of {', '.join(SPLITS)}: correct it")
        rows.append(Row(name, emotion, place))
        if not exists(name):
            missing.append(f"line {line} {name!r}")
    if missing:
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise DataError(
            f"{file} names {len(missing):,} missing file{'s' * (len(missing) > 1)}: {', '.join(missing[:5])}{more}; "
            "correct the paths or remove the rows"
        )
    if not rows:
        raise DataError(f"{file} has no rows: add some or remove the file")
    if absent := {"train", "val"} - {row.split for row in rows} if split is None else set():
        raise DataError(f"{file} has no rows of split {min(absent)!r}: add some")
    return rows


def _keys(class_names: Sequence[str]) -> dict[str, str]:
    """Map what a label may say, an index or any spelling of a name, to the class name; a name goes before an index."""
    indices = {str(index): name for index, name in enumerate(class_names)}
    return indices | {canonical(name): name for name in class_names}


def _label_map(folder: Path) -> tuple[str, ...] | None:
    """Read label_map.json (class name to index) as class names in the order of their indices; None without one."""
    file = folder / "label_map.json"
    if not file.is_file():
        return None
    try:
        ids = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(ids, dict) or not ids or any(type(index) is not int for index in ids.values()):
        raise DataError(f'{file} must map class names to whole numbers, like {{"angry": 0, "happy": 1}}')
    if sorted(ids.values()) != list(range(len(ids))):
        raise DataError(f"{file}: the indices must be 0 to {len(ids) - 1}, each once, not {sorted(ids.values())}")
    _spelled_once(ids, file)
    return tuple(sorted(ids, key=lambda name: int(ids[name])))


def _read_csvs(root: Path, folder: Path) -> Listing:
    class_names, rows = _label_map(folder), list[Row]()
    for split in SPLITS:
        file = folder / f"{split}.csv"
        if not file.is_file():
            continue
        listed = _listed(file, lambda name: (folder / name).is_file(), class_names, split)
        spelled = _spelled_once((row.emotion for row in listed), file)
        if split == "train":
            if absent := [name for name in class_names or () if name not in spelled]:
                raise DataError(
                    f"class {absent[0]!r} has no images in {file}: add some or take it out of label_map.json"
                )
            class_names = class_names or spelled
        rows += [row._replace(name=_name(Path(os.path.abspath(folder / row.name)), root)) for row in listed]
    assert class_names is not None  # train.csv has rows
    return Listing("CSV manifests", root, class_names, rows, _files(root, rows))


# FER2013's CSV


def _pixel_csv(folder: Path) -> Path | None:
    """Return ``folder`` if it is itself a file, or the FER2013 CSV in it unless it has a manifest of files."""
    if folder.is_file():
        return folder
    if (manifest := folder / "train.csv").is_file():  # the challenge ships a train.csv too, of pixels
        with manifest.open(encoding="utf-8", errors="replace") as stream:
            if "filepath" in stream.readline().casefold():
                return None
    return next((folder / name for name in _PIXEL_CSVS if (folder / name).is_file()), None)


def _read_pixels(file: Path) -> Listing:
    rows, pixels = [], []
    classes = {str(index): name for index, name in enumerate(FER2013_CLASSES)}
    for line, (emotion, usage, values) in _rows(file, "emotion", "usage", "pixels"):
        where = f"{file} line {line}"
        if usage.casefold() not in _USAGES:
            raise DataError(f"{where}: Usage {usage!r} is none of Training, PublicTest, PrivateTest: correct it")
        if emotion not in classes:
            raise DataError(f"{where}: emotion {emotion!r} is no number from 0 to {len(classes) - 1}: correct it")
        rows.append(Row(f"{file.name}:{line}", classes[emotion], _USAGES[usage.casefold()]))
        pixels.append(_parse_pixels(values, where))
    if not rows:
        raise DataError(f"{file} has no rows: give a file with images")
    return Listing(f"pixels in {file.name}", file.parent, FER2013_CLASSES, rows, PixelRows(np.stack(pixels)))


def _parse_pixels(values: str, where: str) -> npt.NDArray[np.uint8]:
    if not (values.isascii() and values.replace(" ", "").isdigit()):
        raise DataError(f"{where}: its pixels are not whole numbers divided by blanks: correct it")
    numbers = np.fromstring(values, np.int64, sep=" ")
    if len(numbers) != _SIDE * _SIDE:
        raise DataError(f"{where} has {len(numbers):,} pixels, expected {_SIDE * _SIDE:,}: correct it")
    if numbers.max() > 255:
        raise DataError(f"{where} has a pixel of {numbers.max()}, above 255: correct it")
    return numbers.astype(np.uint8).reshape(_SIDE, _SIDE)
