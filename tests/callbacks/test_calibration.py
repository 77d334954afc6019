"""The threshold is chosen on the validation split, belongs to a checkpoint, and is never chosen on anything else."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from emotion_lightning.callbacks import EMA, Calibration, RunCheckpoint, SaveData, Unfreeze, default_callbacks
from emotion_lightning.cli import main
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.selective import Threshold, choose_threshold
from emotion_lightning.model.module import EmotionClassifier
from emotion_lightning.report.results import read_results
from tests.helpers import QUIET, RUN, Lab, assert_equal, fails

LEARNING = {"mix_prob": 0.0, "dropout_rate": 0.0}
SPLIT = ("--data.test_split", "val")


def load(path: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def recipe(precision: float | None) -> list[Callback]:
    return [Unfreeze({0: "all_layers"}), EMA(0.5), RunCheckpoint(3), SaveData(), Calibration(precision)]


def chosen_of(model: EmotionClassifier, precision: float, without: torch.Tensor | None = None) -> Threshold | None:
    """The threshold of what was last validated, but for images of the given positions."""
    outputs = model.val_outputs.outputs()
    kept = torch.ones(len(outputs.labels), dtype=torch.bool) if without is None else ~without[outputs.indices]
    probabilities = (outputs.logits / model.temperature).softmax(1)
    return choose_threshold(probabilities[kept], outputs.labels[kept], precision)


def test_a_checkpoint_has_the_threshold_of_its_own_weights(lab: Lab) -> None:
    model, data = lab.model(**LEARNING), lab.data()
    trainer = lab.trainer(max_epochs=9, callbacks=recipe(0.5))
    trainer.fit(model, data)
    found = []
    for file in sorted((lab.folder / "run/checkpoints").glob("*.ckpt")):
        restored = EmotionClassifier.load_from_checkpoint(file)
        lab.trainer(callbacks=[]).validate(restored, data, verbose=False)
        expected = chosen_of(restored, 0.5)
        assert restored.threshold == (expected and pytest.approx(expected, rel=1e-4))
        assert load(file)["calibration"]["threshold"] == (restored.threshold and restored.threshold._asdict())
        found.append(restored.threshold)
    assert len(set(found)) > 2  # every epoch has its own
    assert all(threshold.precision >= 0.5 for threshold in found if threshold)


def test_the_threshold_is_chosen_without_copies_of_training_images(lab: Lab, faces: Path, tmp_path: Path) -> None:
    root = shutil.copytree(faces, tmp_path / "leaky")
    for image in sorted((faces / "val/happy").glob("*.png"))[:4]:
        shutil.copy(image, root / "train/happy" / f"copy_{image.name}")

    def fitted(precision: float | None) -> tuple[EmotionClassifier, torch.Tensor]:
        model, data = lab.model(**LEARNING), lab.data(root=str(root))
        callbacks = [Unfreeze({0: "all_layers"}), Calibration(precision)]
        lab.trainer(max_epochs=6, callbacks=callbacks).fit(model, data)
        leaked = data.exposure.overlap_mask("val")
        assert leaked is not None
        return model, leaked

    model, leaked = fitted(None)
    assert leaked.sum() == 4
    differing = [p / 100 for p in range(20, 80) if chosen_of(model, p / 100) != chosen_of(model, p / 100, leaked)]
    again, _ = fitted(differing[0])
    assert again.threshold == chosen_of(again, differing[0], leaked) != chosen_of(again, differing[0])


def test_training_on_forgets_it(lab: Lab) -> None:
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
            seen.append(pl_module.threshold)

    model = lab.model()
    model.threshold = Threshold(0.5, 0.9, 0.3)
    lab.trainer(max_epochs=2, callbacks=[Unfreeze({0: "all"}), Calibration(0.1), Look()]).fit(model, lab.data())
    assert set(seen) == {None}
    assert isinstance(model.threshold, Threshold)


def test_a_resumed_run_chooses_what_an_uninterrupted_one_does(lab: Lab, tmp_path: Path) -> None:
    def trainer(folder: str) -> Trainer:
        return lab.trainer(folder, max_epochs=3, callbacks=[*recipe(0.4)[:2], RunCheckpoint(1), *recipe(0.4)[3:]])

    trainer("whole").fit(lab.model(), lab.data())
    folder = tmp_path / "whole/checkpoints"
    trainer("again").fit(lab.model(), lab.data(), ckpt_path=folder / "epoch_000.ckpt")
    whole, again = (load(tmp_path / run / "checkpoints/last.ckpt") for run in ("whole", "again"))
    assert whole["calibration"]["threshold"] is not None
    assert_equal(whole["calibration"], again["calibration"])
    assert_equal(whole["state_dict"], again["state_dict"])


def test_a_checkpoint_of_before_has_none(lab: Lab, tmp_path: Path) -> None:
    lab.trainer(max_epochs=1).fit(lab.model(), lab.data())
    path = tmp_path / "run/checkpoints/last.ckpt"
    checkpoint = load(path)
    assert checkpoint["calibration"].pop("threshold") is None  # as none was asked for
    torch.save(checkpoint, path)
    assert EmotionClassifier.load_from_checkpoint(path).threshold is None
    del checkpoint["calibration"]
    torch.save(checkpoint, path)
    model = EmotionClassifier.load_from_checkpoint(path)
    assert (model.temperature, model.threshold) == (1.0, None)


@pytest.mark.usefixtures("in_an_empty_folder")
def test_validate_writes_it_into_the_checkpoint_and_nothing_else(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lightning.pytorch")
    best = trained / "best.ckpt"
    before = load(best)
    before["calibration"]["temperature"] = 2.5  # that of so small a run may be 1
    torch.save(before, best)
    command = ["validate", "--ckpt_path", str(best), *QUIET]
    main([*command, "--predict.precision", "0.3"])
    said = [line for line in caplog.messages if line.startswith("Threshold:")]
    after = load(best)
    found = Threshold(**after["calibration"].pop("threshold"))
    assert before["calibration"].pop("threshold") is None
    assert_equal(before, after)
    results = read_results(RUN / "report/val")
    assert results is not None
    probabilities = results.outputs.scaled(after["calibration"]["temperature"]).probabilities
    assert found == pytest.approx(choose_threshold(probabilities, results.outputs.labels, 0.3), abs=1e-9)
    assert results.metrics["selective"]["precision"] == pytest.approx(found.precision)
    assert results.metrics["selective"]["coverage"] == pytest.approx(found.coverage)
    assert len(said) == 1
    assert f"below a probability of {found.probability:.4f} the answer is uncertain" in said[0]
    assert f"to {found.coverage:.1%} of 18 validation images, are right to {found.precision:.4f}" in said[0]
    assert said[0].endswith(f"; written into {best}")
    main([*command, "--predict.precision", "0.2"])
    assert f"written into {best} in place of {found.probability:.4f}" in caplog.text
    content = best.read_bytes()
    main(command)
    main(["test", "--ckpt_path", str(best), *QUIET])
    assert best.read_bytes() == content


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_precision_that_is_not_reached_is_said_and_changes_nothing(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lightning.pytorch")
    best = trained / "best.ckpt"
    content = best.read_bytes()
    main(["validate", "--ckpt_path", str(best), "--predict.precision", "0.99", *QUIET])
    said = caplog.text
    assert "No threshold: of 18 validation images, no 300 or more are answered with a precision of 0.99" in said
    assert "the checkpoint stays as it is" in said
    main(["validate", "--ckpt_path", str(best), "--predict.precision", "0.83", *QUIET])
    said = caplog.text
    assert "no 18 or more are answered with a precision of 0.83; the best reached is 0." in said
    assert best.read_bytes() == content


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_fit_keeps_it_and_a_resume_goes_on_with_it(
    trained: Path, faces: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lightning.pytorch")
    config = ["--config", str(RUN / "config.yaml"), "--data.root", str(faces), *QUIET]
    main(["fit", *config, "--trainer.default_root_dir", "own", "--predict.precision", "0.2"])
    own = "own" / RUN
    best = own / "checkpoints/best.ckpt"
    found = load(best)["calibration"]["threshold"]
    said = caplog.text
    assert f"At a probability of at least {found['probability']:.4f} it answers" in said
    assert "written into" not in said  # it was when it was made
    assert_equal(load(best)["state_dict"], load(trained / "best.ckpt")["state_dict"])  # the same run
    last = load(own / "checkpoints/last.ckpt")["calibration"]
    main(["fit", "--ckpt_path", str(own / "checkpoints/epoch_000.ckpt"), *QUIET])
    assert_equal(load(own / "checkpoints/last.ckpt")["calibration"], last)
    main(["test", "--config", str(own / "config.yaml"), "--ckpt_path", str(best), *QUIET])  # has the option, too
    main(["fit", *config, "--trainer.default_root_dir", "other", "--predict.precision", "0.99"])
    assert "No threshold: of 18 validation images, no 300 or more" in caplog.text


@pytest.mark.usefixtures("in_an_empty_folder")
def test_it_is_never_chosen_on_test(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["test", "--ckpt_path", str(trained / "best.ckpt"), *QUIET]
    for option in (["--predict.precision", "0.5"], ["--predict.precision=0.5"]):
        said = fails(capsys, 2, *args, *option)
        assert "--predict.precision is for fit and validate, as a threshold is chosen on the validation split" in said


@pytest.mark.usefixtures("in_an_empty_folder")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trainer.limit_val_batches", "0.5"), "--predict.precision needs the whole validation split"),
        (("--trainer.limit_val_batches", "1"), "--predict.precision needs the whole validation split"),
        (("--trainer.overfit_batches", "1"), "leave out --trainer.limit_val_batches and --trainer.overfit_batches"),
        (("--data.root", "OTHER"), "and this is other data: leave out --data.root or --predict.precision"),
        (("--model.tta", "flip"), "the checkpoint answers with --model.tta none, for which --predict.precision"),
    ],
)
def test_a_checkpoint_gets_no_threshold_of_a_part_or_of_others(
    options: tuple[str, str], said: str, trained: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(faces, Path("other"))
    for image in list(other.rglob("0[0-2].png")):
        image.unlink()
    best = trained / "best.ckpt"
    content = best.read_bytes()
    given = [str(other) if option == "OTHER" else option for option in options]
    assert said in fails(capsys, 2, "validate", "--ckpt_path", str(best), "--predict.precision", "0.2", *given, *QUIET)
    assert best.read_bytes() == content


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_checkpoint_that_cannot_be_written_is_said_before_it_is_measured(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    touch = Path.touch

    def refuse(path: Path) -> None:
        if path.parent.name == "checkpoints":
            raise PermissionError(13, "Permission denied")
        touch(path)

    monkeypatch.setattr(Path, "touch", refuse)
    args = ["validate", "--ckpt_path", str(trained / "best.ckpt"), *QUIET]
    said = fails(capsys, 1, *args, "--predict.precision", "0.2")
    assert "--predict.precision writes into the checkpoint: copy it to another folder" in said
    main(args)  # which writes none


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_checkpoint_that_was_replaced_while_it_was_measured_gets_no_threshold(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best, after = trained / "best.ckpt", Calibration.on_validation_start

    def meanwhile(self: Calibration, trainer: Trainer, pl_module: LightningModule) -> None:
        shutil.copy(trained / "last.ckpt", "newer.ckpt")
        Path("newer.ckpt").replace(best)  # as a run that goes on
        after(self, trainer, pl_module)

    monkeypatch.setattr(Calibration, "on_validation_start", meanwhile)
    said = fails(capsys, 1, "validate", "--ckpt_path", str(best), "--predict.precision", "0.2", *QUIET)
    assert "best.ckpt was replaced while it was measured" in said
    assert said.count("\n") == 1
    assert best.read_bytes() == (trained / "last.ckpt").read_bytes()


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_read_only_checkpoint_is_said_before_it_is_measured(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = trained / "best.ckpt"
    best.chmod(0o444)
    before = {path: path.stat().st_mtime_ns for path in RUN.rglob("*") if path.is_file()}
    said = fails(capsys, 1, "validate", "--ckpt_path", str(best), "--predict.precision", "0.2", *QUIET)
    assert "best.ckpt is read-only; --predict.precision writes into the checkpoint: copy it to another folder" in said
    assert best.stat().st_mode & 0o777 == 0o444
    assert {path: path.stat().st_mtime_ns for path in RUN.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_checkpoint_that_was_never_calibrated_gets_no_threshold_of_other_views(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = trained / "best.ckpt"
    checkpoint = load(best)
    del checkpoint["calibration"]
    torch.save(checkpoint, best)
    args = ["validate", "--ckpt_path", str(best), "--predict.precision", "0.2", *QUIET]
    said = fails(capsys, 2, *args, "--model.tta", "tencrop")
    assert "--model.tta tencrop: the checkpoint answers with --model.tta none, for which" in said
    assert_equal(load(best), checkpoint)
    main(args)
    assert load(best)["calibration"]["threshold"] is not None


def test_a_class_named_uncertain_is_refused(lab: Lab) -> None:
    model = lab.model(class_names=["angry", "happy", "Uncertain"])
    with pytest.raises(UsageError, match="a class is named Uncertain, which is what"):
        lab.trainer(callbacks=[Calibration(0.9)]).validate(model, lab.data())
    lab.trainer(callbacks=[Calibration()]).validate(model, lab.data(class_names=model.class_names))


@pytest.mark.parametrize("precision", [0.0, 1.0, 90.0, -0.1])
def test_a_precision_is_a_share(precision: float) -> None:
    with pytest.raises(UsageError, match=rf"`predict.precision` {precision} is not in \(0, 1\), such as 0.9"):
        default_callbacks(precision=precision)


def test_a_part_is_refused_before_training_but_tried_out(lab: Lab) -> None:
    with pytest.raises(UsageError, match="whole validation split"):
        lab.trainer(limit_val_batches=0.5, callbacks=recipe(0.2)).fit(lab.model(), lab.data())
    model = lab.model()
    lab.trainer(fast_dev_run=True, callbacks=recipe(0.01)).fit(model, lab.data())
    assert model.threshold is None


def test_from_python_a_model_in_memory_gets_it(lab: Lab) -> None:
    model = lab.model()
    lab.trainer(callbacks=[Calibration(0.1)]).validate(model, lab.data(), verbose=False)
    assert model.threshold == chosen_of(model, 0.1) is not None
    assert isinstance(lab.data(), EmotionDataModule)
