import json
from pathlib import Path

from emotion_lightning.report.results import FACES

CHARTS = ("confusion", "confusion_normalized", "classes", "roc", "precision_recall", "reliability")


def test_faces_are_those_of_the_predictions(reported: Path) -> None:
    faces = json.loads((reported / "report/test" / FACES).read_text())
    galleries = {face["gallery"].split()[0] for face in faces}
    assert galleries >= {"losses", "gradcam"}
    classes = list(json.loads((reported / "report/test/metrics.json").read_text())["per_class"])
    for face in faces:
        assert face["filepath"].split("/")[:2] == ["test", classes[face["label"]]]
        assert (face["heat"] is not None) == face["gallery"].startswith("gradcam")
    mistakes = [face for face in faces if face["gallery"] == "mistakes"]
    assert all(face["label"] != face["predicted"] for face in mistakes)
    assert mistakes == sorted(mistakes, key=lambda face: -face["probability"])
