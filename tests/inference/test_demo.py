"""The page on which a model is tried: what it shows, and that nothing of it is kept or leaves the machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import pytest
from PIL import Image

import emotion_lightning
from emotion_lightning.cli import main
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.typical import TypicalSize
from emotion_lightning.errors import UsageError
from emotion_lightning.evaluation.selective import Threshold
from emotion_lightning.inference import cropping
from emotion_lightning.inference.demo import SHOWN, Demo, page, private_folder, served
from emotion_lightning.inference.faces import Face
from tests.helpers import CLASSES, RUN, fails

SKY = (90, 120, 200)


@pytest.fixture(scope="module")
def best(finished: Path) -> Path:
    return finished / RUN / "checkpoints/best.ckpt"


@pytest.fixture
def demo(best: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    """With a detector in place of YuNet, that finds the faces of :func:`photograph`."""

    class Finder:
        def __init__(self, model: str | None = None):
            self.model = model

        def find(self, picture: Image.Image) -> list[Face]:
            lefts = [left for left in range(0, picture.width - 99, 100) if picture.getpixel((left + 50, 50)) != SKY]
            eyes = ((30.0, 40.0), (70.0, 40.0))
            return [Face((left + 10.0, 10.0, 80.0, 80.0), tuple((left + x, y) for x, y in eyes), 0.9) for left in lefts]

    monkeypatch.setattr(cropping, "FaceDetector", Finder)
    return Demo(emotion_lightning.load(best, "cpu"))


def photograph(faces: int) -> Image.Image:
    picture = Image.new("RGB", (1200, 300), SKY)
    for place in range(faces):
        picture.paste(draw_face("happy", seed=3, index=place, size=100), (100 * place, 0))
    return picture


def bars(html: str) -> list[tuple[str, float]]:
    found = re.findall(r"<dt>(.*?)</dt>.*?<output>([\d.]+) %</output>", html, flags=re.DOTALL)
    return [(unescape(name), float(percent)) for name, percent in found]


def test_a_face_is_shown_with_every_class_and_what_speaks_for_it(demo: Demo, best: Path) -> None:
    face = draw_face("happy", seed=1, index=0, size=32)
    html = demo.answer(face)
    expected = emotion_lightning.load(best, "cpu").predict(face).probabilities
    assert dict(bars(html)) == pytest.approx({name: 100 * value for name, value in expected.items()}, abs=0.06)
    assert [value for _, value in bars(html)] == sorted((value for _, value in bars(html)), reverse=True)
    assert html.count('src="data:image/jpeg;base64,') == 2  # the face and its heat map; a crop is not framed
    assert "Grad-CAM of face 1" in html


def test_faces_of_a_photograph_are_cut_out_and_those_beyond_the_most_are_counted(demo: Demo) -> None:
    html = demo.answer(photograph(2))
    assert html.count("el-face") == 2
    assert html.count('src="data:image/jpeg;base64,') == 5  # the photograph with frames as well
    html = demo.answer(photograph(11))
    assert html.count("el-face") == SHOWN == 8
    assert "11 faces, of which the 8 largest are shown" in html


def test_no_face_and_what_cannot_be_read_are_said(demo: Demo, tmp_path: Path) -> None:
    assert "<b>no face</b>" in demo.answer(photograph(0))
    assert bars(demo.answer(photograph(0))) == []
    (tmp_path / "x.jpg").write_text("nothing")
    assert "this file cannot be read: not a JPEG" in demo.answer(tmp_path / "x.jpg")


def test_an_answer_below_the_threshold_is_uncertain(demo: Demo) -> None:
    face = draw_face("happy", seed=1, index=0, size=32)
    assert "uncertain" not in demo.answer(face)
    demo.predictor.threshold = Threshold(0.999, 0.9, 0.1)
    html = demo.answer(face)
    assert re.search(r"<b>uncertain</b>, perhaps (\w+)<", html)
    assert len(bars(html)) == 3


def test_class_names_are_text(demo: Demo) -> None:
    hostile = ['<script>alert("1")</script>', "two\nlines, &c", "x"]
    demo.predictor.class_names = hostile
    html = demo.answer(draw_face("happy", seed=1, index=0, size=32))
    assert "<script" not in html
    assert {name for name, _ in bars(html)} == set(hostile)


def test_a_photograph_that_is_taken_whole_says_so(best: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    demo = Demo(emotion_lightning.load(best, "cpu"))
    with pytest.warns(UserWarning, match="photograph"):
        html = demo.answer(photograph(1))
    assert "seems to be a photograph" in html
    assert "seems to be" not in demo.answer(draw_face("happy", seed=1, index=0, size=32))


def test_a_model_of_unknown_training_images_is_taken_for_one_of_crops(demo: Demo) -> None:
    known, detect = demo.predictor, demo.cropper.detect
    known.cropper = cropping.FaceCropper(None, detect)
    assert Demo(known).cropper.trained_on == TypicalSize(32, 1)
    assert Demo(known).answer(photograph(2)).count("el-face") == 2


def test_several_threads_are_answered_as_one_is(demo: Demo) -> None:
    faces = [draw_face("happy", seed=1, index=index, size=32) for index in range(2)] * 8
    expected = [demo.answer(face) for face in faces]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(demo.answer, faces)) == expected


@pytest.fixture
def folder() -> Iterator[Path]:
    pytest.importorskip("gradio")
    with private_folder() as folder:
        yield folder


def test_what_is_uploaded_is_removed_whatever_the_answer(demo: Demo, folder: Path) -> None:
    answer = next(iter(page(demo).fns.values())).fn
    for content in ("face", "broken"):
        file = folder / f"{content}.png"
        file.write_text("nothing")
        if content == "face":
            draw_face("happy", seed=1, index=0, size=32).save(file)
        cleared, html = answer({"path": str(file)})
        assert (cleared, len(bars(html)), file.exists()) == (None, 3 if content == "face" else 0, False)
    assert answer(None) == (None, "")

    def fail(x: Any) -> str:
        raise RuntimeError

    demo.answer, file = fail, folder / "a.png"  # type: ignore[method-assign]
    file.touch()
    with pytest.raises(RuntimeError):
        answer({"path": str(file)})
    assert not file.exists()


def asked(address: str, data: Any) -> str:
    """Give what the page's server answers to a picture, named as any client may name it."""
    call = {"data": [data], "fn_index": 0, "session_hash": "abc", "trigger_id": None, "event_data": None}
    header = {"Content-Type": "application/json"}
    urlopen(Request(f"{address}gradio_api/queue/join", json.dumps(call).encode(), header)).close()
    with urlopen(f"{address}gradio_api/queue/data?session_hash=abc", timeout=60) as events:
        return next(line.decode() for line in events if b'"process_completed"' in line)


MARKED = {"meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("more", [{"meta": {}}, MARKED, {"meta": {}, "url": "http://127.0.0.1:9/x.png"}])
def test_a_file_that_was_not_uploaded_is_neither_read_nor_removed(
    demo: Demo, folder: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    face, inside = tmp_path / "face.png", folder / "uploaded.png"
    for file in (face, inside):
        draw_face("happy", seed=1, index=0, size=32).save(file)
    (folder / "link.png").symlink_to(face)
    with served(page(demo)) as address:
        for path in (face, tmp_path / "none.png", f"{folder}/../{tmp_path}/face.png", folder / "link.png", folder):
            given = asked(address, {"path": str(path)} | more)
            assert "data:image" not in given
            assert "not among those that were uploaded" in given or more == MARKED
        assert face.exists()
        assert "data:image" in asked(address, {"path": str(inside)} | more)
    assert not inside.exists()


def test_a_name_that_no_file_can_have_is_refused_without_a_traceback(
    demo: Demo, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(page(demo)) as address:
        for path in (None, "", "\0", "x" * 5000, "\ud800"):
            assert "not among those that were uploaded" in asked(address, {"path": path, "meta": {}})
        assert "not among those that were uploaded" in asked(address, {"path": None} | MARKED)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("given", [MARKED, {"meta": {}, "inner": MARKED | {"path": "http://example.org/face.png"}}])
def test_an_address_is_not_fetched(
    demo: Demo, folder: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fetched = []

    async def fetch(url: str, cache_dir: str) -> str:
        fetched.append(url)
        raise OSError

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", fetch)
    with served(page(demo)) as address:
        answered = asked(address, {"path": "https://example.org/face.png"} | given)
    assert fetched == []
    assert "addresses are not fetched" in answered
    assert "Traceback" not in capfd.readouterr().err


def test_an_example_stays_where_it_is_given_as_an_upload(demo: Demo, folder: Path) -> None:
    blocks = page(demo, [(draw_face("happy", seed=1, index=0, size=32), "happy")])
    [example] = (file for file in folder.rglob("*") if file.is_file())
    with served(blocks) as address:
        for more in ({"meta": {}}, MARKED):
            assert "data:image" in asked(address, {"path": str(example)} | more)
            assert example.exists()


def test_the_page_asks_no_other_machine_for_anything(demo: Demo, folder: Path) -> None:
    with served(page(demo)) as address:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        with urlopen(address) as answer:
            html = answer.read().decode()
        with urlopen(f"{address}theme.css") as answer:
            html += answer.read().decode()
        with urlopen(f"{address}config") as answer:
            config = answer.read().decode()
    fetched = re.findall(r"""(?:<script[^>]*src=|<link[^>]*href=|url\(|@import )\s*["']?(\w+://[^"')\s]+)""", html)
    assert [url for url in fetched if not url.startswith(address)] == []
    assert '"analytics_enabled":false' in config
    assert '"run_history":false' in config  # which would keep every picture in the browser
    with pytest.raises(OSError, match="refused"):
        urlopen(address)


def test_examples_are_answered_where_there_are_some(demo: Demo, folder: Path) -> None:
    import gradio

    face = draw_face("happy", seed=1, index=0, size=32)
    blocks = page(demo, [(face, "happy")])
    galleries = [block for block in blocks.blocks.values() if isinstance(block, gradio.Gallery)]
    assert len(galleries) == 1
    chosen = gradio.SelectData(None, {"index": 0, "value": None})
    assert list(blocks.fns.values())[1].fn(chosen) == demo.answer(face)
    assert not any(isinstance(block, gradio.Gallery) for block in page(demo).blocks.values())


def test_an_address_in_use_is_one_line(demo: Demo, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"cannot be served on --host 127.0.0.1 --port {port}"),
            served(page(demo), port=port),
        ):
            pass


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_missing_extra_and_wrong_options_are_one_line(
    best: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "demo needs --ckpt_path" in fails(capsys, 2, "demo")
    assert "--examples -1 is too small" in fails(capsys, 2, "demo", "--ckpt_path", str(best), "--examples", "-1")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'emotion_lightning[demo]'" in fails(capsys, 2, "demo", "--ckpt_path", str(best))


@pytest.mark.usefixtures("in_an_empty_folder")
def test_the_command_serves_examples_of_the_validation_split_until_it_is_interrupted(
    best: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio")
    seen: list[list[Any]] = []

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    def recorded(demo: Demo, examples: list[Any]) -> Any:
        seen.append(examples)
        return page(demo, examples)

    monkeypatch.setattr("emotion_lightning.cli.demo.time", SimpleNamespace(sleep=interrupted))
    monkeypatch.setattr("emotion_lightning.inference.demo.page", recorded)
    main(["demo", "--ckpt_path", str(best), "--examples", "6"])
    assert re.search(r"Open http://127\.0\.0\.1:\d+/ in a browser", capsys.readouterr().out)
    assert sorted(label for _, label in seen[0]) == sorted([*CLASSES, *CLASSES])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_was_uploaded_is_gone_when_a_signal_ends_the_command(best: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("gradio")
    command = [sys.executable, "-m", "emotion_lightning", "demo", "--ckpt_path", str(best), "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline().startswith("Open ")
        [folder] = tmp_path.glob("emotion_lightning_demo_*")
        (folder / "face.png").touch()
        for _ in range(2):  # a closed terminal often sends two
            program.send_signal(getattr(signal, name))
        assert program.wait() == 128 + getattr(signal, name)
        assert program.stderr.read() == ""
    assert not folder.exists()


@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_signal_that_is_ignored_stays_so(best: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    before, seen = signal.signal(signal.SIGHUP, signal.SIG_IGN), []  # as nohup does

    def interrupted(seconds: float) -> None:
        seen.append(signal.getsignal(signal.SIGHUP))
        raise KeyboardInterrupt

    monkeypatch.setattr("emotion_lightning.cli.demo.time", SimpleNamespace(sleep=interrupted))
    try:
        main(["demo", "--ckpt_path", str(best), "--device", "cpu"])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]
