from pathlib import Path
from typing import Any

import pytest

from emotion_lightning.cli.messages import with_dashes
from emotion_lightning.report.advice import advice
from emotion_lightning.report.run import Run

RECIPE = {0: "classifier_only", 10: "layer4", 20: "layer3", 30: "layer2", 40: "all_layers"}


def run_of(history: dict[str, list[float]], **config: dict[str, Any]) -> Run:
    run = Run(Path("version_0"))
    run.__dict__["history"] = {name: dict(enumerate(values)) for name, values in history.items()}
    run.__dict__["config"] = config
    return run


def measured(images: int = 1000, interval: tuple[float, float] = (0.6, 0.62), **recalls: float) -> dict[str, Any]:
    recalls = recalls or {"happy": 0.8, "sad": 0.7}
    rows = {name: {"recall": recall, "support": images // len(recalls)} for name, recall in recalls.items()}
    return {"n": images, "per_class": rows, "intervals": {"f1_macro": interval}}


def rising(last: float, epochs: int) -> dict[str, list[float]]:
    return {"val/f1_macro": [last * epoch / (epochs - 1) for epoch in range(epochs)], "train/loss": [1.0] * epochs}


@pytest.mark.parametrize(
    ("scores", "options", "remedy"),
    [
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train"}, "`model.batch_norm=frozen`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "frozen", "lr_backbone": 1e-4}, "`model.lr_backbone=1e-05`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train", "lr_backbone": 1e-3}, "`model.lr_backbone=0.0001`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train", "lr_backbone": 2e-5}, "`model.lr_backbone=1e-05`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "frozen"}, "`unfreeze.schedule={0: classifier_only}`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train", "pretrained": False}, "more epochs"),
        ([0.3, 0.4, 0.41, 0.35], {"batch_norm": "train"}, None),  # the unfreezing has paid
        ([0.3, 0.4, 0.35], {"batch_norm": "train"}, None),  # it is too new to judge
        ([0.3, 0.4], {"batch_norm": "train"}, None),  # it was never reached
    ],
)
def test_a_best_epoch_before_an_unfreezing_is_explained(
    scores: list[float], options: dict[str, Any], remedy: str | None
) -> None:
    model = {"pretrained": True, "lr_backbone": 1e-5} | options
    run = run_of({"val/f1_macro": scores}, model=model, unfreeze={"schedule": {"0": "classifier_only", "2": "all"}})
    said, chance = (
        [text for text in advice(run, {"intervals": {"f1_macro": interval}}) if "came before" in text]
        for interval in ([0.36, 0.44], [0.34, 0.46])
    )
    assert chance == []
    assert len(said) == (remedy is not None)
    if remedy is not None:
        assert "The best epoch, 2, came before the unfreezing of epoch 3: macro F1 was 0.400, and 0.350" in said[0]
        assert remedy in said[0]


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        (3, "layer4, layer3, layer2, layer1, stem never trained"),
        (20, "layer3, layer2, layer1, stem never trained, as `unfreeze.schedule` begins with layer3 in epoch 21"),
        (40, "layer1, stem never trained, as `unfreeze.schedule` begins with layer1 in epoch 41 and the run had 40."),
        (41, None),
    ],
)
def test_stages_that_never_trained_are_named_with_a_schedule_that_fits(epochs: int, said: str | None) -> None:
    run = run_of({"train/loss": [1.0] * epochs}, trainer={"max_epochs": epochs}, unfreeze={"schedule": RECIPE})
    found = advice(run, {})
    assert len(found) == (said is not None)
    if said is not None:
        assert found[0].startswith(said)
    fits = {20: "{0: classifier, 2: layer4, 5: layer3, 7: layer2, 10: stem}", 3: "{0: classifier, 1: stem}"}
    if epochs in fits:
        assert f"--unfreeze.schedule '{fits[epochs]}'" in with_dashes(found[0])


@pytest.mark.parametrize(
    ("train", "val", "images", "data", "heard"),
    [
        ([0.5, 0.8, 0.97, 0.98], [0.5, 0.6, 0.63, 0.62], 1000, {}, True),
        ([0.5, 0.8, 0.97, 0.98], [0.5, 0.6, 0.63, 0.62], 4, {}, False),  # of 4 images, as many right may be 0.95 of all
        ([0.5, 0.8, 0.97, 0.98], [0.5, 0.6, 0.63, 0.62], 1000, {"balance": "sampler"}, False),
        ([0.4, 0.5, 0.60, 0.72], [0.5, 0.6, 0.63, 0.62], 1000, {}, False),  # some distance is usual
        ([*[0.4] * 6, 0.6, 0.97], [*[0.4] * 7, 0.5], 1000, {}, False),  # averaged weights follow later
    ],
)
def test_training_far_above_validation_is_said_with_both(
    train: list[float], val: list[float], images: int, data: dict[str, str], heard: bool
) -> None:
    history = {"train/accuracy_dominant": train, "val/accuracy": val, "train/loss": train}
    run = run_of(history, data=data, model={"mix_prob": 0.2, "dropout_rate": 0.5})
    found = advice(run, measured(images))
    assert len(found) == heard
    if heard:
        assert "right on 98% of its images, augmented as they are, and validation on 63% at best" in found[0]
        assert "Try `model.mix_prob=0.8`." in found[0]


@pytest.mark.parametrize(
    ("recalls", "images", "balance", "said"),
    [
        ({"happy": 0.8, "disgust": 0.0}, 100, "none", "None of the 50 images of disgust is recognized: the report"),
        ({"happy": 0.8, "disgust": 0.0}, 4, "none", None),  # two images, of which guessing misses both as often
        ({"happy": 0.8, "disgust": 0.1}, 100, "none", None),
    ],
)
def test_a_class_of_which_nothing_is_recognized_is_named(
    recalls: dict[str, float], images: int, balance: str, said: str | None
) -> None:
    found = advice(run_of({}, data={"balance": balance}), measured(images, **recalls))
    assert [each[: len(said or "")] for each in found] == ([] if said is None else [said])


@pytest.mark.parametrize(("balance", "remedy"), [("none", "`data.balance=sampler`"), ("sampler", "the report shows")])
def test_a_rare_class_that_is_never_recognized_can_be_drawn_more_often(balance: str, remedy: str) -> None:
    metrics = measured(900, happy=0.8, sad=0.7)
    metrics["per_class"]["disgust"] = {"recall": 0.0, "support": 56}
    (said,) = advice(run_of({}, data={"balance": balance}), metrics)
    assert remedy in said


@pytest.mark.parametrize(
    ("rate", "since_best", "heard"), [(4e-4, 3, True), (4e-4, 1, False), (4e-5, 3, False)], ids=str
)
def test_early_stopping_at_a_high_rate_is_said(rate: float, since_best: int, heard: bool) -> None:
    scores = [0.1, 0.2, 0.3, 0.2, 0.2, 0.2][: 3 + since_best]
    epochs = len(scores)
    history = {"val/f1_macro": scores, "train/loss": scores, "lr/classifier": [1e-3] * (epochs - 1) + [rate]}
    options: dict[str, Any] = {"trainer": {"max_epochs": 80}, "early_stopping": {"patience": 3}}
    found = advice(run_of(history, model={"lr_classifier": 1e-3}, **options), measured())
    assert len(found) == heard
    if heard:
        assert found[0].startswith("The run was stopped after 6 of 80 epochs at 40% of the peak learning rate")
        assert "--trainer.max_epochs 6." in with_dashes(found[0])


@pytest.mark.parametrize(
    ("last", "interval", "heard"),
    [(0.6, (0.58, 0.62), True), (0.6, (0.3, 0.9), False), (0.01, (0.58, 0.62), False)],
)
def test_a_score_that_still_rises_asks_for_more_epochs(last: float, interval: tuple[float, float], heard: bool) -> None:
    found = advice(run_of(rising(last, 10), trainer={"max_epochs": 10}), measured(1000, interval))
    assert len(found) == heard
    if heard:
        assert "is the last, 10: macro F1 rose from 0.467 to 0.600 in the last 2 epochs" in found[0]


def test_at_most_three_pieces_of_advice_are_given_and_none_of_a_run_without_figures() -> None:
    history = {"train/loss": [1.0] * 8, "val/f1_macro": [0.3, 0.4, *[0.2] * 6]}
    history |= {"train/accuracy_dominant": [0.99] * 8, "val/accuracy": [0.3] * 8}
    schedule = {0: "classifier", 4: "layer4", 9: "all"}
    run = run_of(history, trainer={"max_epochs": 8}, unfreeze={"schedule": schedule})
    assert len(advice(run, measured(1000, happy=0.5, sad=0.0))) == 3
    assert advice(run_of({}), {}) == []
