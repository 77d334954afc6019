"""From planted copies to what training leaves out and what a test says of them."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emotion_lightning.cli import main
from emotion_lightning.data.audit import scan
from emotion_lightning.data.audit.face_data import FaceData
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images import decode as images
from emotion_lightning.errors import DataError
from tests.helpers import QUIET, TINY, Lab, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

RUN = Path("lightning_logs/version_0")


@pytest.fixture
def leaky(faces: Path, tmp_path: Path) -> Path:
    """The small tree, with two test images and one validation image copied into train, one of them mirrored."""
    root = tmp_path / "leaky"
    shutil.copytree(faces, root)
    shutil.copy(root / "test/happy/00.png", root / "train/happy/leak_a.png")
    Image.open(root / "test/angry/01.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "train/angry/b.png")
    shutil.copy(root / "val/happy/03.png", root / "train/surprised/wrong.png")
    return root


def test_an_audit_finds_what_was_planted(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", "--data.root", str(leaky), "--output", "found"])
    out = capsys.readouterr().out
    assert "test images with a copy in train" in out
    report = json.loads(Path("found/audit.json").read_text())
    assert report["leaks"] == {
        "train-val": {"images": 1, "of": 18, "exact": 1},
        "train-test": {"images": 2, "of": 18, "exact": 1, "flipped": 1},
    }
    pairs = {(leak["image"]["path"], leak["copy"]["path"]) for leak in report["leaking"]}
    assert ("test/angry/01.png", "train/angry/b.png") in pairs
    assert [len(group) for group in report["conflicting"]] == [2]
    page = Path("found/audit.html").read_text()
    assert "data:image/png" in page
    assert "wrong.png" in page


def test_strict_ends_with_1_where_something_is_wrong(
    leaky: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["audit", "--data.root", str(leaky), "--strict"])
    assert stopped.value.code == 1
    assert Path("audit/audit.json").is_file()
    main(["audit", "--data.root", str(faces), "--strict"])
    assert "nothing found" in capsys.readouterr().out
    assert "needs --data.root" in fails(capsys, 2, "audit")


def test_an_audit_takes_the_data_options_of_a_run(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.root", str(leaky), "--data.drop_classes", "[surprised]", *TINY, *QUIET])
    main(["audit", "--config", str(RUN / "config.yaml")])
    assert "surprised dropped" in capsys.readouterr().out
    main(["audit", "--config", str(RUN / "config.yaml"), "--data.drop_classes", "null"])  # what is given goes before
    assert "surprised dropped" not in capsys.readouterr().out
    Path("broken.yaml").write_text("[")
    assert "broken.yaml" in fails(capsys, 2, "audit", "--config", "broken.yaml")


def test_by_default_leaks_are_reported_and_measured_apart(leaky: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    assert "2 of 18 test images have a copy in train" in caplog.text
    assert "2 identical images in 1 group have different labels" in caplog.text
    assert json.loads((RUN / "audit.json").read_text())["leaks"]["train-test"]["images"] == 2
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["n"], metrics["leak_free"]["n"], metrics["leaked"]) == (18, 16, 2)
    assert metrics["audit"]["policies"]["leaks"] == "report"
    main(["predict", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", str(leaky / "test"), *QUIET])
    with (RUN / "predictions.csv").open() as file:
        rows = {row["filepath"]: row["predicted"] for row in csv.DictReader(file)}
    clean = {path: label for path, label in rows.items() if not path.endswith(("happy/00.png", "angry/01.png"))}
    right = sum(Path(path).parent.name == label for path, label in clean.items())
    assert metrics["leak_free"]["accuracy"] == pytest.approx(right / 16)


def test_drop_leaves_out_the_training_copies_and_keeps_the_test_set(leaky: Path) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET, "--data.leaks", "drop", "--data.conflicts", "drop"])
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["n"], metrics["leak_free"]["n"], metrics["leaked"]) == (18, 18, 0)
    assert metrics["audit"]["excluded"] == {"leak": 3}
    data = EmotionDataModule(str(leaky), image_size=32, leaks="drop")
    names = {data.manifest.names[index] for index in data.indices("train")}
    assert names.isdisjoint({"train/happy/leak_a.png", "train/angry/b.png", "train/surprised/wrong.png"})
    assert len(names) == 48


def measure(*options: str, split: str = "test") -> dict[str, Any]:
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *QUIET, *options])
    metrics: dict[str, Any] = json.loads((RUN / f"report/{split}/metrics.json").read_text())
    return metrics


def test_what_a_model_has_seen_depends_on_its_run_and_not_on_the_options_of_a_test(leaky: Path) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    as_trained = measure()
    assert (as_trained["leaked"], as_trained["audit"]["compared"]) == (2, "identical and near copies")
    assert measure("--data.leaks", "drop")["leak_free"] == as_trained["leak_free"]
    everything = measure("--data.test_split", "train", split="train")
    assert (everything["leaked"], everything["leak_free"]) == (51, None)

    moved = leaky.rename(leaky.with_name("moved"))
    assert measure("--data.root", str(moved))["leak_free"] == as_trained["leak_free"]
    (moved / "train/happy/00.png").rename(moved / "test/happy/seen.png")
    assert measure("--data.root", str(moved))["leaked"] == 3


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_has_no_leak_free_figures(leaky: Path) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    checkpoint = torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)
    del checkpoint["EmotionDataModule"]["trained_on"]
    torch.save(checkpoint, RUN / "checkpoints/best.ckpt")
    metrics = measure()
    assert (metrics["leaked"], metrics["leak_free"]) == (None, None)
    assert metrics["audit"]["compared"].startswith("nothing")


def test_a_resume_is_refused_when_a_training_image_has_changed(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET])
    shutil.copy(leaky / "train/happy/00.png", leaky / "train/happy/01.png")
    error = fails(capsys, 1, "fit", "--ckpt_path", str(RUN / "checkpoints/last.ckpt"), *QUIET)
    assert "not those that the checkpoint was trained with" in error


@pytest.mark.parametrize("policy", ["leaks", "conflicts"])
def test_error_stops_before_training(leaky: Path, capsys: pytest.CaptureFixture[str], policy: str) -> None:
    error = fails(capsys, 1, "fit", "--data.root", str(leaky), *TINY, *QUIET, f"--data.{policy}", "error")
    assert f"--data.{policy} drop" in error
    assert not RUN.exists()  # nor a folder left behind


def test_a_resume_keeps_the_policy(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.root", str(leaky), *TINY, *QUIET, "--data.leaks", "drop"])
    args = ["fit", "--ckpt_path", str(RUN / "checkpoints/last.ckpt"), "--data.leaks", "report"]
    assert "--data.leaks report contradicts the checkpoint" in fails(capsys, 2, *args)


def test_other_data_is_compared_with_the_images_trained_on(leaky: Path, faces: Path, tmp_path: Path) -> None:
    main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    other = tmp_path / "other"
    shutil.copytree(faces, other)
    for split in ("train", "val"):  # what this folder calls train was never trained on
        for number, path in enumerate(sorted((other / split).rglob("*.png"))):
            noise = np.random.default_rng([ord(split[0]), number]).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(noise).save(path)
    shutil.copy(faces / "train/happy/05.png", other / "test/happy/05.png")
    main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), "--data.root", str(other), *QUIET])
    metrics = json.loads((RUN / "report/test/metrics.json").read_text())
    assert (metrics["leaked"], metrics["leak_free"]["n"]) == (1, 17)
    assert metrics["audit"]["compared"] == "identical copies of the training images"


def test_unreadable_images_of_every_split_stop_a_fit_and_are_listed(leaky: Path, lab: Lab) -> None:
    broken = [leaky / "test/happy/02.png", leaky / "train/angry/03.png"]
    for path in broken:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"2 unreadable image\(s\)") as stopped:
        lab.trainer().fit(lab.model(), lab.data(root=str(leaky)))
    assert all(str(path) in str(stopped.value) for path in broken)
    data, trainer = lab.data(root=str(leaky), unreadable="skip"), lab.trainer(max_epochs=1)
    trainer.fit(lab.model(), data)
    assert len(data.indices("train")) == 48 + 3 - 1
    assert len(data.indices("test")) == 17


def test_images_are_the_same_to_the_bit_with_and_without_the_cache(faces: Path, lab: Lab) -> None:
    batches = []
    for gigabytes in (0.0, 1.0, 1.0):
        data = lab.data(cache_gb=gigabytes)
        batches.append([next(iter(loader)) for loader in (data.train_dataloader(), data.val_dataloader())])
    for other in batches[1:]:
        for one, same in zip(batches[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


def test_each_image_is_decoded_once_for_each_size_and_comes_from_the_cache_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = tmp_path / "flat"
    for name in ("angry", "happy"):
        (flat / name).mkdir(parents=True)
        for index in range(20):
            size = (30, 36, 60)[index % 3]  # below what evaluation uses, between that and training's, above both
            draw_face(name, seed=8, index=index, size=size).save(flat / name / f"{index:02d}.png")
    decoded: list[Path] = []
    real = images.decode
    for module in (images, scan):
        monkeypatch.setattr(module, "decode", lambda path, side=0: decoded.append(path) or real(path, side))

    def batches(gigabytes: float) -> list[torch.Tensor]:
        data = EmotionDataModule(str(flat), image_size=32, batch_size=8, num_workers=0, cache_gb=gigabytes)
        loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
        return [batch[0] for loader in loaders for batch in loader]

    cached = batches(1.0)
    assert set(decoded) == set(flat.rglob("*.png"))
    assert len(decoded) <= 2 * len(set(decoded))
    decoded.clear()
    again = batches(1.0)
    assert decoded == []
    monkeypatch.setattr(FaceData, "reader", lambda data, *_: data.manifest.read)
    for one, same, direct in zip(cached, again, batches(1.0), strict=True):
        assert torch.equal(one, same)
        assert torch.equal(one, direct)


def test_near_copies_stay_on_one_side_of_a_cut(faces: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    for name in ("angry", "happy", "surprised"):
        (flat / name).mkdir(parents=True)
        for path in sorted((faces / "train" / name).iterdir()):
            image = Image.open(path)
            image.save(flat / name / path.name)
            image.resize((44, 44)).save(flat / name / f"{path.stem}0.jpg", quality=90)
    data = EmotionDataModule(str(flat), image_size=32)
    assert data.audit is not None
    assert len(data.audit.near) >= 40
    assert data.audit.leaks == {}
    assert set(data.manifest.splits) == {"train", "val", "test"}
