import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.data import DataLoader, TensorDataset

from emotion_lightning.callbacks import EMA, EarlyStopping, RunCheckpoint, TensorBoardImages, Throughput, Unfreeze
from emotion_lightning.callbacks.tensorboard_logger import RunLogger
from emotion_lightning.data.images import sheet
from emotion_lightning.errors import UsageError
from emotion_lightning.report import pictures
from emotion_lightning.runs.config import KEY, checkpoint_config, refuse_contradictions
from emotion_lightning.schedule import STAGES
from tests.data.files import ferplus, ferplus_votes
from tests.helpers import CLASSES, Lab, assert_equal

SCRIPT = """
import sys
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from emotion_lightning.callbacks import EMA, RunCheckpoint, TensorBoardImages, EarlyStopping, Throughput, Unfreeze
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.model.module import EmotionClassifier

root, output = sys.argv[1:]
torch.manual_seed(0)
data = EmotionDataModule(root=root, image_size=32, batch_size=4, num_workers=0, unfreeze_epoch=1)
model = EmotionClassifier(data.class_names, backbone="test_resnet", pretrained=False, hidden_features=16)
trainer = Trainer(
    accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true", max_epochs=9, limit_val_batches=1,
    logger=TensorBoardLogger(output, name="", version=""), enable_progress_bar=False, enable_model_summary=False,
    callbacks=[Unfreeze({0: "classifier_only", 1: "all"}), EMA(0.9), EarlyStopping(1, start_epoch=1), RunCheckpoint(),
               Throughput(), TensorBoardImages(2, {0: "classifier_only", 1: "all"})],
)
trainer.fit(model, data)
print("epochs", trainer.current_epoch)
"""
BATCHES = 6  # of an epoch
SCHEDULE = {0: "classifier_only", 2: "layer4", 3: "all_layers"}  # phases of two epochs, one and the rest
PICTURES = ("confusion_images", "confusion_share_of_true_class", "confident_mistakes", "grad_cam")
DRAWN = tuple(f"view_epochs/{name}" for name in PICTURES)


def fit(
    lab: Lab, folder: str = "run", every_n_epochs: int | None = 5, measured: bool = False, **options: Any
) -> Trainer:
    """Train a little; with ``every_n_epochs`` None, without a dashboard."""
    callbacks = [
        Unfreeze(SCHEDULE),
        EMA(0.9),
        EarlyStopping(patience=options.pop("patience", 9), start_epoch=0),
        RunCheckpoint(1),
        Throughput(),
    ]
    dashboard = [] if every_n_epochs is None else [TensorBoardImages(every_n_epochs, SCHEDULE)]
    callbacks = dashboard + callbacks if options.pop("in_front", False) else callbacks + dashboard
    ckpt_path = options.pop("ckpt_path", None)
    logger = RunLogger(lab.folder / folder, name="", version="", default_hp_metric=False)
    trainer = lab.trainer(
        folder, **{"logger": logger, "callbacks": callbacks, "max_epochs": 7, "log_every_n_steps": 1} | options
    )
    model, data = lab.model(mix_prob=0.9), lab.data(unfreeze_epoch=2)
    trainer.fit(model, data, ckpt_path=ckpt_path)
    if measured:
        trainer.loggers = []  # as the command line does
        trainer.validate(model, data, "best", verbose=False)
    return trainer


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0})
    events.Reload()
    return events


def steps(events: EventAccumulator, tag: str) -> list[int]:
    tags = events.Tags()
    found = events.Images(tag) if tag in tags["images"] else events.Tensors(tag) if tag in tags["tensors"] else []
    return [event.step for event in found]


def words(events: EventAccumulator, tag: str) -> str:
    return events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


def hparams(events: EventAccumulator) -> dict[str, Any]:
    data = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    values = data.session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


@pytest.fixture(scope="module")
def whole(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of seven epochs."""
    lab = Lab(faces, tmp_path_factory.mktemp("whole"))
    fit(lab, measured=True)
    return lab.folder / "run"


def test_each_thing_is_drawn_when_it_is_time(whole: Path) -> None:
    events = read(whole)
    ends = [BATCHES * (epoch + 1) - 1 for epoch in (1, 4, 6)]  # of a phase, of five epochs, of the run
    assert {tag: steps(events, tag) for tag in DRAWN} == dict.fromkeys(DRAWN, ends)
    assert all(steps(events, f"pr_epochs/{name}") == ends for name in CLASSES)
    assert steps(events, "classification_report/epochs/text_summary") == ends
    assert {event.step for event in events.Scalars("val/loss")} > set(ends)
    for kind in ("batch", "mixup", "cutmix"):
        assert steps(events, f"view_training/{kind}") == [0, 2 * BATCHES, 3 * BATCHES]


def test_the_best_weights_are_drawn_when_they_are_measured_after_the_fit(whole: Path) -> None:
    events = read(whole)
    scores = [event.value for event in events.Scalars("val/f1_macro")]
    assert len(scores) == 7  # the curves have no more points than epochs
    for name in PICTURES:
        assert steps(events, f"view_best/{name}") == [BATCHES * 7 - 1]
    assert all(steps(events, f"pr_best/{name}") == [BATCHES * 7 - 1] for name in CLASSES)
    said = words(events, "classification_report/best")
    assert said.splitlines()[0] == f"    best, epoch {scores.index(max(scores)) + 1}"
    assert words(events, "classification_report/epochs").splitlines()[0] == "    epoch 7"
    if scores.index(max(scores)) == 6:
        assert said.splitlines()[1:] == words(events, "classification_report/epochs").splitlines()[1:]


def test_what_decides_stands_first_and_pictures_last(whole: Path) -> None:
    tags = read(whole).Tags()
    curves = [read(whole / f"curves_{split}").Tags()["scalars"] for split in ("train", "val")]
    assert set(curves[0]) == set(curves[1]) == {"curves/loss", "curves/accuracy", "curves/f1_macro"}
    scalars = sorted({*tags["scalars"], *curves[0]})
    shown = list(dict.fromkeys(tag.split("/")[0] for tag in sorted([*scalars, *tags["images"]])))
    assert shown[0] == "curves"
    assert shown[-3:] == ["view_best", "view_epochs", "view_training"]
    assert {tag for tag in scalars if tag.startswith("curves/")} == {
        *("curves/loss", "curves/accuracy", "curves/f1_macro"),
        *(f"curves/lr_{stage}" for stage in STAGES),
    }
    assert {"train/loss", "val/loss", "val/f1_macro", "val/accuracy"} <= set(scalars)


def test_every_picture_says_its_epoch(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    titled = sheet.titled

    def noted(picture: sheet.Picture, title: str) -> sheet.Picture:
        said.append(title)
        return titled(picture, title)

    monkeypatch.setattr(sheet, "titled", noted)
    fit(lab, every_n_epochs=2, max_epochs=2, measured=True)
    first, last, best = ("epoch 1, first batch", "epoch 2", said[-1])
    assert list(dict.fromkeys(said)) == [first, last, best]
    assert re.fullmatch("best, epoch [12]", best)


def test_batches_of_votes_are_captioned_by_their_majority(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []
    draw = sheet.contact_sheet

    def record(images: torch.Tensor, captions: list[str], *args: Any, **options: Any) -> Any:
        said.append(captions)
        return draw(images, captions, *args, **options)

    monkeypatch.setattr(sheet, "contact_sheet", record)
    data = lab.data(root=str(ferplus(lab.folder, ferplus_votes())), fer_plus="probabilities")
    logger = TensorBoardLogger(lab.folder / "run", name="", version="")
    trainer = lab.trainer(logger=logger, max_epochs=1, callbacks=[TensorBoardImages(9, {0: "all"})])
    trainer.fit(lab.model(class_names=data.class_names), data)
    assert set(said[0]) <= set(data.class_names)
    assert len(set(said[0])) > 1
    assert [caption.split()[1] for caption in said[1]] == said[0]  # "0.70 happy", and below it the partner


def test_pixels_of_a_plain_loader_are_shown(lab: Lab) -> None:
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logger = TensorBoardLogger(lab.folder / "run", name="", version="")
    trainer = lab.trainer(logger=logger, max_epochs=1, callbacks=[TensorBoardImages(9, {0: "all"})])
    trainer.fit(lab.model(mix_prob=1.0), DataLoader(TensorDataset(pixels, torch.arange(8) % 3), batch_size=8))
    events = read(lab.folder / "run")
    assert all(steps(events, f"view_training/{kind}") == [0] for kind in ("batch", "mixup", "cutmix"))


def test_every_picture_has_a_size_to_look_at_and_is_on_white(whole: Path) -> None:
    events = read(whole)
    for tag in events.Tags()["images"]:
        for event in events.Images(tag):
            picture = Image.open(io.BytesIO(event.encoded_image_string))
            assert 200 < picture.width < 800, tag
            assert 150 < picture.height < 930, tag
            assert picture.mode == "RGB", tag
            assert min(picture.getpixel((0, 0))) == 255, tag


def test_every_line_of_the_charts_is_a_figure_of_the_run(whole: Path) -> None:
    events = read(whole)
    (written,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(written.tensor_proto.string_val[0])
    runs = {name: read(whole / name).Tags()["scalars"] for name in (".", "curves_train", "curves_val")}
    charts = [chart for category in layout.category for chart in category.chart]
    lines = {  # by chart, the runs of its lines, as a run has a color
        chart.title: [
            [name for name, scalars in runs.items() for tag in scalars if re.match(pattern, tag)]
            for pattern in chart.multiline.tag
        ]
        for chart in charts
    }
    decide = ("loss", "accuracy", "macro F1")
    assert all(lines.pop(title) == [["curves_train", "curves_val"]] for title in decide)
    assert all(found == [["."]] * len(found) for found in lines.values()), lines
    drawn = {chart.title: len(chart.multiline.tag) for chart in charts}
    assert drawn["learning rate of each stage"] == 6
    assert drawn["validation"] == len(CLASSES)


def test_the_table_of_runs_has_the_options_and_the_scores_of_the_best_epoch(whole: Path) -> None:
    events = read(whole)
    scored = [event.value for event in events.Scalars("val/f1_macro")]
    best = scored.index(max(scored))
    assert events.Scalars("val_best/epoch")[-1].value == best + 1
    for name in ("accuracy", "f1_macro", "loss"):
        expected = events.Scalars(f"val/{name}")[best].value
        assert [event.value for event in events.Scalars(f"val_best/{name}")] == [pytest.approx(expected)]
    options = hparams(events)
    assert min(options) == "best.f1_macro"  # TensorBoard sorts columns by their names
    assert options.pop("best.f1_macro") == pytest.approx(max(scored), abs=1e-4)
    assert options["model.backbone"] == "test_resnet"
    assert options["data.batch_size"] == 8
    assert options["unfreeze.schedule"] == "{0: 'classifier', 2: 'layer4', 3: 'stem'}"
    assert len(options) < 13
    assert "val_best/epoch" not in (whole / "hparams.yaml").read_text()
    assert yaml.safe_load((whole / "hparams.yaml").read_text())["backbone"] == "test_resnet"


def test_texts_say_what_was_run_on_what_and_how_well(whole: Path) -> None:
    events = read(whole)
    assert "    model.backbone: test_resnet" in words(events, "config").splitlines()
    assert steps(events, "config/text_summary") == [0]
    assert "nothing found" in words(events, "data_audit") or "copy in" in words(events, "data_audit")
    assert all(line.startswith("    ") for line in words(events, "classification_report/epochs").splitlines())
    assert "macro avg" in words(events, "classification_report/epochs")


def test_a_configuration_file_is_shown_as_it_is(lab: Lab) -> None:
    (lab.folder / "run").mkdir()
    (lab.folder / "run" / "config.yaml").write_text("# all of it\nmodel:\n  backbone: test_resnet\n")
    fit(lab, every_n_epochs=0, max_epochs=1)
    shown = words(read(lab.folder / "run"), "config")
    assert shown == "    # all of it\n    model:\n      backbone: test_resnet"


def test_mixed_images_name_both_labels_and_their_weights(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets, contact_sheet = [], sheet.contact_sheet

    def noted(images: torch.Tensor, texts: list[str], **options: Any) -> Any:
        sheets.append(texts)
        return contact_sheet(images, texts, **options)

    monkeypatch.setattr(sheet, "contact_sheet", noted)
    fit(lab, max_epochs=1)
    labels, captions = sheets[:2]
    weight = float(captions[0].split()[0])
    partners = [text.split("\n")[1].split()[2] for text in captions]
    assert captions == [f"{weight:.2f} {a}\n+ {1 - weight:.2f} {b}" for a, b in zip(labels, partners, strict=True)]
    assert sorted(labels) == sorted(partners)  # a batch is mixed with itself
    assert steps(read(lab.folder / "run"), "view_training/cutmix") == [0]


@pytest.mark.parametrize(("options", "shown"), [({"mix_prob": 0}, set()), ({"mixup_alpha": 0}, {"cutmix"})])
def test_a_way_of_mixing_that_is_left_out_is_not_shown(lab: Lab, options: dict[str, Any], shown: set[str]) -> None:
    logger = TensorBoardLogger(lab.folder / "run", name="", version="")
    lab.trainer(logger=logger, callbacks=[TensorBoardImages(1)], max_epochs=1).fit(lab.model(**options), lab.data())
    assert {tag for tag in ("mixup", "cutmix") if steps(read(lab.folder / "run"), f"view_training/{tag}")} == shown


def test_weights_and_optimizer_are_the_same_with_and_without(lab: Lab) -> None:
    fit(lab, "without", every_n_epochs=None, max_epochs=4)
    fit(lab, "with", every_n_epochs=1, max_epochs=4)
    fit(lab, "resumed", 1, max_epochs=4, ckpt_path=lab.folder / "with" / "checkpoints" / "epoch_001.ckpt")
    expected, *others = (
        torch.load(lab.folder / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("without", "with", "resumed")
    )
    assert steps(read(lab.folder / "resumed"), "view_epochs/grad_cam") == [3 * BATCHES - 1, 4 * BATCHES - 1]
    for found in others:
        for key in ("state_dict", "raw_state_dict", "optimizer_states", "lr_schedulers", "calibration"):
            assert_equal(expected[key], found[key], key)


def test_a_resumed_run_knows_the_best_epoch_from_before(lab: Lab) -> None:
    fit(lab, every_n_epochs=0, max_epochs=3)
    folder = lab.folder / "run" / "checkpoints"
    shutil.copy(folder / "epoch_000.ckpt", folder / "best.ckpt")
    resumed = torch.load(folder / "epoch_001.ckpt", weights_only=True)
    best = {"val/accuracy": 0.99, "val/f1_macro": 0.98, "val/loss": 0.01}
    resumed["callbacks"]["Checkpoint"] |= {"best_score": 0.98, "best_epoch": 0, "best_metrics": best}
    torch.save(resumed, lab.folder / "edited.ckpt")
    fit(lab, "again", every_n_epochs=0, max_epochs=3, ckpt_path=lab.folder / "edited.ckpt")
    events = read(lab.folder / "again")
    found = {name: events.Scalars(f"val_best/{name.split('/')[-1]}")[-1].value for name in (*best, "epoch")}
    assert found == pytest.approx(best | {"epoch": 1})


def test_a_run_that_stops_early_shows_its_last_epoch(lab: Lab) -> None:
    trainer = fit(lab, patience=1, max_epochs=12, limit_val_batches=1)
    assert trainer.current_epoch % 5 != 0
    assert trainer.current_epoch < 12
    assert steps(read(lab.folder / "run"), "view_epochs/confusion_images")[-1] == BATCHES * trainer.current_epoch - 1


@pytest.mark.parametrize("patience", [9, 1])
def test_heat_maps_are_those_of_the_averaged_weights(lab: Lab, monkeypatch: pytest.MonkeyPatch, patience: int) -> None:
    gradcam_overlay = []

    def noted(model: torch.nn.Module, *args: Any) -> None:
        gradcam_overlay.append({name: value.clone() for name, value in model.state_dict().items()})

    monkeypatch.setattr(pictures, "heat_maps", noted)
    trainer = fit(lab, patience=patience, limit_val_batches=1, in_front=patience == 9)
    last = torch.load(lab.folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert (trainer.current_epoch < 7) == (patience == 1)
    assert_equal(dict(last["state_dict"]), gradcam_overlay[-1])


def test_a_backbone_that_grad_cam_cannot_explain_trains_all_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise UsageError("no stage")

    monkeypatch.setattr(pictures, "heat_maps", refuse)
    fit(lab, max_epochs=1)
    events = read(lab.folder / "run")
    assert steps(events, "view_epochs/grad_cam") == []
    assert steps(events, "classification_report/epochs/text_summary") == [BATCHES - 1]


def test_a_run_whose_weights_are_no_longer_numbers_is_drawn(lab: Lab) -> None:
    model = lab.model()
    for parameter in model.classifier.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    logger = TensorBoardLogger(lab.folder / "run", name="", version="")
    lab.trainer(logger=logger, callbacks=[TensorBoardImages(1)], max_epochs=1).fit(model, lab.data())
    events = read(lab.folder / "run")
    assert steps(events, "view_epochs/grad_cam") == []  # it took no image for anything
    assert steps(events, "view_epochs/confusion_images") == [BATCHES - 1]


def test_validations_within_an_epoch_draw_nothing(lab: Lab) -> None:
    fit(lab, every_n_epochs=1, max_epochs=1, val_check_interval=0.5)
    events = read(lab.folder / "run")
    assert len(events.Scalars("val/loss")) == 2
    assert steps(events, "view_epochs/confusion_images") == [BATCHES - 1]


def test_zero_epochs_leaves_out_pictures_and_keeps_the_table(lab: Lab) -> None:
    fit(lab, every_n_epochs=0, max_epochs=2)
    events = read(lab.folder / "run")
    assert events.Tags()["images"] == []
    assert not any(tag.startswith(("pr_", "classification")) for tag in events.Tags()["tensors"])
    assert hparams(events)["data.image_size"] == 32


@pytest.mark.parametrize("kind", ["none", "csv", "fast_dev_run"])
def test_nothing_is_drawn_without_tensorboard(lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def never(*args: Any, **options: Any) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(pictures, "confusion", never)
    monkeypatch.setattr(sheet, "contact_sheet", never)
    logger = {"none": False, "csv": CSVLogger(lab.folder / "csv")}.get(kind)
    options = {"fast_dev_run": True} if logger is None else {"logger": logger}
    fit(lab, every_n_epochs=1, max_epochs=1, **options)
    assert not list(lab.folder.rglob("events.*"))


@pytest.mark.slow
def test_two_processes_draw_once_and_wait_for_nobody(faces: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PL_", "LOCAL_RANK"))}
    done = subprocess.run(
        [sys.executable, str(script), str(faces), str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=False, env=environment | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    epochs = int(re.findall("epochs ([0-9]+)", done.stdout)[0])
    assert epochs < 9  # stopped early
    (file,) = tmp_path.glob("events.*")
    ends = [6 * epoch - 1 for epoch in range(1, epochs + 1) if epoch % 2 == 0 or epoch == epochs]
    assert {tag: steps(read(file), tag) for tag in DRAWN[:2]} == dict.fromkeys(DRAWN[:2], ends)


def test_a_negative_number_of_epochs_is_refused() -> None:
    with pytest.raises(UsageError, match="every_n_epochs` -1"):
        TensorBoardImages(-1)


def test_a_resume_keeps_the_option_and_may_change_it() -> None:
    saved = {
        "hyper_parameters": {"class_names": [], "seed": 42},
        KEY: yaml.safe_dump({"dashboard": {"every_n_epochs": 0}}),
    }
    config = checkpoint_config(saved, "fit")
    assert config["tensorboard"] == {"every_n_epochs": 0}
    refuse_contradictions(config, config | {"tensorboard": {"every_n_epochs": 3}}, "fit")
