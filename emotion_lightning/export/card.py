"""The model card: what was measured of the model, on which data, and what it must not be used for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emotion_lightning.errors import DataError
from emotion_lightning.evaluation.metrics import OVERALL
from emotion_lightning.export.about import About
from emotion_lightning.report.run import Run
from emotion_lightning.runs.files import write_page
from emotion_lightning.runs.folder import CHECKPOINTS

CARD = "README.md"
TITLES = {"test": "Test", "val": "Validation", "train": "Training"}
DRAWN = "built-in drawn faces"
TASK = "image-classification"
MARKUP = re.compile(r"[^\w\s.,:;()/%'+-]|[_\n\r]")
"""What Markdown or HTML may take for more than text; a line break would end a row of a table."""


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, as far as its run's folder tells.

    Attributes:
        data: Name of the data it was trained on.
        weights: What identifies the weights, as metrics.json has it.
        audit: What was found wrong with the data; None without an audit.
        metrics: Metrics of each split that was measured.
        missing: Why there are no metrics; empty if there are.
    """

    data: str
    weights: str
    audit: dict[str, Any] | None
    metrics: dict[str, dict[str, Any]]
    missing: str = ""

    @classmethod
    def of(cls, ckpt_path: Path, checkpoint: Mapping[str, Any], weights: str) -> "Origin":
        """Read the folder of the run that a checkpoint lies in.

        Args:
            ckpt_path: The checkpoint's file.
            checkpoint: What ``load_checkpoint`` gave.
            weights: What identifies its weights.
        """
        folder = ckpt_path.resolve().parent
        run = Run(folder.parent if folder.name == CHECKPOINTS else folder)
        state = checkpoint.get("EmotionDataModule", {"root": "unknown data"})
        data = DRAWN if state["root"] is None else Path(state["root"]).name
        try:
            metrics, missing = {split: found.metrics for split, found in run.results.items()}, ""
        except DataError:
            metrics, missing = {}, "Nothing was measured of it in the folder that it was exported from."
        return cls(data, weights, run.audit, metrics, missing)


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
    template = made.get_template("card.md")
    body = template.render(about=about, origin=origin, titles=TITLES, drawn=DRAWN, overall=OVERALL, **facts)
    card = ModelCard(f"---\n{_metadata(about, origin, facts['title']).to_yaml()}\n---\n\n{body}")
    write_page(folder / CARD, f"{card}\n")


def _metadata(about: About, origin: Origin, title: str) -> ModelCardData:
    return ModelCardData(
        license=about.license,
        pipeline_tag=TASK,
        tags=["facial-expression-recognition", "emotion-recognition", "onnx", about.backbone],
        model_name=title,
        eval_results=[
            EvalResult(
                task_type=TASK,
                dataset_type="custom",
                dataset_name=origin.data,
                dataset_split=split,
                metric_type=kind,
                metric_value=metrics[name],
                metric_name=OVERALL[name],
            )
            for split, metrics in origin.metrics.items()
            if metrics.get("weights") == origin.weights
            for name, kind in (("accuracy", "accuracy"), ("f1_macro", "f1"))
            if metrics[name] is not None
        ],
    )


def _text(value: Any) -> Any:
    """Write what a template shows so that it is shown as it is; what the template's filters made is left alone."""
    return value if isinstance(value, Markup) else MARKUP.sub(lambda found: f"&#{ord(found[0])};", str(value))


def _number(value: float | None, digits: int = 3) -> Markup:
    return Markup("-" if value is None else f"{value:,.{digits}f}")
