"""Faces that are found in photographs, and how they are cut out."""

import importlib.util
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import atan2, degrees
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_lightning.data.drawn import draw_face
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.inference.faces import Face, FaceDetector, crop

LANDSCAPE = (
    Image.linear_gradient("L").resize((1400, 900)).convert("RGB")
)  # a sky that grows dark, without anything in it


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    pytest.importorskip("cv2")
    return FaceDetector()


def photograph(*places: tuple[int, int, int]) -> Image.Image:
    """A landscape with drawn faces of a side at the upper left corners given."""
    picture = LANDSCAPE.copy()
    for left, top, side in places:
        picture.paste(draw_face("angry", seed=10, index=1, size=side), (left, top))
    return picture  # of this drawn face YuNet is sure at any size, as it is of people; of others it is not


def tilt(face: Face) -> float:
    right, left = face.landmarks[:2]
    return degrees(atan2(left[1] - right[1], left[0] - right[0]))


def test_the_faces_of_a_photograph_are_found_the_largest_first(detector: FaceDetector) -> None:
    faces = detector.find(photograph((80, 300, 160), (900, 200, 320)))
    assert len(faces) == 2
    for face, (left, top, side) in zip(faces, [(900, 200, 320), (80, 300, 160)], strict=True):
        x, y = face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2
        assert left + 0.35 * side < x < left + 0.65 * side
        assert top + 0.35 * side < y < top + 0.65 * side
        assert 0.5 * side < face.box[3] < side
        assert 0.7 <= face.score <= 1
        assert face.landmarks[0][0] < face.landmarks[1][0]  # the person's right eye is on the left


def test_no_face_is_found_where_there_is_none(detector: FaceDetector) -> None:
    assert detector.find(LANDSCAPE) == []
    assert detector.find(Image.new("RGB", (1, 1))) == []
    assert detector.find(Image.new("RGB", (3000, 2))) == []


@pytest.mark.parametrize("side", [60, 120, 900])
def test_faces_are_found_whether_they_are_small_or_fill_the_photograph(detector: FaceDetector, side: int) -> None:
    [face] = detector.find(photograph((300, 200, side) if side < 900 else (0, 0, side)))
    assert 0.5 * side < face.box[3] < 1.1 * side


@pytest.mark.parametrize("angle", [-25, 0, 15])
def test_the_tilt_of_a_face_is_found(detector: FaceDetector, angle: int) -> None:
    turned = photograph((500, 200, 400)).rotate(angle, Image.Resampling.BILINEAR, center=(700, 400))
    [face] = detector.find(turned)
    assert tilt(face) == pytest.approx(-angle, abs=8)


def face_at(box: tuple[float, float, float, float], *eyes: tuple[float, float]) -> Face:
    return Face(box, (*eyes, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), 0.9)


def brightest(picture: Image.Image, channel: int) -> Sequence[int]:
    pixels = np.asarray(picture)[..., channel]
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    return int(column), int(row)


def test_a_crop_is_a_square_around_the_box_with_level_eyes() -> None:
    picture = Image.new("RGB", (400, 300))
    picture.putpixel((180, 120), (255, 0, 0))
    picture.putpixel((220, 160), (0, 255, 0))
    cut = crop(picture, face_at((150, 90, 100, 120), (180.5, 120.5), (220.5, 160.5)))
    assert cut.size == (122, 122)  # 1.02 times the longer side
    red, green = brightest(cut, 0), brightest(cut, 1)
    assert abs(red[1] - green[1]) <= 1
    assert green[0] - red[0] == pytest.approx(40 * 2**0.5, abs=1)
    level = crop(picture, face_at((150, 90, 100, 100), (180.5, 120.5), (220.5, 120.5)))
    assert level.size == (102, 102)
    assert brightest(level, 0) == (31, 31)  # its corner lies at (149, 89)


def test_the_eyes_of_a_profile_turn_nothing() -> None:
    picture = LANDSCAPE.resize((300, 300))
    upright = crop(picture, face_at((100, 100, 80, 80), (120, 130), (160, 130)))
    assert crop(picture, face_at((100, 100, 80, 80), (120, 130), (122, 140))) == upright


def test_a_crop_beyond_the_edge_repeats_it() -> None:
    picture = Image.new("RGB", (50, 50), (200, 100, 50))
    cut = crop(picture, face_at((-30, -30, 100, 100), (10, 10), (40, 20)))
    assert cut.size == (102, 102)
    assert cut.getextrema() == ((200, 200), (100, 100), (50, 50))


def test_several_threads_find_what_one_finds(detector: FaceDetector) -> None:
    pictures = [photograph((100, 100, side)) for side in (120, 320)] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.find, pictures)) == [detector.find(picture) for picture in pictures]


def test_a_missing_extra_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        patch.setattr("emotion_lightning.inference.faces.find_spec", lambda name: None)
        with pytest.raises(UsageError, match=r"pip install 'emotion_lightning\[face\]'"):
            FaceDetector()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"pip install 'emotion_lightning\[face\]'"):
        FaceDetector()


def test_a_file_that_is_no_yunet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(DataError, match=r"nothing\.onnx: no such file"):
        FaceDetector(tmp_path / "nothing.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(DataError, match=r"text\.onnx: not a YuNet network"):
        FaceDetector(tmp_path / "text.onnx")
