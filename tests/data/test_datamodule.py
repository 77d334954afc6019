import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.data import datamodule as datamodule_file
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.layouts.ferplus import CLASSES
from emotion_lightning.errors import DataError, UsageError
from tests.data.files import VOTES_HEADER, ferplus, ferplus_votes, table, votes
from tests.helpers import Batches, Lab, assert_equal


def test_sizes_that_the_run_never_reaches_are_named(lab: Lab) -> None:
    with pytest.warns(UserWarning, match=r"`resolution_schedule` has entries at epochs \[3\].*`max_epochs` 1"):
        lab.trainer(max_epochs=1).fit(lab.model(), lab.data(resolution_schedule={0: 24, 3: 32}))


def test_a_cut_is_saved_with_the_run_and_can_be_used_again(lab: Lab, tmp_path: Path, faces: Path) -> None:
    flat = shutil.copytree(faces / "train", tmp_path / "flat")
    data = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0)
    lab.trainer(max_epochs=1).fit(lab.model(), data)
    saved = tmp_path / "run" / "splits.csv"
    before = saved.read_bytes()
    shutil.copy(faces / "val" / "happy" / "00.png", flat / "happy" / "new.png")
    changed = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(DataError, match=r"splits\.csv"):
        lab.trainer(max_epochs=1).fit(lab.model(), changed, ckpt_path=last)
    assert saved.read_bytes() == before  # a refused resume leaves the cut as it was
    (flat / "happy" / "new.png").unlink()
    again = EmotionDataModule(
        str(flat), image_size=32, batch_size=8, num_workers=0, split_seed=7, splits_file=str(saved)
    )
    other = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0, split_seed=7)
    assert again.manifest.fingerprint() == data.manifest.fingerprint() != other.manifest.fingerprint()


def test_a_test_split_cut_anew_from_changed_images_is_refused(lab: Lab, tmp_path: Path, faces: Path) -> None:
    flat = shutil.copytree(faces / "train", tmp_path / "flat")
    options = {"root": str(flat), "image_size": 32, "batch_size": 8, "num_workers": 0}
    lab.trainer(max_epochs=1).fit(lab.model(), EmotionDataModule(**options))
    shutil.copy(faces / "val" / "happy" / "00.png", flat / "happy" / "new.png")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with pytest.raises(DataError, match=r"splits\.csv"):
        lab.trainer("test").test(lab.model(), EmotionDataModule(**options), ckpt_path=last, verbose=False)
    kept = EmotionDataModule(**options, splits_file=str(tmp_path / "run" / "splits.csv"))
    lab.trainer("kept").test(lab.model(), kept, ckpt_path=last, verbose=False)


@pytest.fixture
def broken(tmp_path: Path, faces: Path) -> Path:
    root = shutil.copytree(faces, tmp_path / "broken")
    whole = (root / "train" / "happy" / "00.png").read_bytes()
    (root / "train" / "happy" / "00.png").write_bytes(whole[: len(whole) // 2])
    (root / "val" / "angry" / "01.png").write_text("no image")
    return root


def test_unreadable_images_stop_the_run_before_epoch_0_and_are_listed(lab: Lab, broken: Path) -> None:
    trainer = lab.trainer()
    with pytest.raises(
        DataError, match=r"2 unreadable[^$]*`unreadable=skip`[^$]*train/happy/00\.png[^$]*val/angry/01\.png"
    ):
        trainer.fit(lab.model(), lab.data(root=str(broken)))
    assert trainer.global_step == 0


def test_skipping_leaves_them_out_and_puts_nothing_in_their_place(
    lab: Lab, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(datamodule_file, "rank_zero_info", said.append)
    seen, data, model = Batches(), lab.data(root=str(broken), unreadable="skip", batch_size=5), lab.model()
    lab.trainer(callbacks=[seen], max_epochs=1).fit(model, data)
    bad = {
        index for index, name in enumerate(data.manifest.names) if name in ("train/happy/00.png", "val/angry/01.png")
    }
    assert len(bad) == 2
    assert not bad & {index for batch in seen.indices for index in batch}
    assert len(data.indices("train")) == 47
    assert model.val_outputs.outputs().confusion.sum(dim=1).tolist() == [5, 6, 6]
    assert any("train/happy/00.png" in line and "2 unreadable" in line for line in said)


def test_a_missing_test_split_says_what_to_do(lab: Lab, faces: Path, tmp_path: Path) -> None:
    root = shutil.copytree(faces, tmp_path / "two")
    shutil.rmtree(root / "test")
    with pytest.raises(DataError, match=r"no test images.*`test_split=val`"):
        lab.trainer().test(lab.model(), lab.data(root=str(root)), verbose=False)


@pytest.mark.parametrize(
    ("name", "value"), [("image_size", 4), ("batch_size", 1), ("eval_batch_size", 0), ("num_workers", -1)]
)
def test_numbers_outside_their_range_are_refused(lab: Lab, name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"`{name}` {value}"):
        lab.data(**{name: value})


def test_every_row_of_an_unreadable_file_is_left_out(lab: Lab, broken: Path) -> None:
    rows = [f"train/{name}/{i:02d}.png,{name}" for name in ("angry", "happy", "surprised") for i in range(16)]
    (broken / "train.csv").write_text("\n".join(["filepath,label", *rows, "train/happy/00.png,happy"]))
    (broken / "val.csv").write_text("filepath,label\nval/angry/00.png,angry\nval/happy/00.png,happy\n")
    data = lab.data(root=str(broken), unreadable="skip", batch_size=5)
    lab.trainer(max_epochs=1).fit(lab.model(), data)
    assert len(data.indices("train")) == 47


def test_data_in_another_order_of_classes_is_refused(lab: Lab) -> None:
    with pytest.raises(DataError, match="class_names"):
        lab.trainer().test(lab.model(), lab.data(class_names=["surprised", "happy", "angry"]), verbose=False)


def test_model_and_data_of_different_seeds_are_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match="seed 42, the data 7"):
        lab.trainer().fit(lab.model(), lab.data(seed=7))


def test_training_never_looks_at_the_test_split(lab: Lab, faces: Path, tmp_path: Path) -> None:
    blind = shutil.copytree(faces, tmp_path / "blind")
    for number, image in enumerate(sorted((blind / "test").rglob("*.png"))):  # the audit looks at them, and no more
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(image)
    states = []
    for root in (faces, blind):
        model = lab.model()
        lab.trainer(f"from_{root.name}", max_epochs=1).fit(model, lab.data(root=str(root)))
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_built_in_faces_leak_nothing() -> None:
    data = EmotionDataModule()
    assert data.audit is None
    overlap = data.exposure.overlap_mask("test")
    assert overlap is not None
    assert not overlap.any()
    assert len(overlap) == len(data.manifest)
    assert data.exposure.summary()["compared"].startswith("nothing")


def test_probabilities_need_votes_where_they_are_trained_on(lab: Lab) -> None:
    data = lab.data(fer_plus="probabilities")
    with pytest.raises(UsageError, match=r"`fer_plus=probabilities` needs FER\+'s votes.*folder tree with splits"):
        data.setup("fit")
    data.setup("test")  # nothing is trained
    with pytest.raises(UsageError, match="`fer_plus`"):
        lab.data(fer_plus="majorities")


@pytest.mark.slow
def test_votes_change_what_is_learnt_and_a_resume_goes_on_with_them(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ferplus_votes(each=4)
    root = ferplus(tmp_path / "data", rows)

    def fit(folder: str, workers: int = 0, ckpt_path: Path | None = None, **options: Any) -> dict[str, Any]:
        data = lab.data(root=str(root), num_workers=workers, **options)
        lab.trainer(folder).fit(lab.model(class_names=list(CLASSES)), data, ckpt_path=ckpt_path)
        found: dict[str, Any] = torch.load(tmp_path / folder / "checkpoints" / "last.ckpt", weights_only=True)
        return found["state_dict"] | found["raw_state_dict"]

    with caplog.at_level("INFO"):
        whole = fit("whole", fer_plus="probabilities")
    assert "the shares of the votes, of which 32 of 32 training images have some for another class" in caplog.text
    hard = fit("hard")
    assert any(not torch.equal(whole[name], hard[name]) for name in whole)
    checkpoint = tmp_path / "whole" / "checkpoints" / "epoch_000.ckpt"
    assert_equal(whole, fit("resumed", 2, checkpoint, fer_plus="probabilities"))
    table(root / "fer2013new.csv", VOTES_HEADER, [(*rows[0][:2], *votes(neutral=8, fear=2)), *rows[1:]])
    assert_equal(hard, fit("same", 0, tmp_path / "hard" / "checkpoints" / "epoch_000.ckpt"))
    with pytest.raises(DataError, match="their labels or splits are not those"):
        fit("other", 0, checkpoint, fer_plus="probabilities")
