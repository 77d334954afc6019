"""Typical slips, and what of each message solves it."""

import subprocess
import sys
from pathlib import Path

import pytest

from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.cli.slips import OTHER_COMMANDS, OTHER_OPTIONS, check_words
from emotion_lightning.errors import UsageError
from emotion_lightning.options import OPTIONS
from tests.helpers import fails

OF_WORDS = [
    ("fit --lr 1e-3", "did you mean --model.lr_classifier, the peak rate of the classifier (--model.lr_backbone"),
    ("fit --epochs 5", "did you mean --trainer.max_epochs?"),
    ("fit --max_epochs 5", "did you mean --trainer.max_epochs?"),
    ("fit --root faces", "did you mean --data.root?"),
    ("fit --data faces", "the folder of the images is --data.root faces"),
    ("fit --batch-size 8", "did you mean --data.batch_size?"),
    ("fit --data.batch-size 8", "did you mean --data.batch_size?"),
    ("fit --augment true", "did you mean --data.augmentation (MixUp and CutMix have --model.mix_prob)"),
    ("fit --class_weights true", "did you mean --data.balance loss?"),
    ("fit --gpu 0", "did you mean --trainer.accelerator gpu"),
    ("fit --gpus 2", "did you mean --trainer.devices?"),
    ("fit --model resnet18", "the network is --model.backbone resnet18"),
    ("fit --pretrained True", "did you mean --model.pretrained?"),
    ("fit --seed 1", "did you mean --seed_everything?"),
    ("fit --img_size 64", "did you mean --data.image_size?"),
    ("fit --data.format tree", "did you mean --data.layout?"),
    ("fit --model.lr_bacbone 1", "did you mean --model.lr_backbone?"),
    ("train --data.root faces", "there is no command 'train' -- did you mean fit?"),
    ("eval", "did you mean test?"),
    ("evaluate", "did you mean test?"),
    ("fot", "did you mean fit?"),
    ("--data.root faces fit", "put the command first and its options after it: fit --data.root ..."),
    ("fit data.root=faces", "did you mean --data.root faces?"),
    ("fit --data.root = faces", "leave out the spaces around =, or write --data.root faces"),
    ("fit -data.root faces", "an option begins with two plain dashes, --data.root"),
    ("fit \u2014data.root faces", "an option begins with two plain dashes, --data.root"),
    ("fit --unfreeze.schedule {0: layer4, 5: all}", "put quotes around .*--unfreeze.schedule '{0: layer4, 5: all}'"),
    ("fit --data.drop_classes sad fear", "give several in brackets, --data.drop_classes [sad,fear]"),
    ("fit mine.yaml", "did you mean --config mine.yaml?"),
    ("test best.ckpt", "did you mean --ckpt_path best.ckpt?"),
    ("fit faces", "did you mean --data.root faces?"),
]  # fmt: skip

OF_VALUES = [
    ("fit --trainer.gpus 2", "did you mean --trainer.devices?"),
    ("fit --trainer.epochs 5", "did you mean --trainer.max_epochs?"),
    ("fit --unfreeze.schedule {0:classifier,5:all}", "it takes .*a mapping .*with a blank after each colon"),
    ("fit --model.lr_backbone 1e-3s", "--model.lr_backbone 1e-3s: it takes a number"),
    ("fit --model.lr_backbone 0,001", "it takes a number, with a point: 0.001"),
    ("fit --trainer.max_epochs 5.5", "--trainer.max_epochs 5.5: it takes a whole number"),
    ("fit --data.drop_classes sad,fear", "it takes a list such as [a, b]"),
    ("fit --trainer.precision fp16", "it takes 16-mixed, bf16-mixed, 32-true and others"),
    ("fit --data.leaks remove", "it takes one of report, drop, error"),
    ("fit --config missing.yaml", "File does not exist: .*missing.yaml"),
    ("fit --config key.yaml", "did you mean --model.lr_classifier"),
    ("fit --config tabs.yaml", "are there tabs? YAML is indented by blanks"),
    ("fit --config colon.yaml", "under model, write a name, a colon, a blank and the value"),
    ("audit faces", "did you mean --data.root faces?"),
    ("export best.ckpt", "did you mean --ckpt_path best.ckpt?"),
]


def solves(said: str, wanted: str) -> bool:
    """Whether the parts of ``wanted`` between any words stand in ``said`` in their order."""
    for part in wanted.split(".*"):
        _, found, said = said.partition(part)
        if not found:
            return False
    return True


@pytest.mark.parametrize(("slip", "wanted"), OF_WORDS)
def test_a_slip_of_words_has_a_message_that_solves_it(slip: str, wanted: str) -> None:
    with pytest.raises(UsageError) as error:
        check_words(slip.split())
    assert solves(str(error.value), wanted)


@pytest.mark.parametrize(("slip", "wanted"), OF_VALUES)
@pytest.mark.usefixtures("in_an_empty_folder")
def test_a_slip_of_values_has_a_message_that_solves_it(
    slip: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("key.yaml").write_text("model: {lr_clasifier: 0.1}\n")
    Path("tabs.yaml").write_text("model:\n\tlr_classifier: 0.1\n")
    Path("colon.yaml").write_text("model:\n  lr_classifier:0.1\n")
    said = fails(capsys, 2, *slip.split())
    assert solves(said, wanted)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "fit --data.root=faces --model.lr_backbone -1 --dry_run",
        "fit -c a.yaml --config b.yaml --data c.yaml --trainer {max_epochs:1} --print_config=skip_default",
        "fit --trainer.logger=CSVLogger --trainer.logger.save_dir x --trainer.callbacks+=Timer --trainer.new_one 1",
        "test --ckpt_path a b --help.trainer --trainer.callbacks.help Timer",
        "predict faces --batch_size 4",
    ],
)
def test_a_right_line_passes(line: str) -> None:
    check_words(line.split())


def test_words_of_others_stand_for_what_there_is() -> None:
    assert OTHER_COMMANDS.keys() <= COMMANDS.keys()
    assert {option.partition(" ")[0] for option in OTHER_OPTIONS} <= OPTIONS.keys()
    words = [word for others in OTHER_OPTIONS.values() for word in others.split()]
    assert len(words) == len({*words})


def test_a_slip_is_refused_before_libraries_are_imported() -> None:
    program = "import runpy, sys, atexit; atexit.register(lambda: print(*sys.modules));"
    program += "sys.argv[1:] = ['fit', '--lr', '1']; runpy.run_module('emotion_lightning', run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: there is no option --lr")
    assert not {"torch", "lightning", "jsonargparse"} & {*ended.stdout.split()}
