import json
import os
from pathlib import Path
from typing import Any

import pytest

from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import face, table


def test_csv_manifests_without_a_map_sort_the_names(manifests: Path) -> None:
    manifest = read_manifest(manifests)
    assert manifest.describe() == "CSV manifests, 2 classes (happy, sad), 4 train, 2 val"
    assert manifest.class_names == ("happy", "sad")
    assert manifest.names[:2] == ("faces/0.png", "faces/1.png")
    assert manifest.labels[:2] == (1, 0)


def test_csv_labels_are_names_or_indices_of_the_map(manifests: Path) -> None:
    (manifests / "label_map.json").write_text('{"sad": 0, "Happy": 1}')
    rows = [("faces/0.png", "0"), ("faces/1.png", "joy"), ("faces/2.png", " Sadness "), ("faces/3.png", 1)]
    table(manifests / "train.csv", "\ufefflabel_id, Label ,FilePath", [(9, label, name) for name, label in rows])
    manifest = read_manifest(manifests)
    assert manifest.class_names == ("sad", "Happy")
    assert manifest.labels[:4] == (0, 1, 0, 1)


def test_csv_paths_may_be_absolute_and_where_it_is_allowed_outside(
    manifests: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("elsewhere") / "face.png"
    face(outside, 9)
    rows = [(outside, "happy"), (manifests / "faces/0.png", "sad"), ("faces/../faces/1.png", "sad")]
    table(manifests / "train.csv", "filepath,label", rows)
    with pytest.raises(DataError, match=r"1 images are outside of .*, such as .*face\.png: .*`allow_outside=true`"):
        read_manifest(manifests)
    manifest = read_manifest(manifests, allow_outside=True)
    assert manifest.names[:3] == (outside.as_posix(), "faces/0.png", "faces/1.png")
    assert manifest.read(0).getpixel((0, 0)) == (9, 0, 7)


def test_no_table_leads_out_of_the_data_and_its_own_folder(manifests: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    face(elsewhere / "face.png", 9)
    up = os.path.relpath(elsewhere / "face.png", manifests)
    rows = [("faces/0.png", "happy", "train"), ("faces/1.png", "sad", "train"), (up, "sad", "val")]
    for folder in (manifests, elsewhere):
        table(folder / "mine.csv", "filepath,label,split", rows)
    with pytest.raises(DataError, match=r"1 images are outside of .*, such as \.\./"):
        read_manifest(manifests, splits_file=manifests / "mine.csv")
    assert len(read_manifest(manifests, splits_file=elsewhere / "mine.csv")) == 3  # it lies beside the table
    table(manifests / "train.csv", "filepath,label", [(up, "happy"), ("faces/1.png", "sad")])
    with pytest.raises(DataError, match="1 images are outside"):
        read_manifest(manifests)


def test_a_link_to_the_data_is_the_data(manifests: Path, tmp_path_factory: Any) -> None:
    link = tmp_path_factory.mktemp("links") / "data"
    link.symlink_to(manifests)
    rows = [(manifests / "faces/0.png", "happy"), (link / "faces/1.png", "sad")]
    table(manifests / "train.csv", "filepath,label", rows)
    assert len(read_manifest(link)) > 1


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("pfad,label", [("faces/0.png", "sad")], r"train\.csv has no column filepath: its first line must name"),
        ("filepath,label", [], r"train\.csv has no rows"),
        ("filepath,label", [("faces/0.png",)], r"train\.csv line 2 has 1 values, expected 2"),
        ("filepath,label", [("faces/0.png", " ")], r"train\.csv line 2: label '' is empty"),
        ("filepath,label", [("faces/0.png", "sad"), ("a.png", "sad")], r"1 missing file: line 3 'a\.png'; correct"),
        ("filepath,label", [("", "sad")], "1 missing file: line 2 ''"),
        (
            "filepath,label",
            [(f"{n}.png", "sad") for n in range(1200)],
            r"1,200 missing files: .*'4\.png' and 1,195 more;",
        ),
    ],
)
def test_faults_of_a_csv(manifests: Path, header: str, rows: list[tuple[str, ...]], message: str) -> None:
    table(manifests / "train.csv", header, rows)
    with pytest.raises(DataError, match=message):
        read_manifest(manifests)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON: it is nested too deeply"),
        ("[]", "must map class names to whole numbers"),
        ('{"sad": "0", "happy": 1}', "must map class names to whole numbers"),
        ('{"sad": 1, "happy": 2}', r"indices must be 0 to 1, each once, not \[1, 2\]"),
        ('{"sad": 0, "happy": 1, "joy": 2}', "classes 'happy' and 'joy' mean the same"),
        ('{"sad": 0, "happy": 1, "fear": 2}', "class 'fear' has no images in .*train.csv"),
        ('{"sad": 0, "fear": 1}', "train.csv line 3: label 'happy' is none of the classes sad, fear"),
    ],
)
def test_faults_of_a_label_map(manifests: Path, content: str, message: str) -> None:
    (manifests / "label_map.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_manifest(manifests)


def test_index_outside_the_map(manifests: Path) -> None:
    (manifests / "label_map.json").write_text(json.dumps({"sad": 0, "happy": 1}))
    table(manifests / "val.csv", "filepath,label", [("faces/4.png", 2)])
    with pytest.raises(DataError, match=r"val\.csv line 2: label '2' is none of the classes sad, happy"):
        read_manifest(manifests)


def test_csv_that_is_no_text(manifests: Path) -> None:
    (manifests / "train.csv").write_bytes(b"\xff\xfe\x00filepath")
    with pytest.raises(DataError, match=r"train\.csv cannot be read as a CSV file"):
        read_manifest(manifests)


@pytest.mark.parametrize("name", ["valid.csv", "validation.csv", "dev.csv", "Val.csv", "val_set.csv", "eval.tsv"])
def test_tables_of_any_usual_name(manifests: Path, name: str) -> None:
    (manifests / "val.csv").rename(manifests / name)
    assert len(read_manifest(manifests).indices("val")) == 2
    table(manifests / "validate.csv", "filepath,label", [("faces/5.png", "sad")])
    with pytest.raises(DataError, match=r"has both .* and .*: merge them or rename one"):
        read_manifest(manifests)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("column", ["label", "emotion", "Expression", "class"])
@pytest.mark.parametrize("image", ["filepath", "image", "Path"])
def test_columns_of_any_usual_name_and_separator(manifests: Path, separator: str, column: str, image: str) -> None:
    rows = [(f"faces/{n}.png", ("sad", "happy")[n % 2]) for n in range(4)]
    lines = [separator.join((image, "note", column)), *(separator.join((name, "x", label)) for name, label in rows)]
    (manifests / "train.csv").write_text("\n".join(lines))
    assert read_manifest(manifests).counts("train") == {"happy": 2, "sad": 2}


@pytest.mark.parametrize(
    ("labels", "kept", "note"),
    [
        (("Happy", "happy", "happy", "sad"), ("happy", "sad"), "Happy counted as happy"),
        (("anger", "angry", "angry", "fear"), ("angry", "fear"), "anger counted as angry"),
        (("joy", "joy", "Joy ", "fear"), ("fear", "joy"), "Joy counted as joy"),
    ],
)
def test_two_spellings_of_a_class_are_one(
    manifests: Path, labels: tuple[str, ...], kept: tuple[str, ...], note: str
) -> None:
    rows = [(f"faces/{number}.png", label) for number, label in enumerate(labels)]
    for split in ("train", "val"):
        table(manifests / f"{split}.csv", "filepath,label", rows)
    manifest = read_manifest(manifests)
    assert manifest.class_names == kept
    assert note in manifest.notes
    assert sum(manifest.counts("train").values()) == 4


@pytest.mark.parametrize("name", ["train\\angry\\x.png", "train\\angry/x.png", ".\\train\\angry\\x.png"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_back_slashes_are_taken_for_slashes(manifests: Path, name: str, split: str) -> None:
    face(manifests / "train" / "angry" / "x.png", 77)
    with (manifests / f"{split}.csv").open("a") as stream:
        stream.write(f"{name},sad\n")
    assert "train/angry/x.png" in read_manifest(manifests).names


@pytest.mark.parametrize(
    ("label", "message"),
    [
        *(
            (text, "is a number, whose meaning cannot be seen: write label_map.json")
            for text in ("1", "3", "3.0", "-1", "1e1")
        ),
        *((text, "is a number, whose meaning cannot be seen") for text in ("[9, 0, 1]", "(0 1)", "9 0 1", "0|1")),
        *(
            (text, "says that there is none: correct it or remove the row")
            for text in ("nan", "NaN", "None", "NULL", "N/A")
        ),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_that_name_no_class(manifests: Path, label: str, message: str, split: str) -> None:
    header, *rows = (manifests / f"{split}.csv").read_text().splitlines()
    path = rows[-1].partition(",")[0]
    (manifests / f"{split}.csv").write_text("\n".join([header, *rows, f'{path},"{label}"']))
    with pytest.raises(DataError, match=rf"{split}\.csv line \d: label .*{message}"):
        read_manifest(manifests)


def test_a_map_says_what_numbers_mean_floats_too(manifests: Path) -> None:
    for split, numbers in {"train": (0, 1, 2, 3), "val": (4, 5)}.items():
        table(manifests / f"{split}.csv", "filepath,label", [(f"faces/{n}.png", f"{n % 2}.0") for n in numbers])
    (manifests / "label_map.json").write_text('{"angry": 0, "happy": 1}')
    assert read_manifest(manifests).counts("val") == {"angry": 1, "happy": 1}


def test_an_unrelated_table_beside_class_folders_is_not_taken_for_the_data(tree: Path) -> None:
    table(tree / "train.csv", "id,score", [(1, 2)])
    manifest = read_manifest(tree)
    assert (manifest.layout, manifest.unread) == ("folder tree with splits", ("train.csv",))


def test_a_table_may_name_parts_of_images(manifests: Path) -> None:
    rows = [("faces/0.png#xywh=0,0,1,2", "sad"), ("faces/0.png#xywh=1,0,1,2", "happy"), ("faces/1.png", "sad")]
    table(manifests / "train.csv", "filepath,label", rows)
    manifest = read_manifest(manifests)
    assert manifest.names[:3] == tuple(name for name, _ in rows)
    assert [manifest.read(place).size for place in range(3)] == [(1, 2), (1, 2), (2, 2)]
    assert "faces/0.png" not in manifest.unread


def test_columns_of_boxes_name_parts_of_images(manifests: Path) -> None:
    rows = [("faces/0.png", 2, 2, "sad", 0, 0, 1, 2), ("faces/0.png", 2, 2, "happy", 1.0, 0, 2, 2)]
    rows += [(f"faces/{n}.png", 2, 2, ("sad", "happy")[n % 2], -1, 0, 2, 2) for n in range(1, 6)]
    header, names = "filename,width,height,class,xmin,ymin,xmax,ymax", ("0.png#xywh=1,0,1", "1.png#xywh=0,0,2")
    table(manifests / "train.csv", header, rows)
    (manifests / "val.csv").unlink()
    manifest = read_manifest(manifests)
    assert manifest.names[:3] == tuple(f"faces/{part},2" for part in ("0.png#xywh=0,0,1", *names))
    assert manifest.read(1).size == (1, 2)
    assert manifest.groups is not None
    assert manifest.groups[:3] == ("parts of faces/0.png",) * 2 + (None,)
    assert manifest.splits[0] == manifest.splits[1]
    for box in ((1, 0, 1, 2), ("a", 0, 1, 2), ("nan", 0, 1, 2), (0, 0, "inf", 2)):
        table(manifests / "train.csv", header, [("faces/0.png", 2, 2, "sad", *box)])
        with pytest.raises(DataError, match=r"train\.csv line 2: xmin, ymin, xmax, ymax are .*, which is no box"):
            read_manifest(manifests)
    for box in ((0.1, 0.2, 0.5, 0.9), (0, 0, 1, 1)):
        table(manifests / "train.csv", header, [("faces/0.png", 2, 2, "sad", *box)])
        with pytest.raises(DataError, match=r"line 2: .* are shares of the image: multiply them by its width and hei"):
            read_manifest(manifests)


def test_a_table_that_names_other_splits_in_its_rows_is_refused(manifests: Path) -> None:
    rows = [(f"faces/{n}.png", ("sad", "happy")[n % 2]) for n in range(4)]
    table(manifests / "train.csv", "filepath,label,split", [(*row, "train") for row in rows])
    assert len(read_manifest(manifests).indices("train")) == 4
    table(manifests / "train.csv", "filepath,label,split", [(*row, "fold 1") for row in rows])
    assert len(read_manifest(manifests).indices("train")) == 4
    table(manifests / "train.csv", "filepath,label,split", [*((*row, "train") for row in rows[:3]), (*rows[3], "dev")])
    with pytest.raises(DataError, match=r"train\.csv names a split in each row: give it as `splits_file`"):
        read_manifest(manifests)


def test_a_class_that_only_the_test_table_has(manifests: Path) -> None:
    rows = [(f"faces/{n}.png", ("contempt", "Joy")[n % 2]) for n in range(6)]
    table(manifests / "test.csv", "filepath,label", rows)
    manifest = read_manifest(manifests, class_names=("sad", "happy"), training=False)
    assert (manifest.unknown, len(manifest.indices("test"))) == ({"contempt": 3}, 3)
    with pytest.raises(DataError, match=r"class 'contempt' is in test but not in train \(first: faces/0\.png in "):
        read_manifest(manifests)


@pytest.mark.parametrize("nobody", ["", " ", "nan", "NaN", "None", "<NA>"])
def test_images_without_a_subject_are_no_group(manifests: Path, nobody: str) -> None:
    rows = [(f"faces/{n}.png", ("sad", "happy")[n % 2], ("NA", nobody)[n > 1]) for n in range(4)]
    table(manifests / "train.csv", "filepath,label,subject", rows)
    assert read_manifest(manifests).groups == ("NA", "NA", *4 * [None])
