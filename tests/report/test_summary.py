import json
from pathlib import Path

from emotion_lightning.report.run import Run
from emotion_lightning.report.summary import summary


def test_a_run_is_summed_up_by_its_own_figures(reported: Path) -> None:
    lines = summary(Run(reported), "test").splitlines()
    metrics = json.loads((reported / "report/test/metrics.json").read_text())
    low, high = metrics["intervals"]["f1_macro"]
    (said,) = [line for line in lines if line.strip().startswith("test macro F1")]
    assert said.split() == ["test", "macro", "F1", f"{metrics['f1_macro']:.4f}", f"({low:.4f}", "to", f"{high:.4f})"]
    assert lines[0].split() == ["best", "epoch", str(Run(reported).best_epoch + 1), "of", "3"]
    assert len({line.index(line.split("  ")[-1]) for line in lines[:2]}) == 1  # one column below the other
