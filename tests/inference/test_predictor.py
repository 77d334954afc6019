"""A trained model answers as it was validated, for whatever picture it is given."""

import lzma
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image, ImageSequence

import emotion_lightning
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.selective import Threshold
from emotion_lightning.inference.prediction import Prediction
from emotion_lightning.inference.predictor import READ_AHEAD, Predictor
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import CLASSES, RUN, Lab

OLD = Path(__file__).parents[1] / "runs/checkpoint_v0_1.ckpt.xz"


@pytest.fixture
def best(finished: Path) -> Path:
    return finished / RUN / "checkpoints/best.ckpt"


@pytest.fixture
def predictor(best: Path) -> Predictor:
    return emotion_lightning.load(best, device="cpu")


@pytest.fixture
def files(faces: Path) -> list[Path]:
    return sorted((faces / "val").rglob("*.png"))


@pytest.fixture(params=[1, 3], ids=["one core", "more cores"])
def readers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as on machines of one and of several cores."""
    monkeypatch.setattr("emotion_lightning.inference.predictor._cores", lambda: request.param)


def rows(answers: Any) -> torch.Tensor:
    return torch.tensor([list(answer.probabilities.values()) for answer in answers])


@pytest.mark.parametrize("tta", ["none", "flip", "tencrop"])
def test_probabilities_are_those_of_the_trainer_to_the_bit(best: Path, faces: Path, lab: Lab, tta: str) -> None:
    model = EmotionClassifier.load_from_checkpoint(best, tta=tta)
    model.temperature = 1.7
    data = EmotionDataModule(str(faces / "val"), image_size=32, eval_batch_size=7, num_workers=0)
    trainer = lab.trainer(callbacks=[])
    theirs = torch.cat([found for found, _ in trainer.predict(model, data)])
    answers = Predictor(model, image_size=32, device="cpu").predict(data.predict_files.paths, batch_size=7)
    assert torch.equal(rows(answers), theirs)
    assert [answer.path for answer in answers] == [str(path) for path in data.predict_files.paths]


def test_a_checkpoint_answers_with_its_averaged_weights_size_and_temperature(
    best: Path, files: list[Path], tmp_path: Path
) -> None:
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["calibration"]["temperature"] = 1.7
    torch.save(checkpoint, tmp_path / "calibrated.ckpt")
    predictor = emotion_lightning.load(tmp_path / "calibrated.ckpt", device="cpu")
    assert (predictor.class_names, predictor.image_size) == (list(CLASSES), 32)
    assert predictor.model.temperature == 1.7
    assert not predictor.model.training
    for name, value in predictor.model.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][name])
    answer = predictor.predict(files[0])
    assert list(answer.probabilities) == list(CLASSES)
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert answer.probability == answer.probabilities[answer.label or ""] == max(answer.probabilities.values())


def test_a_checkpoint_in_the_home_is_found(best: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(best.parent))
    emotion_lightning.load("~/best.ckpt", "cpu")
    for name in ("~/gone.ckpt", "~nobody.ckpt"):
        with pytest.raises(DataError, match=r"gone\.ckpt|~nobody\.ckpt: no such file"):
            emotion_lightning.load(name, "cpu")


def test_one_in_one_out_several_in_several_out(predictor: Predictor, files: list[Path]) -> None:
    pixels = np.asarray(Image.open(files[0]).convert("RGB"))
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    one = predictor.predict(files[0])
    for same in (str(files[0]), Image.open(files[0]), pixels, tensor):
        answer = predictor.predict(same)
        assert isinstance(answer, Prediction)
        assert answer.probabilities == one.probabilities
    batches = (files[:1], iter(files[:1]), pixels[None], tensor[None], (pixels,), (path for path in files[:1]))
    for several in batches:
        [answer] = predictor.predict(several)
        assert answer.probabilities == one.probabilities
    assert len(predictor.predict([])) == 0


@pytest.mark.usefixtures("readers")
def test_answers_do_not_depend_on_the_batch(predictor: Predictor, files: list[Path]) -> None:
    once = rows(predictor.predict(files))
    for size in (1, 4, 100):
        assert torch.allclose(rows(predictor.predict(files, batch_size=size)), once, atol=1e-6)
    with pytest.raises(UsageError, match="`batch_size` 0"):
        predictor.predict(files, batch_size=0)


@pytest.mark.usefixtures("readers")
def test_what_cannot_be_read_is_an_answer_in_its_place(predictor: Predictor, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"no image")
    given = [files[0], tmp_path / "b.jpg", np.zeros((4, 4)), files[1], tmp_path / "gone.jpg", None]
    answers = list(predictor.stream(given, batch_size=2))
    assert [answer.label is None for answer in answers] == [False, True, True, False, True, True]
    assert [answer.path for answer in answers] == [*map(str, given[:2]), None, *map(str, given[3:5]), None]
    assert answers[1].error == "not a JPEG, PNG, BMP, WEBP or TIFF image"
    assert "float64" in str(answers[2].error)
    assert answers[3].probabilities == pytest.approx(predictor.predict(files[1]).probabilities, abs=1e-6)
    for broken in given[1:3]:
        with pytest.raises(DataError):
            predictor.predict(broken)  # of one picture there is no other answer
    with pytest.raises(DataError, match="a float is no picture"):
        predictor.predict(3.5)


@pytest.mark.usefixtures("readers")
def test_pictures_are_taken_as_they_are_needed(predictor: Predictor, files: list[Path]) -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield files[0]

    stream = predictor.stream(endless(), batch_size=4)
    for _ in range(10):
        next(stream)
    stream.close()
    assert taken <= 4 * (2 + 3 + READ_AHEAD)  # the batches taken, and those of three threads


@pytest.mark.usefixtures("readers")
def test_an_object_that_is_filled_anew_for_each_picture_has_the_answer_of_each(
    predictor: Predictor, files: list[Path], tmp_path: Path
) -> None:
    images = [Image.open(file).convert("RGB") for file in files[::6]]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], lossless=True)
    buffer = np.empty_like(np.asarray(images[0]))

    def refilled() -> Any:
        for image in images:
            buffer[:] = np.asarray(image)
            yield buffer

    expected = rows(predictor.predict(images))
    assert not torch.allclose(expected[0], expected[1], atol=1e-5)
    for given in (ImageSequence.Iterator(Image.open(tmp_path / "a.webp")), refilled()):
        assert torch.allclose(rows(predictor.predict(given)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "one", ["abc.png", Path("a.png"), np.zeros((4, 4), np.uint8), BytesIO(b"a\nb"), Image.new("L", (1, 1))]
)
def test_a_stream_of_one_picture_is_refused_at_the_call(predictor: Predictor, one: Any) -> None:
    with pytest.raises(UsageError, match=r"give a list, as in \[picture\]"):
        predictor.stream(one)
    with pytest.raises(UsageError, match="`batch_size` 0"):
        predictor.stream([one], batch_size=0)


def test_an_open_file_is_refused_in_a_line(predictor: Predictor, files: list[Path]) -> None:
    with files[0].open("rb") as file:
        for given in (file, BytesIO(file.read())):
            with pytest.raises(DataError, match=r"is no picture: .*; open a file by PIL\.Image\.open"):
                predictor.predict(given)


@pytest.mark.usefixtures("readers")
def test_threads_get_the_same_answers(predictor: Predictor, files: list[Path]) -> None:
    alone = [answer.probabilities for answer in predictor.predict(files, batch_size=5)]
    with ThreadPoolExecutor(4) as threads:
        for answers in threads.map(lambda _: predictor.predict(files, batch_size=5), range(8)):
            assert [answer.probabilities for answer in answers] == alone


def test_answers_below_the_threshold_are_uncertain(predictor: Predictor, files: list[Path]) -> None:
    answers = predictor.predict(files)
    between = sorted(answer.probability for answer in answers)[len(files) // 2]
    predictor.threshold = Threshold(between, 0.9, 0.5)
    for before, after in zip(answers, predictor.predict(files), strict=True):
        assert after.label == (before.label if before.probability >= between else "uncertain")
        assert (after.probability, after.best) == (before.probability, before.label)


@pytest.mark.parametrize("threshold", [None, {"probability": 0.99, "precision": 0.9, "coverage": 0.5}])
def test_a_threshold_is_not_applied_to_other_views_than_it_was_chosen_with(
    best: Path, files: list[Path], tmp_path: Path, threshold: Any
) -> None:
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["calibration"] |= {"threshold": threshold, "tta": "none"}
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = emotion_lightning.load(tmp_path / "a.ckpt", "cpu", tta="none")
    assert same.predict(files[0]).uncertain == (threshold is not None)
    if threshold is None:
        assert emotion_lightning.load(tmp_path / "a.ckpt", "cpu", tta="flip").threshold is None
        return
    with pytest.warns(
        UserWarning, match="chosen for `tta=none`, and its precision does not hold for `tta=flip`"
    ) as said:
        other = emotion_lightning.load(tmp_path / "a.ckpt", "cpu", tta="flip")
    assert len(said) == 1
    assert not other.predict(files[0]).uncertain


def test_a_model_that_gives_no_numbers_gives_no_answer(predictor: Predictor, files: list[Path]) -> None:
    torch.nn.init.constant_(predictor.model.classifier[-1].bias, float("nan"))
    [answer] = predictor.predict(files[:1])
    assert (answer.label, answer.error) == (None, "the model gives no numbers, as its weights have diverged")


@pytest.mark.parametrize("pixels", [torch.zeros(1, 3, 32, 32), torch.zeros(3, 32, 32, dtype=torch.uint8)])
def test_probabilities_are_those_of_pixels(predictor: Predictor, pixels: torch.Tensor) -> None:
    with pytest.raises(DataError):
        predictor.probabilities(pixels)
    found = predictor.probabilities(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert (found.shape, found.dtype, found.device.type) == ((2, 3), torch.float32, "cpu")


def test_the_size_without_data_is_that_of_the_network(lab: Lab, tmp_path: Path) -> None:
    for given, size in ((None, 160), (48, 48)):
        trainer = Trainer(max_epochs=0, logger=False, callbacks=[], accelerator="cpu")
        trainer.strategy.connect(lab.model(input_size=given))
        trainer.save_checkpoint(tmp_path / "bare.ckpt")
        assert emotion_lightning.load(tmp_path / "bare.ckpt").image_size == size


def test_a_checkpoint_of_version_0_1_answers(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "old.ckpt").write_bytes(lzma.decompress(OLD.read_bytes()))
    assert emotion_lightning.load(tmp_path / "old.ckpt").predict(files[0]).error is None


def test_what_is_no_checkpoint_of_ours_is_said_in_a_line(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": {"lr": 1}}, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match=r"other\.ckpt: not a checkpoint of an emotion_lightning run"):
        emotion_lightning.load(tmp_path / "other.ckpt")
    with pytest.raises(DataError, match=r"gone\.ckpt: no such file"):
        emotion_lightning.load(str(tmp_path / "gone.ckpt"))
    with pytest.raises(DataError, match="addresses are not fetched"):
        emotion_lightning.load("https://example.org/best.ckpt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hyper_parameters", {"class_names": ["a"], "seed": 1}),
        ("calibration", None),
        ("calibration", {"temperature": 1.0, "threshold": {"probability": 0.5}}),
        ("calibration", {"temperature": 0.0}),
        ("calibration", {"temperature": "1"}),
        ("state_dict", [1]),
        ("EmotionDataModule", {"typical_size": {"x": 1}}),
        ("EmotionDataModule", None),
        ("datamodule_hyper_parameters", None),
    ],
)
def test_a_checkpoint_with_something_else_in_it_is_refused_in_a_line(
    best: Path, tmp_path: Path, key: str, value: Any
) -> None:
    torch.save(torch.load(best, weights_only=True) | {key: value}, tmp_path / "odd.ckpt")
    with pytest.raises(DataError, match=r"^`ckpt_path` .*odd\.ckpt: ") as refused:
        emotion_lightning.load(tmp_path / "odd.ckpt", "cpu")
    assert "\n" not in str(refused.value)


def test_a_backbone_that_is_unknown_is_refused_as_ever(best: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["hyper_parameters"]["backbone"] = "resnet_of_tomorrow"
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    with pytest.raises(UsageError, match="resnet_of_tomorrow"):
        emotion_lightning.load(tmp_path / "odd.ckpt", "cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "xla:7"])
def test_a_device_that_there_is_not_is_refused(best: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"`device` {device}"):
        emotion_lightning.load(best, device)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "own"),
    [
        ("import emotion_lightning; emotion_lightning.load({best!r}, 'cpu').predict({file!r})", set()),
        (
            "from emotion_lightning.cli import main; main(['predict', '--ckpt_path', {best!r}, {file!r}])",
            {"jsonargparse"},
        ),
    ],
)
def test_nothing_of_a_trainer_is_imported_to_answer(best: Path, files: list[Path], answer: str, own: set[str]) -> None:
    program = f"import sys; {answer.format(best=str(best), file=str(files[0]))}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    modules = {name.partition(".")[0] for name in printed.split()}
    assert {"torch", "timm", "PIL", *own} <= modules
    others = {"lightning", "torchmetrics", "matplotlib", "tensorboard", "jsonargparse", "scipy"} - own
    assert others & modules == set()
