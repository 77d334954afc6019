"""What an export holds, that it answers as the checkpoint does, and what is refused."""

import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file

from emotion_lightning.cli import main
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images.decode import to_tensor
from emotion_lightning.export import artifacts, folder, verification
from emotion_lightning.export.about import About
from emotion_lightning.export.pictures import pictures_of_run
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import CLASSES, fails

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_an_empty_folder")]

Face = Callable[..., Image.Image]
STRANGE = ['"sad", they say', "<b>happy</b> | *not*", "a_b\n# angry"]


@pytest.fixture(scope="module")
def exported(judged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was exported from the run's best checkpoint."""
    output = tmp_path_factory.mktemp("exported") / "model"
    main(["export", "--ckpt_path", str(best(judged)), "--output", str(output), "--license", "cc-by-nc-4.0"])
    return output


@pytest.fixture(scope="module")
def model(judged: Path) -> EmotionClassifier:
    return EmotionClassifier.load_from_checkpoint(best(judged), map_location="cpu")


def best(run: Path) -> Path:
    return run / "checkpoints/best.ckpt"


def altered(run: Path, threshold: float | None = None, **hparams: Any) -> str:
    """A copy of the best checkpoint whose data is gone, with a threshold and other hyper-parameters."""
    checkpoint = torch.load(best(run), weights_only=True)
    checkpoint["hyper_parameters"] |= hparams
    if threshold is not None:
        checkpoint["calibration"]["threshold"] = {"probability": threshold, "precision": 0.9, "coverage": 0.25}
    checkpoint["EmotionDataModule"]["root"] = "/nowhere/faces"
    torch.save(checkpoint, "altered.ckpt")
    return "altered.ckpt"


def sixteen_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def expected(model: EmotionClassifier, *pictures: Image.Image) -> torch.Tensor:
    pixels = torch.stack([to_tensor(picture.convert("RGB"), 32) for picture in pictures])
    with torch.no_grad():
        return (model(pixels) / model.temperature).softmax(dim=1)


def test_an_export_holds_what_other_programs_need(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {
        *("model.onnx", "core.onnx", "model.pt2", "model.safetensors", "labels.json", "preprocessor_config.json"),
        *("example.py", "README.md", "verification.json"),
    }
    assert json.loads((exported / "labels.json").read_text()) == list(CLASSES)
    assert json.loads((exported / "preprocessor_config.json").read_text())["size"] == {"height": 32, "width": 32}
    metadata = onnxruntime.InferenceSession(exported / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(CLASSES)
    assert (metadata["license"], metadata["threshold"]) == ("cc-by-nc-4.0", "null")
    assert not [path for path in exported.parent.iterdir() if path != exported]


@pytest.mark.parametrize("size", [(32, 32), (20, 45), (300, 200), (1, 1)])
def test_the_whole_model_takes_pictures_of_any_size_gray_or_colored(
    size: tuple[int, int], exported: Path, model: EmotionClassifier, face: Face
) -> None:
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    faces = [face(name, 3, 200).resize(size) for name in CLASSES]
    given = np.stack([np.asarray(face) for face in faces])
    assert torch.from_numpy(session.run(None, {"pictures": given})[0]).allclose(expected(model, *faces), atol=5e-4)
    gray = faces[0].convert("L")
    [found] = session.run(None, {"pictures": np.asarray(gray)[None, :, :, None]})
    assert torch.from_numpy(found).allclose(expected(model, gray), atol=1e-4)


def test_the_core_and_the_program_take_what_the_card_says(exported: Path, model: EmotionClassifier, face: Face) -> None:
    faces = [face(name, index) for name in CLASSES for index in range(4)]
    assert len(set(expected(model, *faces).argmax(dim=1).tolist())) > 1
    pixels = torch.stack([to_tensor(face, 32) for face in faces])
    program = torch.export.load(exported / "model.pt2").module()
    assert program(pixels).allclose(expected(model, *faces), atol=1e-6)
    processor = json.loads((exported / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(processor[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    images = (pixels * processor["rescale_factor"] - mean) / std
    [logits] = onnxruntime.InferenceSession(exported / "core.onnx").run(None, {"images": images.numpy()})
    assert torch.from_numpy(logits).allclose(model(pixels), atol=1e-5)
    weights = load_file(exported / "model.safetensors")
    assert all(weights[name].equal(value) for name, value in model.state_dict().items() if name in weights)
    assert weights.keys() == {name for name in model.state_dict() if name.startswith(("backbone.", "classifier."))}


def test_the_example_reads_photographs_upright_and_says_what_the_model_does(
    exported: Path,
    model: EmotionClassifier,
    face: Face,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    happy = face("happy", 1, 80)
    turned = Image.Exif()
    turned[0x0112] = 6
    happy.save("plain.png")
    happy.rotate(90, expand=True).save("turned.png", exif=turned)
    transparent = happy.convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(happy.size))
    transparent.save("transparent.png")
    sixteen_bits(happy).save("deep.png")
    files = ["plain.png", "turned.png", "transparent.png", "deep.png"]
    monkeypatch.setattr(sys, "argv", ["example.py", *files])
    runpy.run_path(str(exported / "example.py"))
    black = Image.alpha_composite(Image.new("RGBA", happy.size, "black"), transparent)
    pictures = (happy, happy, black, happy.convert("L"))
    for answer, picture in zip(map(json.loads, capsys.readouterr().out.splitlines()), pictures, strict=True):
        [row] = expected(model, picture).tolist()
        assert answer["probabilities"] == pytest.approx(dict(zip(CLASSES, row, strict=True)), abs=1e-4)
        assert answer["label"] == CLASSES[int(np.argmax(row))]
    assert len((exported / "example.py").read_text().splitlines()) <= 24


@pytest.mark.parametrize("deep", [False, True])
def test_the_example_of_the_page_runs(
    deep: bool, exported: Path, model: EmotionClassifier, face: Face, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("model").symlink_to(exported)
    picture = next(
        picture
        for picture in (face("surprised", index, 60).convert("L") for index in range(50))
        if expected(model, picture).argmax() != expected(model, Image.new("L", picture.size, 255)).argmax()
    )
    (sixteen_bits(picture) if deep else picture).save("face.jpg", format="PNG")
    page = Path(__file__).parents[2] / "docs/export.md"
    first, *_ = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(first, "export.md", "exec"), {})
    answer = expected(model, picture).argmax().item()
    assert capsys.readouterr().out == f"{CLASSES[int(answer)]}\n"


def test_what_was_verified_is_written_and_printed(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "--ckpt_path", str(best(judged)), "--output", "model"])
    printed = capsys.readouterr().out
    found = json.loads(Path("model/verification.json").read_text())
    assert found["pictures"].startswith("folder tree with splits, 3 classes")
    rows = {(row["artifact"], row["batch"]): row for row in found["agreements"]}
    assert rows.keys() == {(name, n) for name in ("model.onnx", "core.onnx", "model.pt2") for n in (1, 7, 32)}
    assert {row["images"] for row in rows.values()} == {18}  # all of the validation split
    assert all(row["greatest_difference"] <= row["tolerance"] for row in rows.values())
    assert "Verified on 18 pictures" in printed
    assert f"{rows['core.onnx', 7]['greatest_difference']:.1e}" in printed


def test_the_card_says_what_was_measured_and_what_is_forbidden(exported: Path, judged: Path) -> None:
    card = ModelCard.load(exported / "README.md")
    metrics = json.loads((judged / "report/test/metrics.json").read_text())
    assert card.data.license == "cc-by-nc-4.0"
    results = {(result.dataset_split, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert results["test", "accuracy"] == metrics["accuracy"]
    low, high = metrics["intervals"]["accuracy"]
    assert f"| accuracy | {metrics['accuracy']:.3f} ({low:.3f} to {high:.3f}) |" in card.text
    assert f"| surprised | {metrics['per_class']['surprised']['precision']:.3f} |" in card.text
    assert f"{metrics['calibration']['ece_scaled']:.3f} ({metrics['calibration']['ece']:.3f} before)" in card.text
    assert "folder tree with splits, 3 classes" in card.text
    assert "Article 5(1)(f) of Regulation (EU) 2024/1689" in card.text
    of_test, of_validation = card.text.split("### Test")[1].split("### Validation")
    assert "no figures of what is exported" not in of_test
    assert "of a temperature of 1.0, not 1.7" in of_validation  # measured when the fit ended
    assert str(judged) not in card.content


@pytest.mark.usefixtures("quick")
def test_the_card_tells_figures_of_other_weights_from_its_own(judged: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(best(judged), weights_only=True)
    checkpoint["state_dict"]["classifier.6.bias"] += 1
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "report").symlink_to(judged / "report")
    torch.save(checkpoint, best(run))
    main(["export", "--ckpt_path", str(best(run)), "--output", "model"])
    card = ModelCard.load("model/README.md")
    assert "but of other weights" in card.text
    assert not card.data.eval_results
    assert "No license was stated" in card.text


def test_strange_names_and_a_threshold_are_in_every_file_and_drawn_faces_stand_for_data_that_is_gone(
    judged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "IMAGES", 20)
    with pytest.warns(UserWarning, match="the run's data is not in /nowhere/faces.* give `root`"):
        main(["export", "--ckpt_path", altered(judged, class_names=STRANGE, threshold=0.99), "--output", "model"])
    assert "Verified on 20 pictures (drawn faces" in capsys.readouterr().out
    assert json.loads(Path("model/labels.json").read_text()) == STRANGE
    metadata = onnxruntime.InferenceSession("model/model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == STRANGE
    assert json.loads(metadata["threshold"])["probability"] == 0.99
    text = ModelCard.load("model/README.md").text
    assert "Below a probability of 0.990 an answer counts as uncertain: above it, 90.0 % of the" in text
    assert "Nothing was measured" in text
    assert "<b>" not in text
    assert "\n# angry" not in text
    assert "&#60;b&#62;happy&#60;/b&#62; &#124; &#42;not&#42;" in text
    assert "/nowhere" not in text
    draw_face("happy", 5, 1, 40).save("face.png")
    monkeypatch.setattr(sys, "argv", ["example.py", "face.png"])
    runpy.run_path("model/example.py")
    answer = json.loads(capsys.readouterr().out)
    assert answer["label"] == "uncertain"
    assert answer["probabilities"].keys() == set(STRANGE)


def test_data_that_was_moved_is_found_where_it_is_now(
    judged: Path, faces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(folder, "write_networks", lambda *given: None)
    monkeypatch.setattr(folder, "_verify", lambda *given: seen.append(given[3]) or [folder.Agreement("a", 1, 1.0, 1)])
    main(["export", "--ckpt_path", altered(judged), "--output", "model", "--data.root", str(faces)])
    assert seen[0].own
    assert len(seen[0].splits["val"]) == 18
    message = fails(capsys, 1, "export", "--ckpt_path", "altered.ckpt", "--output", "other", "--data.root", "gone")
    assert "gone" in message
    assert not Path("other").exists()


@pytest.mark.usefixtures("quick")
def test_other_data_is_said_and_nothing_is_measured_on_it(
    judged: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(faces, "other")
    Path("other/train/happy/00.png").unlink()
    command = ("export", "--ckpt_path", altered(judged), "--output", "model", "--data.root", str(other))
    message = fails(capsys, 1, *command, "--quantize", "int8")
    assert "int8 is calibrated and measured on the run's own images, and here are other data than" in message
    main(list(command))
    assert "(other data than that of the run: folder tree with splits, 3 classes" in capsys.readouterr().out


def test_images_that_the_run_left_out_stay_out(judged: Path, leaky: Path) -> None:
    checkpoint = torch.load(altered(judged), weights_only=True)
    checkpoint["datamodule_hyper_parameters"]["leaks"] = "drop"
    found = pictures_of_run(checkpoint, "altered.ckpt", str(leaky))
    assert found.own
    assert len(found.splits["train"]) == 3 * 16  # of 3 more that are copies


def test_a_file_that_answers_otherwise_leaves_no_folder(
    judged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(core: Any, about: About) -> Any:
        return whole_graph(core, replace(about, temperature=2 * about.temperature))

    whole_graph = artifacts.whole_graph
    monkeypatch.setattr(artifacts, "whole_graph", wrong)
    message = fails(capsys, 1, "export", "--ckpt_path", str(best(judged)), "--output", "model")
    assert "model.onnx does not answer as the checkpoint" in message
    assert "batches of 1" in message
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_folder_that_exists_is_left_as_it_is(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model").mkdir()
    message = fails(capsys, 2, "export", "--ckpt_path", str(best(judged)), "--output", "model")
    assert "model exists" in message
    assert list(Path("model").iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_made_is_refused_before_work_is_put_in(
    judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    message = fails(capsys, 1, "export", "--ckpt_path", str(best(judged)), "--output", "file/model")
    assert "cannot write to file/model" in message


def test_a_disk_that_fills_is_said_and_leaves_nothing(
    judged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == artifacts.PROGRAM:
            raise OSError(28, "No space left on device")  # which has no file name, as of a write
        return write(path, data)

    for name in ("core_graph", "whole_graph", "write_graph"):
        monkeypatch.setattr(artifacts, name, lambda *given: None)
    monkeypatch.setattr(Path, "write_bytes", full)
    message = fails(capsys, 1, "export", "--ckpt_path", str(best(judged)), "--output", "pa/rent/model")
    assert message == "error: cannot write pa/rent/model: No space left on device; free space or mend the folder\n"
    assert list(Path().iterdir()) == []


def test_what_is_no_checkpoint_of_a_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, "other.ckpt")
    assert "not a checkpoint" in fails(capsys, 1, "export", "--ckpt_path", "other.ckpt", "--output", "model")
    assert "no such file" in fails(capsys, 1, "export", "--ckpt_path", "gone.ckpt", "--output", "model")
    assert "export needs --output" in fails(capsys, 2, "export", "--ckpt_path", "other.ckpt")
    assert "export needs --ckpt_path" in fails(capsys, 2, "export", "--output", "model")


def test_a_missing_package_is_named_with_what_installs_it(
    judged: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "NEEDED", ("onnx", "no_such_package"))
    message = fails(capsys, 2, "export", "--ckpt_path", str(best(judged)), "--output", "model")
    assert message == "error: export needs no_such_package: pip install 'emotion_lightning[export]'\n"


@pytest.mark.usefixtures("quick")
def test_eight_bits_need_the_data_of_the_run(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("export", "--ckpt_path", altered(judged), "--output", "model", "--quantize", "int8")
    with pytest.warns(UserWarning, match="drawn faces take its place"):
        message = fails(capsys, 1, *args)
    assert "int8 is calibrated and measured on the run's own images, and here are drawn faces" in message


def test_eight_bits_are_measured_against_thirty_two(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "--ckpt_path", str(best(judged)), "--output", "model", "--quantize", "int8"])
    found = json.loads(Path("model/verification.json").read_text())["int8"]
    assert found["bytes"] < 0.5 * found["bytes_before"]
    assert found["bytes"] == Path("model/model.int8.onnx").stat().st_size
    assert found["images"] == 18
    assert abs(found["accuracy"] - found["accuracy_before"]) < 0.3
    assert round(18 * (found["accuracy_before"] - found["accuracy"])) == found["lost"] - found["won"]
    assert "McNemar" in Path("model/README.md").read_text()
    assert f"accuracy {found['accuracy']:.4f} instead of {found['accuracy_before']:.4f}" in capsys.readouterr().out
