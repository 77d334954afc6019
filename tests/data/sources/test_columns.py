from pathlib import Path

import pytest
from PIL import Image

from emotion_lightning.data.sources.columns import column
from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import UsageError

ROWS = """filepath,label,subject,Age,camera
x/1.png,happy,p1,20-29,phone
x/2.png,angry,p2,nan,phone
y/3.png,happy,p3,30-39
y/4.png,angry,p4,30-39,studio
"""


def data(root: Path) -> Path:
    for split, rows in (("train", ROWS), ("val", ROWS), ("test", "filepath,label\nx/1.png,happy\n")):
        (root / f"{split}.csv").write_text(rows, encoding="utf-8")
    for name in ("x/1", "x/2", "y/3", "y/4"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (10 * int(name[2:]), 0, 0)).save(root / f"{name}.png")
    return root


def test_further_columns_of_a_table_are_kept_with_what_is_not_known(tmp_path: Path) -> None:
    found = read_manifest(data(tmp_path))
    assert found.columns == {
        "age": (*("20-29", None, "30-39", "30-39") * 2, None),
        "camera": (*("phone", "phone", None, "studio") * 2, None),
    }
    without = read_manifest(tmp_path, drop_classes=[], merge_classes={"glad": ["happy"]})
    assert without.columns == found.columns


def test_a_column_or_the_folder_of_a_level_makes_groups() -> None:
    columns, paths = {"age": ("1", "2")}, ["train/x/1.png", "train/2.png"]
    assert column("Age", columns, paths) == ("1", "2")
    assert column("folder:1", columns, paths) == ["train", "train"]
    assert column("folder:2", columns, paths) == ["x", None]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sex", "sex: the data has no such column; there are age, id; folder:1 is"),
        ("folder:3", "no image lies so deep; the first is x/0.png"),
        ("folder:0", "no such column"),
        ("id", "id has 101 different values, and at most 100 make groups"),
    ],
)
def test_what_makes_no_groups_is_said_in_one_line(name: str, message: str) -> None:
    columns = {"age": ("1",) * 101, "id": tuple(map(str, range(101)))}
    with pytest.raises(UsageError, match=message) as error:
        column(name, columns, [f"x/{place}.png" for place in range(101)])
    assert "\n" not in str(error.value)


def test_where_there_are_no_columns_the_message_says_so() -> None:
    with pytest.raises(UsageError, match="there are none besides the image"):
        column("age", {}, ["1.png"])
