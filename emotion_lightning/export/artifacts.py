"""The files of an export that hold the network, and those that say how to call it."""

import copy
import io
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from timm.models import save_for_hf
from torch import nn

from emotion_lightning.export.about import About
from emotion_lightning.export.answers import whole_answer
from emotion_lightning.export.graph import core_graph, whole_graph, write_graph
from emotion_lightning.export.network import Core, PixelClassifier, exported
from emotion_lightning.export.pictures import Pictures
from emotion_lightning.export.quantization import CALIBRATED, MEASURED, Quantized, measure, write_quantized
from emotion_lightning.model.network import EmotionNetwork
from emotion_lightning.runs.files import write_json

MODEL, CORE, PROGRAM, SMALL = "model.onnx", "core.onnx", "model.pt2", "model.int8.onnx"
WEIGHTS, LABELS, PROCESSOR, EXAMPLE = "model.safetensors", "labels.json", "preprocessor_config.json", "example.py"
TIMM = "timm"


def write_networks(temporary: Path, model: EmotionNetwork, about: About) -> None:
    """Write the network in every form.

    Raises:
        UsageError: It cannot be exported.
    """
    square = (2, 3, about.side, about.side)
    core = core_graph(exported(Core(model), torch.zeros(square)))
    write_graph(core, temporary / CORE, about.metadata())
    write_graph(whole_graph(core, about), temporary / MODEL, about.metadata())
    program = exported(PixelClassifier(model, about), torch.zeros(square, dtype=torch.uint8))
    held = io.BytesIO()  # a disk that fills while torch writes a file would end the process
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found")  # weights that are views, as those saved are
        torch.export.save(program, held, extra_files={"about.json": json.dumps(about.metadata())})
    (temporary / PROGRAM).write_bytes(held.getbuffer())
    weights = {name: value.contiguous() for name, value in Core(model).state_dict().items()}
    (temporary / WEIGHTS).write_bytes(save(weights, about.metadata() | {"format": "pt"}))
    write_json(temporary / LABELS, about.class_names)
    write_json(temporary / PROCESSOR, about.image_processor())
    shutil.copyfile(Path(__file__).with_name(EXAMPLE), temporary / EXAMPLE)


def write_timm(temporary: Path, model: EmotionNetwork, about: About) -> bool:
    """Write a folder from which timm builds the network by itself; say whether it can.

    It can with a linear head, where timm has the same after the same features.
    """
    if model.hparams["head"] != "linear":
        return False
    whole: Any = copy.deepcopy(model.backbone.body).to(memory_format=torch.contiguous_format)
    whole.reset_classifier(len(about.class_names))
    head, ours = whole.get_classifier(), model.classifier.state_dict()
    if not isinstance(head, nn.Linear) or {name: value.shape for name, value in head.state_dict().items()} != {
        name: value.shape for name, value in ours.items()
    }:
        warnings.warn(f"timm's {about.backbone} ends otherwise than by a linear layer: without {TIMM}/", stacklevel=2)
        return False
    head.load_state_dict(ours)
    save_for_hf(whole, str(temporary), about.timm_config(), safe_serialization=True)
    return True


def write_small(temporary: Path, about: About, pictures: Pictures) -> Quantized:
    """Write the network of 8-bit numbers, and measure what it costs."""
    import onnx

    small = temporary / "core.int8.onnx"
    calibration = (picture for picture, _ in pictures.take("train", CALIBRATED))
    write_quantized(temporary / CORE, small, about, calibration)
    write_graph(whole_graph(onnx.load(small), about), temporary / SMALL, about.metadata())
    small.unlink()
    before, after = (whole_answer(temporary / name) for name in (MODEL, SMALL))
    sizes = {"bytes": (temporary / SMALL).stat().st_size, "bytes_before": (temporary / MODEL).stat().st_size}
    return Quantized(**sizes, **measure(before, after, pictures.take("val", MEASURED)))
