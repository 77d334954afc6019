"""A model of crops is given the faces of a photograph, and crops as they are."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import emotion_lightning
from emotion_lightning.cli import main
from emotion_lightning.cli.predict import _answer
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.typical import TypicalSize
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.inference import cropping
from emotion_lightning.inference.cropping import FaceCropper
from emotion_lightning.inference.faces import Face, crop
from emotion_lightning.inference.prediction import Prediction
from tests.helpers import RUN

FER2013 = TypicalSize(48, 1)
PHOTOGRAPH, CROP = Image.new("RGB", (800, 600), (90, 120, 200)), Image.new("RGB", (100, 100), (90, 120, 200))


class Finder:
    """In place of YuNet: a face in each place that is not the blue of the background, 200 pixels wide."""

    def __init__(self, model: str | None = None):
        self.model = model

    def find(self, picture: Image.Image) -> list[Face]:
        lefts = [
            left for left in range(0, picture.width - 199, 200) if picture.getpixel((left + 100, 100)) != (90, 120, 200)
        ]
        points = ((60.0, 80.0), (140.0, 80.0), (100.0, 120.0), (80.0, 150.0), (120.0, 150.0))
        return [Face((left + 20.0, 20.0, 160.0, 160.0), tuple((left + x, y) for x, y in points), 0.9) for left in lefts]


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cropping, "FaceDetector", Finder)


@pytest.fixture
def best(finished: Path) -> Path:
    return finished / RUN / "checkpoints/best.ckpt"


def same(answer: Prediction, other: Prediction) -> bool:
    """Whether two answers are alike but for the rounding that depends on the batch."""
    close = answer.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    return bool(close) and (answer.label, answer.box) == (other.label, other.box)


def photograph(*emotions: str) -> Image.Image:
    picture = PHOTOGRAPH.copy()
    for place, emotion in enumerate(emotions):
        picture.paste(draw_face(emotion, seed=3, index=place, size=200), (200 * place, 0))
    return picture


@pytest.mark.usefixtures("finder")
def test_only_what_is_asked_for_is_searched() -> None:
    faces = photograph("happy", "angry")
    boxes = [(20, 20, 160, 160), (220, 20, 160, 160)]
    assert [part.box for part in FaceCropper(FER2013).parts(faces)] == boxes
    for detect, picture, expected in (
        ("auto", CROP, [(0, 0, 100, 100)]),
        ("auto", PHOTOGRAPH, []),
        ("always", CROP, []),
        ("always", faces, boxes),
    ):
        assert [part.box for part in FaceCropper(FER2013, detect).parts(picture)] == expected
    whole = [(0, 0, 800, 600)]
    for unknown in (None, TypicalSize(800, 1.33)):  # an old checkpoint, and a model of photographs
        assert [part.box for part in FaceCropper(unknown).parts(faces)] == whole
    assert FaceCropper(FER2013).parts(CROP)[0].picture is CROP
    with pytest.raises(UsageError, match=r"`face\.detect` 'yes' is none of auto, always, never"):
        FaceCropper(FER2013, "yes")  # type: ignore[arg-type]


def test_a_warning_is_given_once_where_photographs_are_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    cropper = FaceCropper(FER2013)
    with pytest.warns(UserWarning, match=r"800 x 600.*\(of 48 pixels\).*pip install 'emotion_lightning\[face\]'"):
        [part] = cropper.parts(PHOTOGRAPH)
    assert part.box == (0, 0, 800, 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cropper.parts(PHOTOGRAPH.resize((900, 600)))
        FaceCropper(FER2013).parts(CROP)
        FaceCropper(TypicalSize(800, 1.33)).parts(PHOTOGRAPH)
    with pytest.warns(UserWarning, match="`face.detect=auto`"):
        FaceCropper(FER2013, "never").parts(PHOTOGRAPH)


def test_what_is_asked_for_and_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`face\.model`.*none\.onnx: no such file"):
        FaceCropper(FER2013, model=tmp_path / "none.onnx")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match="pip install"):
        FaceCropper(FER2013, "always")


@pytest.mark.usefixtures("finder")
def test_a_predictor_answers_for_each_face_of_a_photograph(best: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, picture = emotion_lightning.load(best, "cpu"), photograph("happy", "angry", "happy")
    small = draw_face("happy", seed=1, index=0, size=32)
    sizes, compute = list[int](), predictor.probabilities
    monkeypatch.setattr(predictor, "probabilities", lambda pixels: sizes.append(len(pixels)) or compute(pixels))
    answers = predictor.predict([small, picture, PHOTOGRAPH, small], batch_size=2)
    assert max(sizes) == 2  # however many faces a batch of pictures has
    assert [answer.box and answer.box[:2] for answer in answers] == [
        (0, 0),
        (20, 20),
        (220, 20),
        (420, 20),
        None,
        (0, 0),
    ]
    assert answers[4].error == "no face"
    assert same(predictor.predict(picture), answers[1])  # of one picture, the first face
    plain = emotion_lightning.load(best, "cpu", detect="never")
    assert same(plain.predict(small), answers[0])  # a crop is answered as it is
    assert same(plain.predict(small), answers[5])
    cut = crop(picture, Finder().find(picture)[1])
    with pytest.warns(UserWarning, match="photograph"):
        assert not same(plain.predict(picture), replace(answers[1], box=(0, 0, 800, 600)))
    assert same(plain.predict(cut), replace(answers[2], box=(0, 0, *cut.size)))
    with pytest.raises(DataError, match="no face"):
        predictor.predict(PHOTOGRAPH)


@pytest.mark.usefixtures("finder", "in_an_empty_folder")
def test_predict_writes_a_row_for_each_face(best: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph("happy", "angry").save("two.png")
    PHOTOGRAPH.save("none.png")
    draw_face("happy", seed=1, index=0, size=32).save("crop.png")
    command = ["predict", "--ckpt_path", str(best), "two.png", "none.png", "crop.png"]
    main(command)
    printed = capsys.readouterr()
    found = [line.split(",") for line in printed.out.replace('"', "").splitlines()[1:]]
    assert [row[0] for row in found] == ["two.png", "two.png", "none.png", "crop.png"]
    assert [row[3:7] for row in (found[0], found[3])] == [["20", "20", "160", "160"], ["0", "0", "32", "32"]]
    assert found[2][-1] == "no face"
    assert "3 pictures" in printed.err
    assert "4 rows, as a photograph has one for each face" in printed.err
    with pytest.warns(UserWarning, match="--face.detect auto|`face.detect=auto`"):
        main([*command, "--face.detect", "never"])
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.usefixtures("finder", "in_an_empty_folder")
def test_the_faces_of_a_photograph_are_one_picture(best: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph("happy", "angry").save("two.png")
    PHOTOGRAPH.save("none.png")
    main(["predict", "--ckpt_path", str(best), "two.png", "none.png", "two.png", "two.png", "--format", "deepface"])
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[face["face_confidence"] for face in faces] for faces in results] == [
        [0.9, 0.9],
        [0],
        [0.9, 0.9],
        [0.9, 0.9],
    ]
    _answer(emotion_lightning.load(best, "cpu"), ["two.png", "none.png"], 2, 32, lambda answer: None, True)
    assert "100%" in (last := capsys.readouterr().err.split("\r")[-1])
    assert "2/2" in last


def test_crops_are_answered_alike_without_the_extra(best: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((faces / "val").rglob("*.png"))
    with_extra = emotion_lightning.load(best, "cpu").predict(files)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert list(emotion_lightning.load(best, "cpu").predict(files)) == list(with_extra)


def test_yunet_itself_cuts_the_face_out_of_a_photograph(best: Path) -> None:
    pytest.importorskip("cv2")
    picture = Image.linear_gradient("L").resize((1400, 900)).convert("RGB")
    picture.paste(draw_face("angry", seed=10, index=1, size=320), (300, 200))
    [answer] = emotion_lightning.load(best, "cpu").predict([np.asarray(picture)])
    assert answer.error is None
    assert answer.box is not None
    assert 300 < answer.box[0] < 500
    assert answer.box[2] < 320
