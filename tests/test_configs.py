from collections.abc import Callable
from inspect import signature
from pathlib import Path

import pytest
import yaml

from emotion_lightning.callbacks import EMA, EarlyStopping, RunCheckpoint, TensorBoardImages, default_callbacks
from emotion_lightning.callbacks.ema import ema_decay
from emotion_lightning.cli import main
from emotion_lightning.model.head import EnhancedClassifier
from emotion_lightning.model.mix import MixUpCutMix
from emotion_lightning.model.module import EmotionClassifier

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
SMALL = [
    *("--model.backbone", "test_resnet", "--model.pretrained", "false"),
    *("--data.image_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
]


def resolved(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit):
        main(["fit", *args, "--print_config"])
    config: dict[str, dict[str, object]] = yaml.safe_load(capsys.readouterr().out)
    return config


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_runs(config: Path, faces: Path) -> None:
    main(["fit", "--config", str(config), *SMALL, "--data.root", str(faces), "--trainer.fast_dev_run", "true"])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_config_starts_with_its_command_time_and_score(config: Path) -> None:
    header = config.read_text().split("\nmodel:")[0].split("\ndata:")[0]
    for wanted in (f"fit --config configs/{config.name}", "# Time:", "# Score:"):
        assert wanted in header
    assert "TODO" not in header


def test_the_recipe_is_what_a_user_gets_who_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    (recipe,) = (path for path in CONFIGS if path.name == "recipe.yaml")
    assert resolved(capsys, "--config", str(recipe)) == resolved(capsys)


@pytest.mark.parametrize(
    ("option", "name", "other", "other_name"),
    [
        (EmotionClassifier, "dropout_rate", EnhancedClassifier, "dropout_rate"),
        (EmotionClassifier, "hidden_features", EnhancedClassifier, "hidden_features"),
        (EmotionClassifier, "mixup_alpha", MixUpCutMix, "mixup_alpha"),
        (EmotionClassifier, "cutmix_alpha", MixUpCutMix, "cutmix_alpha"),
        (EmotionClassifier, "mix_prob", MixUpCutMix, "prob"),
        (EMA, "decay", default_callbacks, "ema_decay"),
        (EarlyStopping, "patience", default_callbacks, "patience"),
        (RunCheckpoint, "every_n_epochs", default_callbacks, "every_n_epochs"),
        (TensorBoardImages, "every_n_epochs", default_callbacks, "every_n_epochs"),
    ],
)
def test_a_default_from_python_is_that_of_the_option(
    option: Callable[..., object], name: str, other: Callable[..., object], other_name: str
) -> None:
    assert signature(option).parameters[name].default == signature(other).parameters[other_name].default


@pytest.mark.parametrize("config", [path for path in CONFIGS if path.name != "recipe.yaml"], ids=lambda path: path.name)
def test_other_configs_hold_differences_only(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    defaults = resolved(capsys)
    for group, options in yaml.safe_load(config.read_text()).items():
        for name, value in options.items():
            assert defaults[group][name] != value, f"{group}.{name} repeats the default"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_nothing_in_a_config_comes_after_the_run_has_ended(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = resolved(capsys, "--config", str(config))
    epochs = options["trainer"]["max_epochs"]
    assert isinstance(epochs, int)
    schedule = options["unfreeze"]["schedule"]
    assert isinstance(schedule, dict)
    assert all(int(epoch) < epochs for epoch in schedule)
    patience = options["early_stopping"]["patience"]
    assert isinstance(patience, int)
    assert max(int(epoch) for epoch in schedule) + patience < epochs


@pytest.mark.parametrize(("config", "steps"), [("demo.yaml", 9 * 94), ("fer2013.yaml", 6 * 449)])
def test_a_decay_is_given_only_where_a_run_is_long_enough_for_it_to_act(config: str, steps: int) -> None:
    [path] = [path for path in CONFIGS if path.name == config]
    given = yaml.safe_load(path.read_text()).get("ema", {}).get("decay")
    assert given is None or ema_decay(steps - 1, given) != ema_decay(steps - 1, 0.9999)
