from typing import Literal

import pytest

from emotion_lightning.cli import main
from emotion_lightning.cli.help import in_words, is_shown, shipped
from emotion_lightning.options import OPTIONS


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (float, "a number"),
        (int | None, "a whole number"),
        (int | float, "a number"),
        (bool, "true or false"),
        (Literal["a", "b"], "one of a, b"),
        (int | Literal["auto"], "a whole number or auto"),
        (list[str] | None, "a list such as [a, b]"),
        (dict[int, str], "a mapping such as {0: a, 5: b}"),
        (dict[str, list[str]], "a mapping such as {a: [b, c]}"),
    ],
)
def test_types_are_said_in_words(kind: object, words: str) -> None:
    assert in_words(kind) == words


def test_help_of_fit_begins_with_our_own_options_and_names_few_of_the_trainer() -> None:
    text = shipped(["fit", "--help"])
    assert text is not None
    assert text.index("--seed_everything") < text.index("--data.root") < text.index("--trainer.max_epochs")
    assert "--trainer.profiler" not in text
    assert not any(word in text for word in ("Union[", "Optional[", "Literal[", "(type:", "null"))
    assert max(map(len, text.splitlines())) <= 88
    assert shipped(["--help", "fit"]) == shipped(["help", "fit"]) == text


@pytest.mark.parametrize("command", ["validate", "test"])
def test_what_measures_shows_no_option_of_training(command: str) -> None:
    hidden = ("model.lr_backbone", "unfreeze.schedule", "ema.decay", "checkpoint.every_n_epochs", "data.batch_size")
    assert not any(is_shown(command, name) for name in (*hidden, "data.balance", "trainer.max_epochs"))
    assert all(is_shown(command, name) for name in ("ckpt_path", "data.root", "model.tta", "data.merge_classes"))
    assert is_shown(command, "predict.precision") == (command == "validate")
    assert all(is_shown("fit", name) for name in OPTIONS if not name.startswith(("trainer.", "weights_only")))


def test_the_trainers_options_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--help.trainer"])
    assert not ended.value.code
    text = capsys.readouterr().out
    assert "--trainer.profiler" in text
    assert "--data.root" not in text
