"""The folder that an export is: written beside its place, verified, and only then put there."""

import importlib.metadata
import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tqdm import tqdm

from emotion_lightning.errors import DataError, UsageError, check_choice
from emotion_lightning.export import answers, verification
from emotion_lightning.export.about import About
from emotion_lightning.export.artifacts import CORE, MODEL, PROGRAM, TIMM, write_networks, write_small, write_timm
from emotion_lightning.export.card import Origin, write_card
from emotion_lightning.export.pictures import Pictures, pictures_of_run
from emotion_lightning.export.preprocessing import SMALL
from emotion_lightning.export.quantization import Quantized
from emotion_lightning.export.verification import Agreement
from emotion_lightning.inference.predictor import Predictor, load
from emotion_lightning.runs.config import load_checkpoint
from emotion_lightning.runs.files import new_folder, write_json
from emotion_lightning.runs.provenance import versions, weights_hash

NEEDED = ("onnx", "onnxscript", "onnxruntime")
"""Packages of the extra that exporting needs."""

VERIFICATION = "verification.json"

Quantize = Literal["none", "int8"]


@dataclass(frozen=True)
class Export:
    """What was exported, and how far it can be trusted.

    Attributes:
        folder: Where it is.
        pictures: What it was verified on, in words.
        agreements: How each file agrees with the checkpoint.
        quantized: What the network of 8-bit numbers costs; None if there is none.
    """

    folder: Path
    pictures: str
    agreements: list[Agreement]
    quantized: Quantized | None

    def plain(self) -> dict[str, Any]:
        """What verification.json holds."""
        return {
            "pictures": self.pictures,
            "agreements": [asdict(agreement) for agreement in self.agreements],
            "int8": None if self.quantized is None else asdict(self.quantized),
            "versions": versions() | {name: importlib.metadata.version(name) for name in NEEDED},
        }


def export(
    ckpt_path: str | Path,
    output: str | Path,
    license: str | None = None,
    quantize: Quantize = "none",
    root: str | None = None,
    splits_file: str | None = None,
) -> Export:
    """Write a folder from which other programs can use a trained model, and verify that each of its files agrees.

    Args:
        ckpt_path: Checkpoint of a run.
        output: Folder to make.
        license: License of the weights, as the model card and the ONNX files state it, such as cc-by-nc-4.0.
        quantize: int8 adds a network of 8-bit numbers, calibrated on training images.
        root: Where the run's data is now; by default where it was.
        splits_file: As ``EmotionDataModule`` takes it.

    Raises:
        DataError: The checkpoint or the data cannot be used, the folder cannot be written, or a file does not answer as
            the checkpoint does; nothing is left.
        UsageError: A package is missing, the folder exists, or the network cannot be exported.
    """
    check_choice("quantize", quantize, get_args(Quantize))
    _check_packages()
    path, target = str(ckpt_path), Path(output)
    checkpoint = load_checkpoint(path)
    with new_folder(target) as temporary:
        pictures = pictures_of_run(checkpoint, path, root, splits_file)
        if quantize == "int8" and not pictures.own:
            raise DataError(f"int8 is calibrated and measured on the run's own images, and here are {pictures.data}")
        predictor = load(path, "cpu")
        about, model = About.of(predictor, license), predictor.model.requires_grad_(False)
        origin = Origin.of(Path(path), checkpoint, about, weights_hash(model))
        write_networks(temporary, model, about)
        with_timm = write_timm(temporary / TIMM, model, about)
        agreements = _verify(temporary, predictor, about, pictures)
        verification.refuse_disagreement(agreements)
        quantized = write_small(temporary, about, pictures) if quantize == "int8" else None
        done = Export(target, pictures.data, agreements, quantized)
        write_json(temporary / VERIFICATION, done.plain())
        write_card(
            *(temporary, about, origin),
            title=f"Facial expressions: {about.backbone} on {origin.data}",
            version=versions()["emotion_lightning"] or "from a checkout",
            parameters=sum(weight.numel() for weight in model.parameters()) / 1e6,
            pretrained=_pretrained(checkpoint["hyper_parameters"]["pretrained"]),
            timm=with_timm,
            small=quantized,
            images=agreements[0].images,
            pictures=pictures.data,
            agreements=agreements,
        )
    return done


def _check_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"export needs {', '.join(missing)}: pip install 'emotion_lightning[export]'")


def _verify(temporary: Path, predictor: Predictor, about: About, pictures: Pictures) -> list[Agreement]:
    artifacts = {
        MODEL: (answers.whole_answer(temporary / MODEL), verification.WHOLE),
        CORE: (answers.core_answer(temporary / CORE, about), verification.CORE),
        PROGRAM: (answers.program_answer(temporary / PROGRAM, about.side), verification.CORE),
    }
    if (temporary / TIMM).is_dir():
        artifacts[TIMM] = (answers.timm_answer(temporary / TIMM, about), verification.CORE)
    taken = (picture for picture, _ in pictures.take("val", verification.IMAGES))
    both_ways = verification.varied(taken, SMALL * about.side**2)  # in which a picture is resized in the graph
    shown = tqdm(both_ways, "Verifying", verification.IMAGES, unit=" pictures", leave=False, disable=None)
    return verification.verify(answers.checkpoint_answer(predictor), artifacts, shown)


def _pretrained(choice: bool | str) -> str:
    """Name pretrained weights without the folder that they lay in."""
    if isinstance(choice, str):
        return Path(choice).name
    return "those of timm" if choice else "none, as the run says"
