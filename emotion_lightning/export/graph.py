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
from emotion_lightning.export.preprocessing import preprocessing

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

    Args:
        core: What :func:`core_graph` gave, perhaps quantized.
        about: What is between a picture and an answer.
    """
    from onnx import compose, parser

    opset = next(opset.version for opset in core.opset_import if not opset.domain)
    before, classes = preprocessing(about, core.ir_version, opset), len(about.class_names)
    after = parser.parse_model(f"""<ir_version: {core.ir_version}, opset_import: ["": {opset}]>
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
