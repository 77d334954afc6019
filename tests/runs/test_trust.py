from pathlib import Path
from typing import Any, get_type_hints

import lightning.pytorch as lightning
import pytest
import torch

from emotion_lightning.errors import DataError
from emotion_lightning.runs.trust import CLASSES, MODULES, check_plain, trusted

RUN = Path("logs/mine/version_3")
LIGHTNING = "lightning.pytorch"


def spec(path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": path, "init_args": arguments}


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 3, "precision": "16-mixed", "strategy": "ddp_find_unused_parameters_true", "devices": [0, 1]},
        {"logger": spec(f"{LIGHTNING}.loggers.TensorBoardLogger", save_dir="logs", name="mine", version=None)},
        {"logger": [spec(f"{LIGHTNING}.loggers.CSVLogger", save_dir="logs", name="mine", version="version_3")]},
        {"callbacks": [spec(f"{LIGHTNING}.callbacks.LearningRateMonitor", logging_interval="epoch")]},
        {"callbacks": spec(f"{LIGHTNING}.callbacks.ModelCheckpoint", dirpath=str(RUN / "more"), monitor="val/loss")},
        {"profiler": spec(f"{LIGHTNING}.profilers.SimpleProfiler", dirpath=None, filename="profile")},
        {"profiler": "simple", "logger": False, "default_root_dir": str(RUN)},
    ],
)
def test_plain_values_and_what_writes_into_the_run_is_taken_up(options: dict[str, Any]) -> None:
    assert trusted(options, RUN) == options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"callbacks": spec("os.system", command="true")}, "`trainer.callbacks` names os.system"),
        ({"callbacks": "os.system"}, "`trainer.callbacks` names os.system"),
        ({"callbacks": [[spec("mine.Callback")]]}, "`trainer.callbacks` names mine.Callback"),
        ({"logger": spec("mine.Logger")}, "`trainer.logger` names mine.Logger"),
        ({"plugins": ["mine.Plugin"]}, "`trainer.plugins` names mine.Plugin"),
        ({"strategy": "mine.Strategy"}, "`trainer.strategy` names mine.Strategy"),
        ({"strategy": spec(f"{LIGHTNING}.strategies.DDPStrategy")}, "`trainer.strategy` names lightning.pytorch.strat"),
        ({"accelerator": "mine.Accelerator"}, "`trainer.accelerator` names mine.Accelerator"),
        ({"profiler": "mine.Profiler"}, "`trainer.profiler` names mine.Profiler"),
        (
            {"callbacks": [spec(f"{LIGHTNING}.callbacks.LambdaCallback", on_fit_start="os.system")]},
            "`trainer.callbacks` names lightning.pytorch.callbacks.LambdaCallback",
        ),
        (
            {"callbacks": spec(f"{LIGHTNING}.callbacks.Timer", duration=spec("mine.Duration"))},
            "`trainer.callbacks` names lightning.pytorch.callbacks.Timer",
        ),
        (
            {"logger": spec(f"{LIGHTNING}.loggers.CSVLogger", save_dir="elsewhere")},
            "`trainer.logger` writes to elsewhere, which is outside the run",
        ),
        (
            {"logger": spec(f"{LIGHTNING}.loggers.CSVLogger", save_dir="logs", name="mine", version="../x")},
            "`trainer.logger` writes to ../x, which is outside the run",
        ),
        (
            {"callbacks": [spec(f"{LIGHTNING}.callbacks.OnExceptionCheckpoint", dirpath="/tmp")]},
            "`trainer.callbacks` writes to /tmp, which is outside the run",
        ),
        ({"max_time": torch.ones(2)}, "`trainer.max_time` is no plain value"),
    ],
)
def test_what_would_be_imported_or_writes_elsewhere_is_named_and_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as refused:
        trusted(options, RUN)
    assert str(refused.value).startswith(said)
    [name] = [name for name in options if name in said]
    assert name not in trusted(options, RUN, given={name})  # the user's own goes before


def test_no_class_that_a_checkpoint_may_name_takes_a_function_or_a_class() -> None:
    for option, names in CLASSES.items():
        for name in names:
            kind = getattr(getattr(lightning, MODULES[option]), name)
            text = " ".join(map(str, get_type_hints(kind.__init__).values()))
            assert "Callable" not in text, name
            assert "Module" not in text, name


def test_an_option_is_of_plain_values() -> None:
    check_plain("ema", {"decay": 0.9, "names": ["a", None, {"b": True}], 3: "c"})
    for value in ({"decay": torch.ones(1)}, {"class_path": "os.system"}, [b"x"], {("a", "b"): 1}):
        with pytest.raises(DataError, match="`ema"):
            check_plain("ema", value)
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(DataError, match="no plain value"):
        check_plain("ema", deep)
