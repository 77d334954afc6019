import json
from pathlib import Path
from typing import Any

import pytest

from emotion_lightning.report.run import Run
from emotion_lightning.report.summary import summary, unfreezing_advice


def test_a_run_is_summed_up_by_its_own_figures(reported: Path) -> None:
    lines = summary(Run(reported), "test").splitlines()
    metrics = json.loads((reported / "report/test/metrics.json").read_text())
    low, high = metrics["intervals"]["f1_macro"]
    (said,) = [line for line in lines if line.strip().startswith("test macro F1")]
    assert said.split() == ["test", "macro", "F1", f"{metrics['f1_macro']:.4f}", f"({low:.4f}", "to", f"{high:.4f})"]
    assert "of 3 epochs from 0" in lines[0]
    assert len({line.index(line.split("  ")[-1]) for line in lines[:2]}) == 1  # one column below the other


@pytest.mark.parametrize(
    ("scores", "options", "advice"),
    [
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train"}, "`batch_norm=frozen`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "frozen", "lr_backbone": 1e-4}, "`lr_backbone=1e-05`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train", "lr_backbone": 1e-3}, "`lr_backbone=0.0001`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train", "lr_backbone": 2e-5}, "`lr_backbone=1e-05`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "frozen"}, "`unfreeze.schedule={0: classifier_only}`"),
        ([0.3, 0.4, 0.3, 0.35], {"batch_norm": "train", "pretrained": False}, "more epochs"),
        ([0.3, 0.4, 0.41, 0.35], {"batch_norm": "train"}, None),  # the unfreezing has paid
        ([0.3, 0.4], {"batch_norm": "train"}, None),  # it was never reached
    ],
)
def test_a_best_epoch_before_an_unfreezing_is_explained(
    tmp_path: Path, scores: list[float], options: dict[str, Any], advice: str | None
) -> None:
    run = Run(tmp_path)
    run.__dict__["history"] = {"val/f1_macro": dict(enumerate(scores))}
    model = {"pretrained": True, "lr_backbone": 1e-5} | options
    run.__dict__["config"] = {"model": model, "unfreeze": {"schedule": {"0": "classifier_only", "2": "all"}}}
    said = unfreezing_advice(run)
    assert (said is None) == (advice is None)
    if said is not None and advice is not None:
        assert "The best epoch, 1, came before the unfreezing of epoch 2" in said
        assert advice in said
