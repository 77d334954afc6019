"""The model card: what was measured of the model, on which data, and what it must not be used for."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emotion_lightning.evaluation.metrics import OVERALL
from emotion_lightning.export.about import About
from emotion_lightning.report.conditions import gap_said
from emotion_lightning.report.results import FOLDER, read_results
from emotion_lightning.report.run import SPLITS, Run
from emotion_lightning.runs.files import write_page
from emotion_lightning.runs.folder import CHECKPOINTS

CARD = "README.md"
TITLES = {"test": "Test", "val": "Validation", "train": "Training"}
DRAWN = "built-in drawn faces"
TASK = "image-classification"
MARKUP = re.compile(r"[^\w\s.,:;()/%'+-]|[_\n\r]")
"""What Markdown or HTML may take for more than text; a line break would end a row of a table."""

BEFORE: dict[str, Any] = {
    "weights": None,
    "notes": [],
    "selective": {"threshold": None},
    "groups": {},
    "subjects": None,
}
"""What metrics.json of version 0.1 does not have."""


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, as far as its run's folder tells.

    Attributes:
        data: Name of the data it was trained on.
        audit: What was found wrong with the data; None without an audit.
        metrics: Metrics of each split that was measured.
        others: For each split, what its figures are of in place of what is exported; empty if they are of it.
        missing: Why there are no metrics; empty if there are.
    """

    data: str
    audit: dict[str, Any] | None
    metrics: dict[str, dict[str, Any]]
    others: dict[str, list[str]]
    missing: str

    @classmethod
    def of(cls, ckpt_path: Path, checkpoint: Mapping[str, Any], about: About, weights: str) -> "Origin":
        """Read the folder of the run that a checkpoint lies in.

        Args:
            ckpt_path: The checkpoint's file.
            checkpoint: What ``load_checkpoint`` gave.
            about: What is between a picture and an answer.
            weights: What identifies its weights, as metrics.json has it.

        Raises:
            DataError: A file in it is damaged.
        """
        folder = ckpt_path.resolve().parent
        run = Run(folder.parent if folder.name == CHECKPOINTS else folder)
        state = checkpoint.get("EmotionDataModule", {"root": "unknown data"})
        data = DRAWN if state["root"] is None else Path(state["root"]).name
        results = [found for split in SPLITS if (found := read_results(run.folder / FOLDER / split))]
        metrics = {found.metrics["split"]: {**BEFORE, "of": found.metrics["n"], **found.metrics} for found in results}
        others = {split: _others(found, about, weights) for split, found in metrics.items()}
        missing = "" if metrics else "Nothing was measured of it in the folder that it was exported from."
        return cls(data, run.audit, metrics, others, missing)


def _others(metrics: Mapping[str, Any], about: About, weights: str) -> list[str]:
    """What these figures are of in place of what is exported, in words."""
    threshold = metrics["selective"]["threshold"]
    exported = None if about.threshold is None else about.threshold["probability"]
    temperature = metrics["calibration"]["temperature"]
    found = {
        "other weights, those of another checkpoint of the same run": metrics["weights"] != weights,
        f"answers with test-time augmentation {metrics['tta']}, not {about.tta}": metrics["tta"] != about.tta,
        f"a temperature of {temperature}, not {about.temperature}": temperature != about.temperature,
        f"{_at(threshold)}, not {_at(exported)}": threshold != exported,
    }
    return [words for words, differs in found.items() if differs]


def _at(threshold: float | None) -> str:
    return "no threshold" if threshold is None else f"a threshold of {threshold:.4f}"


def write_card(folder: Path, about: About, origin: Origin, **facts: Any) -> None:
    """Write README.md, a model card as the Hugging Face hub reads it.

    Args:
        folder: The export.
        about: What is between a picture and an answer.
        origin: Where the model comes from.
        facts: What else the template shows.
    """
    made = Environment(loader=PackageLoader(__package__, "."), undefined=StrictUndefined, finalize=_text)
    made.trim_blocks = made.lstrip_blocks = True
    made.filters["number"] = _number
    made.globals.update(titles=TITLES, drawn=DRAWN, overall=OVERALL, gap_said=gap_said)
    template = made.get_template("card.md")
    body = template.render(about=about, origin=origin, **facts)
    card = ModelCard(f"---\n{_metadata(about, origin, facts['title']).to_yaml()}\n---\n\n{body}")
    write_page(folder / CARD, f"{card}\n")


def _metadata(about: About, origin: Origin, title: str) -> ModelCardData:
    return ModelCardData(
        license=about.license,
        pipeline_tag=TASK,
        tags=["facial-expression-recognition", "emotion-recognition", "onnx", about.backbone],
        model_name=title,
        eval_results=list(_eval_results(origin)),
    )


def _eval_results(origin: Origin) -> Iterator[EvalResult]:
    """Accuracy and F1 on the whole test split, without copies, of what is exported: the other splits have chosen it."""
    metrics, name = origin.metrics.get("test"), origin.data
    if metrics is None or origin.others["test"] or metrics["n"] < metrics["of"]:
        return
    if metrics["leaked"]:
        metrics, name = metrics["leak_free"] or {}, f"{name}, images without a copy among those seen in training"
    for kind, key in (("accuracy", "accuracy"), ("f1", "f1_macro")):
        if metrics.get(key) is not None:
            yield EvalResult(
                task_type=TASK,
                dataset_type="custom",
                dataset_name=name,
                dataset_split="test",
                metric_type=kind,
                metric_value=metrics[key],
                metric_name=OVERALL[key],
            )


def _text(value: Any) -> Any:
    """Write what a template shows so that it is shown as it is; what the template's filters made is left alone."""
    return value if isinstance(value, Markup) else MARKUP.sub(lambda found: f"&#{ord(found[0])};", str(value))


def _number(value: float | None, digits: int = 3) -> Markup:
    return Markup("-" if value is None else f"{value:,.{digits}f}")
