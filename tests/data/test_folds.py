"""The split has a seed of its own, and folds: each training image is validated by exactly one run."""

import shutil
from pathlib import Path

import pytest

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import UsageError
from tests.helpers import Lab, straddling


def splits_of(data: EmotionDataModule) -> dict[str, str]:
    return dict(zip(data.manifest.names, data.manifest.splits, strict=True))


def test_the_split_follows_its_own_seed_and_not_that_of_training(lab: Lab, faces: Path) -> None:
    flat = str(faces / "train")
    first, other = (splits_of(lab.data(root=flat, seed=seed)) for seed in (42, 1))
    assert first == other
    assert splits_of(lab.data(root=flat, split_seed=1)) != first


def test_the_default_split_is_the_one_of_before(lab: Lab, faces: Path) -> None:
    data = lab.data(root=str(faces / "train"))
    assert data.manifest.fingerprint() == "c54d6f94e404e533ffdb165f6404612a337b162b6fb265831ddd1caedd448ebb"


def test_built_in_faces_are_the_same_for_every_seed_of_training() -> None:
    first, other, drawn_anew = (
        EmotionDataModule(image_size=32, **seeds).manifest.read(0).tobytes()
        for seeds in ({}, {"seed": 1}, {"split_seed": 1})
    )
    assert first == other != drawn_anew


@pytest.mark.parametrize("layout", ["no splits", "train and test", "all splits"])
def test_each_training_image_is_validated_in_exactly_one_fold(
    lab: Lab, faces: Path, tmp_path: Path, layout: str
) -> None:
    root = shutil.copytree(faces / "train" if layout == "no splits" else faces, tmp_path / "own")
    if layout == "train and test":
        shutil.rmtree(root / "val")
    folds = [splits_of(lab.data(root=str(root), folds=4, fold=fold)) for fold in range(4)]
    for name in folds[0]:
        found = sorted(fold[name] for fold in folds)
        assert found == (["test"] * 4 if name.startswith("test/") else ["train", "train", "train", "val"])
    sizes = [list(fold.values()).count("val") for fold in folds]
    assert max(sizes) - min(sizes) <= 3  # one image of each class
    assert "; fold 0 of 4, counted from 0" in lab.data(root=str(root), folds=4).manifest.describe()


def test_copies_and_groups_stay_in_one_fold(lab: Lab, faces: Path, tmp_path: Path) -> None:
    root = shutil.copytree(faces, tmp_path / "own")
    for name in ("00", "01", "02"):  # a copy stands in the other split, which pooling puts into the same fold
        shutil.copy(root / f"train/happy/{name}.png", root / f"val/happy/copy_of_{name}.png")
    for fold in range(3):
        data = lab.data(root=str(root), folds=3, fold=fold)
        audit = data.audit
        assert audit is not None
        assert straddling(audit.scan.digests, data.manifest.splits) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 1}, "`data.folds` 1"),
        ({"folds": 3, "fold": 3}, "`data.fold` 3"),
        ({"fold": 1}, "`data.fold` 1"),
        ({"folds": 3, "root": None}, "`data.folds` is for data of your own"),
        ({"split_seed": -1}, "`split_seed` -1"),
    ],
)
def test_what_is_no_fold_is_refused(lab: Lab, options: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lab.data(**options).manifest  # noqa: B018
