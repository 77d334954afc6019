"""ONNX: the core as torch exports it, and the whole path from a picture to probabilities around it."""

import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.export import ExportedProgram

from emotion_lightning.errors import UsageError
from emotion_lightning.export.about import About

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

LARGEST = 2**31 - 1
"""Bytes of the largest ONNX file, which protobuf limits."""


def core_graph(program: ExportedProgram) -> "ModelProto":
    """Normalized ``images`` float ``(batch, 3, side, side)`` to ``logits`` ``(batch, classes)``.

    Raises:
        UsageError: ONNX has no operator for something that the network does, or it is larger than ONNX files may be.
    """
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecations within torch
            found = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
            )
        assert found is not None  # there is a program
        graph: ModelProto = found.model_proto
    except torch.onnx.errors.OnnxExporterError as error:
        operator = re.search(r"target=([\w.]+)", str(error))
        lacking = operator[1] if operator else str(error).splitlines()[0]
        raise UsageError(f"ONNX has no operator for this network's {lacking}; choose another `backbone`") from error
    finally:
        log.setLevel(level)
    if graph.ByteSize() > LARGEST:
        raise UsageError(f"the network has {graph.ByteSize() / 1e9:.1f} GB, and an ONNX file at most 2.1 GB")
    _tidy(graph.graph)
    return graph


def whole_graph(core: "ModelProto", about: About) -> "ModelProto":
    """``pictures`` uint8 ``(batch, height, width, channels)`` of any size to ``probabilities`` ``(batch, classes)``.

    Resizing follows Pillow's: uint8 between the two directions, antialiased, and at the borders the weights of what
    lies within the picture alone (``exclude_outside``), without which border pixels differ by up to 20 gray levels.

    Args:
        core: What :func:`core_graph` gave, perhaps quantized.
        about: What is between a picture and an answer.
    """
    from onnx import compose, parser

    opset = next(opset.version for opset in core.opset_import if not opset.domain)
    side, classes = about.side, len(about.class_names)
    mean, std = (", ".join(f"{value:.9g}" for value in values) for values in about.normalization)
    head = f'<ir_version: {core.ir_version}, opset_import: ["": {opset}]>'
    before = parser.parse_model(f"""{head}
        before (uint8[batch, height, width, channels] pictures) => (float[batch, 3, {side}, {side}] normalized)
        <int64[2] side = {{{side}, {side}}}, int64[4] rgb = {{1, 1, 1, 3}}, float white = {{255.0}},
         float[1, 3, 1, 1] mean = {{{mean}}}, float[1, 3, 1, 1] std = {{{std}}}> {{
            square = Resize <mode = "linear", antialias = 1, exclude_outside = 1, axes = [1, 2]> (pictures, , , side)
            colors = Expand (square, rgb)
            planes = Transpose <perm = [0, 3, 1, 2]> (colors)
            levels = Cast <to = 1> (planes)
            shares = Div (levels, white)
            centered = Sub (shares, mean)
            normalized = Div (centered, std)
        }}""")
    after = parser.parse_model(f"""{head}
        after (float[batch, {classes}] logits) => (float[batch, {classes}] probabilities)
        <float temperature = {{{about.temperature!r}}}> {{
            calibrated = Div (logits, temperature)
            probabilities = Softmax <axis = 1> (calibrated)
        }}""")
    core = compose.add_prefix(core, "core/")
    whole = compose.merge_models(before, core, [("normalized", "core/images")], producer_name=core.producer_name)
    whole = compose.merge_models(whole, after, [("core/logits", "logits")], producer_name=core.producer_name)
    del whole.opset_import[:]  # each merge has listed them anew
    whole.opset_import.extend(core.opset_import)
    return whole


def _tidy(graph: "GraphProto") -> None:
    """Call the number of images by its name, and leave out where in this machine's files each node comes from."""
    number = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == number:
                dim.dim_param = "batch"
    for node in graph.node:
        del node.metadata_props[:]


def write_graph(graph: "ModelProto", file: Path, metadata: Mapping[str, str]) -> None:
    """Write an ONNX file with ``metadata`` that engines can read."""
    import onnx

    onnx.helper.set_model_props(graph, dict(metadata))
    onnx.save(graph, file)
