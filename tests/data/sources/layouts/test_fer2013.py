import pickle
from pathlib import Path

import numpy as np
import pytest

from emotion_lightning.data.sources.labels import FER2013_CLASSES
from emotion_lightning.data.sources.manifest import read_manifest
from emotion_lightning.errors import DataError
from tests.data.files import PIXELS, face, fer_rows, pixels, table


@pytest.mark.parametrize(
    ("name", "header", "order", "inside"),
    [
        ("fer2013.csv", "emotion,pixels,Usage", (0, 1, 2), True),
        ("icml_face_data.csv", "emotion, Usage, pixels", (0, 2, 1), True),
        ("my copy.csv", "pixels,Usage,emotion", (1, 2, 0), False),
    ],
)
def test_fer2013_csv(tmp_path: Path, name: str, header: str, order: tuple[int, ...], inside: bool) -> None:
    file = table(tmp_path / name, header, [[row[place] for place in order] for row in fer_rows()])
    manifest = read_manifest(tmp_path if inside else file)
    assert manifest.class_names == FER2013_CLASSES
    assert manifest.describe() == f"pixels in {name}, 7 classes ({', '.join(FER2013_CLASSES)}), 7 train, 1 val, 1 test"
    assert manifest.names[0] == f"{name}:2"
    assert manifest.labels == (*range(7), 3, 6)
    assert manifest.paths is None
    image = pickle.loads(pickle.dumps(manifest.read))(8)
    assert (image.mode, image.size, image.getpixel((47, 47))) == ("RGB", (48, 48), (255, 255, 255))


def test_fer2013_csv_wins_over_the_challenges_train_csv(tmp_path: Path) -> None:
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", fer_rows())
    table(tmp_path / "train.csv", "emotion,pixels", [(0, pixels())])
    assert read_manifest(tmp_path).layout == "pixels in fer2013.csv"


def test_fer2013_csv_keeps_pixel_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, PIXELS)
    rows = [(0, " ".join(map(str, values)), "Training"), *fer_rows()[1:]]
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    assert np.array_equal(np.asarray(read_manifest(tmp_path).read(0))[..., 1], values.reshape(48, 48))


def test_copies_in_pixel_rows_stay_together(tmp_path: Path) -> None:
    rows = [(label, pixels(label * 30 + n // 2), "Training") for label in range(7) for n in range(40)]
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ("val",)
    assert manifest.splits[0::2] == manifest.splits[1::2]
    assert all(count == 6 for count in manifest.counts("val").values())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, "1 2 3", "Training"), r"fer2013\.csv line 3 has 3 pixels, expected 2,304"),
        ((0, pixels()[:-1] + "256", "Training"), r"line 3 has a pixel of 256"),
        ((0, pixels()[:-1] + "9" * 40, "Training"), r"line 3 has a pixel of \d+, above 255"),
        ((0, "-1 " + pixels(), "Training"), "line 3: its pixels are not whole numbers"),
        ((0, "", "Training"), "line 3: its pixels are not whole numbers"),
        ((7, pixels(), "Training"), "line 3: emotion '7' is no number from 0 to 6"),
        ((0, pixels(), "Testing"), "line 3: Usage 'Testing' is none of"),
        ((0, pixels()), "line 3 has 2 values, expected 3"),
    ],
)
def test_bad_pixel_row_is_named(tmp_path: Path, row: tuple[object, ...], message: str) -> None:
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", [fer_rows()[0], row])
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path)


def test_fer2013_folders_as_shared_are_told_apart_by_prefix(tmp_path: Path) -> None:
    for label, name in enumerate(("happy", "neutral")):
        face(tmp_path / "train" / name / "Training_1.jpg", label)
        face(tmp_path / "test" / name / "PublicTest_2.jpg", label + 10)
        face(tmp_path / "test" / name / "PrivateTest_3.jpg", label + 20)
        face(tmp_path / "test" / name / "PrivateTest_4.jpg", label + 30)
    manifest = read_manifest(tmp_path)
    assert manifest.cut == ()
    assert manifest.layout == "FER2013 folders, test told apart by prefix"
    assert {manifest.names[i] for i in manifest.indices("val")} == {
        "test/happy/PublicTest_2.jpg",
        "test/neutral/PublicTest_2.jpg",
    }
    assert manifest.counts("test") == {"happy": 2, "neutral": 2}
