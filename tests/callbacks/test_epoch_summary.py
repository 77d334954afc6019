import re
from pathlib import Path

import pytest

from emotion_lightning.cli import main
from tests.helpers import QUIET, TINY

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_without_a_progress_bar_each_epoch_has_a_line(faces: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *QUIET])
    assert [line for line in caplog.messages if "validation loss" in line][2].startswith("Epoch 2: validation loss")
    shares = [re.search(r"training .* \((\S+) of (\S+) million parameters\)", line) for line in caplog.messages]
    first, second, last = [share.groups() for share in shares if share]
    assert float(first[0]) < float(second[0]) < float(last[0]) == float(last[1])


@pytest.mark.parametrize(
    ("options", "validations"),
    [
        (["--trainer.check_val_every_n_epoch", "2"], ["Epoch 1:"]),
        (["--trainer.val_check_interval", "4"], ["Epoch 0, step 4:", "Epoch 1, step 10:", "Epoch 2, step 16:"]),
        (["--trainer.max_steps", "9"], ["Epoch 0:"]),
        (["--trainer.limit_val_batches", "0"], []),
    ],
)
def test_a_line_is_of_the_epoch_that_was_validated(
    faces: Path, caplog: pytest.LogCaptureFixture, options: list[str], validations: list[str]
) -> None:
    with caplog.at_level("INFO", "lightning.pytorch"):
        main(["fit", "--data.root", str(faces), *TINY, *QUIET, *options])
    assert [line.partition(" validation")[0] for line in caplog.messages if "validation loss" in line] == validations
