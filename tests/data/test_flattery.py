import shutil
from pathlib import Path

import pytest

from emotion_lightning.data.datamodule import EmotionDataModule
from tests.conftest import Lab


def test_a_measured_split_says_what_it_was_used_for(lab: Lab) -> None:
    data = lab.data()
    assert data.flattery("test") == []
    assert "chose the checkpoint" in data.flattery("val")[0]
    assert "trained on" in data.flattery("train")[0]
    assert EmotionDataModule().flattery("test") == []


@pytest.mark.parametrize("copied", [0, 8, 9, 18])
def test_a_test_split_that_is_the_validation_split_is_told(copied: int, faces: Path, tmp_path: Path, lab: Lab) -> None:
    root = tmp_path / "same"
    shutil.copytree(faces, root)
    images = sorted((faces / "val").rglob("*.png"))[:copied]
    for image in images:
        shutil.copy(image, root / "test" / image.parent.name / f"{image.stem}.png")
    found = lab.data(root=str(root)).flattery("test")
    if copied < 9:
        assert found == []
    else:
        said = f"{copied} of 18 test images have a copy in the validation split."
        assert found == [f"The checkpoint was selected on the test set: {said}"]


def test_private_test_images_that_validate_are_told(faces: Path, tmp_path: Path, lab: Lab) -> None:
    root = tmp_path / "private"
    shutil.copytree(faces, root)
    for image in sorted((root / "val").rglob("*.png")):
        image.rename(image.with_name(f"PrivateTest_{image.name}"))
    (found,) = lab.data(root=str(root), format="tree").flattery("test")
    assert "18 of 18 validation images are of FER2013's PrivateTest" in found
