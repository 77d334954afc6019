"""How a command ends when it is interrupted, or when a library fails in it."""

import errno
import signal
from pathlib import Path

import pytest
from lightning.fabric.utilities.spike import TrainingSpikeException

from emotion_lightning.cli import main
from emotion_lightning.model.module import EmotionClassifier
from tests.helpers import QUIET, RUN, TINY, fails

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_an_interrupted_run_says_how_to_go_on(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(module: EmotionClassifier) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EmotionClassifier, "on_train_batch_start", lambda module, *_: interrupt(module))
    handler = signal.getsignal(signal.SIGINT)
    with caplog.at_level("INFO", "lightning.pytorch"), pytest.raises(SystemExit) as stopped:
        main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    signal.signal(signal.SIGINT, handler)  # Lightning switches it off
    assert stopped.value.code == 130
    last = RUN / "checkpoints" / "last.ckpt"
    assert f"to go on: python -m emotion_lightning fit --ckpt_path {last}" in caplog.text
    monkeypatch.undo()


@pytest.mark.parametrize("module", ["torch._dynamo.exc", "torch._inductor.exc", "somewhere"])
def test_a_machine_that_cannot_compile_is_told_in_one_line(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    broken = type("Broken", (RuntimeError,), {"__module__": module})

    def fit(*args: object, **options: object) -> None:
        raise broken("No working C++ compiler found\nand more")

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", fit)
    compiled = ["fit", "--data.root", str(faces), *TINY, *QUIET, "--model.compile", "true"]
    if module == "somewhere":
        with pytest.raises(broken):
            main(compiled)
    else:
        assert "--model.compile true needs" in fails(capsys, 2, *compiled)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ModuleNotFoundError("`DeviceStatsMonitor` needs psutil"), "needs psutil"),
        (
            OSError(errno.ENOSPC, "No space left on device", "events.out"),
            "events.out cannot be read or written: No space",
        ),
        (RuntimeError("unable to write to file </torch_7>: No space left on device (28)"), "--data.num_workers 0"),
        (RuntimeError("DataLoader worker is out of shared memory"), "--data.num_workers 0"),
        (DeprecationWarning("old"), "DeprecationWarning: old"),
        (TrainingSpikeException(3), "Training spike detected in batch 3: the callback SpikeDetection ends a run"),
    ],
    ids=str,
)
def test_what_a_library_raises_in_training_is_said_in_one_line(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised: BaseException, said: str
) -> None:
    def fit(*args: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", fit)
    error = fails(capsys, 1, "fit", "--data.root", str(faces), *TINY, *QUIET)
    assert said in error
    assert error.count("\n") == 1
