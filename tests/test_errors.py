import pytest

from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.errors import DataError, EmotionError, UsageError, check_choice
from emotion_lightning.model.module import EmotionClassifier


def test_a_wrong_parameter_is_a_value_error_and_wrong_data_is_not() -> None:
    assert issubclass(UsageError, ValueError)
    assert not issubclass(DataError, ValueError)
    assert (EmotionError.exit_status, DataError.exit_status, UsageError.exit_status) == (1, 1, 2)


def test_a_choice_is_checked() -> None:
    check_choice("leaks", "drop", ("report", "drop"))
    with pytest.raises(UsageError, match="`leaks` 'dorp' is none of report, drop"):
        check_choice("leaks", "dorp", ("report", "drop"))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("leaks", "dorp"),
        ("conflicts", "dorp"),
        ("unreadable", "x"),
        ("balance", "sampeler"),
        ("test_split", "tset"),
        ("layout", "teer"),
    ],
)
def test_a_wrong_choice_from_python_is_refused_as_on_the_command_line(parameter: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"`{parameter}` '{value}' is none of"):
        EmotionDataModule(**{parameter: value})  # type: ignore[arg-type]


def test_a_wrong_choice_of_views_is_refused() -> None:
    with pytest.raises(UsageError, match="`tta` 'filp' is none of none, flip, tencrop"):
        EmotionClassifier(["a", "b"], backbone="test_resnet", pretrained=False, tta="filp")  # type: ignore[arg-type]
