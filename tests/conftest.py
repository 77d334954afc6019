import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, one a core; torch reads it when imported

import pytest
from PIL import Image

from emotion_lightning.cli import main
from emotion_lightning.data.drawn import draw_face
from emotion_lightning.data.images import cache
from tests.helpers import CLASSES, QUIET, RUN, SIZES, TINY, Lab


@pytest.fixture(scope="session", autouse=True)
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images out of the user's cache, and trust files that a test has just made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CLOCK_TICK", 0.0)
        patch.setenv("EMOTION_LIGHTNING_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own, as the program that a user starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["emotion_lightning"])


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree with splits: three emotions of small drawn faces."""
    root = tmp_path_factory.mktemp("faces")
    for offset, (split, size) in enumerate(SIZES.items()):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(size):
                draw_face(name, seed=1, index=100 * offset + index, size=32).save(folder / f"{index:02d}.png")
    return root


@pytest.fixture(scope="session")
def reported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained and tested, with its report."""
    from emotion_lightning.cli import main

    quiet = ["--trainer.enable_progress_bar", "false"]
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["fit", "--data.root", str(faces), *TINY, *quiet, "--report.baseline_accuracy", "0.25"])
        main(["test", "--ckpt_path", str(RUN / "checkpoints/best.ckpt"), *quiet])
    return folder / RUN


@pytest.fixture
def lab(faces: Path, tmp_path: Path) -> Lab:
    return Lab(faces, tmp_path)


@pytest.fixture(scope="session")
def finished(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run has ended."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["emotion_lightning"])
        main(["fit", "--data.root", str(faces), *TINY, "--checkpoint.every_n_epochs", "1", *QUIET])
    return folder


@pytest.fixture
def trained(finished: Path) -> Path:
    """The checkpoints of that run, in a copy of its own."""
    shutil.copytree(finished / "lightning_logs", "lightning_logs")
    return RUN / "checkpoints"


@pytest.fixture
def leaky(faces: Path, tmp_path: Path) -> Path:
    """The small tree, with two test images and one validation image copied into train, one of them mirrored."""
    root = shutil.copytree(faces, tmp_path / "leaky")
    shutil.copy(root / "test/happy/00.png", root / "train/happy/leak_a.png")
    Image.open(root / "test/angry/01.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "train/angry/b.png")
    shutil.copy(root / "val/happy/03.png", root / "train/surprised/wrong.png")
    return root
