import shutil
from pathlib import Path

import pytest

from emotion_lightning.data.datamodule import EmotionDataModule
from tests.helpers import Lab


def test_a_measured_split_says_what_it_was_used_for(lab: Lab) -> None:
    data = lab.data()
    assert data.exposure.bias_warnings("test") == []
    assert "chose the checkpoint" in data.exposure.bias_warnings("val")[0]
    assert "trained on" in data.exposure.bias_warnings("train")[0]
    assert EmotionDataModule().exposure.bias_warnings("test") == []


@pytest.mark.parametrize("copied", [0, 8, 9, 18])
def test_a_test_split_that_is_the_validation_split_is_told(copied: int, faces: Path, tmp_path: Path, lab: Lab) -> None:
    root = shutil.copytree(faces, tmp_path / "same")
    images = sorted((faces / "val").rglob("*.png"))[:copied]
    for image in images:
        shutil.copy(image, root / "test" / image.parent.name / f"{image.stem}.png")
    found = lab.data(root=str(root)).exposure.bias_warnings("test")
    if copied < 9:
        assert found == []
    else:
        said = f"{copied} of 18 test images, or copies of them, are in the validation split that chose it."
        assert found == [f"The checkpoint was selected on the test set: {said}"]


def test_private_test_images_that_validate_are_told(faces: Path, tmp_path: Path, lab: Lab) -> None:
    root = shutil.copytree(faces, tmp_path / "private")
    for image in sorted((root / "val").rglob("*.png")):
        image.rename(image.with_name(f"PrivateTest_{image.name}"))
    (found,) = lab.data(root=str(root), layout="tree").exposure.bias_warnings("test")
    assert "18 of 18 validation images are of FER2013's PrivateTest" in found


def test_what_chose_the_checkpoint_is_known_whatever_is_measured_later(faces: Path, tmp_path: Path, lab: Lab) -> None:
    same = shutil.copytree(faces, tmp_path / "same")
    shutil.rmtree(same / "test")
    shutil.copytree(same / "val", same / "test")
    trained = lab.data(root=str(same))
    lab.trainer(max_epochs=1).fit(lab.model(), trained)
    clean = shutil.copytree(same, tmp_path / "clean")
    shutil.rmtree(clean / "val")
    shutil.copytree(faces / "test", clean / "val")
    later = lab.data(root=str(clean))
    model = lab.model()
    best = str(lab.folder / "run/checkpoints/best.ckpt")
    lab.trainer(callbacks=[]).test(model, later, ckpt_path=best, verbose=False)
    assert "selected on the test set: 18 of 18" in later.exposure.bias_warnings("test")[0]
    overlap = later.exposure.overlap_mask("test")
    assert overlap is not None
    assert overlap.sum() == 18


def test_images_left_out_accuse_nobody(faces: Path, tmp_path: Path, lab: Lab) -> None:
    root = shutil.copytree(faces, tmp_path / "dropped")
    for image in sorted((faces / "val").rglob("*.png"))[:12]:
        shutil.copy(image, root / "test" / image.parent.name / f"copy_{image.name}")
    assert lab.data(root=str(root)).exposure.bias_warnings("test") != []
    assert lab.data(root=str(root), leaks="drop").exposure.bias_warnings("test") == []
