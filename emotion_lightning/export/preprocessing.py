"""Resizing and normalization as ONNX, so that a picture becomes the same pixels as by Pillow."""

from typing import TYPE_CHECKING

from emotion_lightning.export.about import About

if TYPE_CHECKING:
    from onnx import ModelProto

SMALL = 32
"""Times as many pixels as the square has, up to which a picture is resized by our own multiplications."""


def preprocessing(about: About, ir_version: int, opset: int) -> "ModelProto":
    """``pictures`` uint8 ``(batch, height, width, channels)`` of any size to ``normalized`` images.

    Pillow rounds to whole levels after each direction, with weights of 22 bits. onnxruntime's antialiased ``Resize``
    does the same but for its weights, which are of 32-bit fractions: a value between two levels may be rounded
    otherwise. Where an output is of few pixels, as from 48 to 72, it is so for 8 % of them, and probabilities were seen
    to change by 0.02. So small pictures are multiplied by Pillow's own weights, to the bit. Large ones, of which an
    output averages many pixels, are left to ``Resize``, which is many times as fast there.

    Args:
        about: What is between a picture and an answer.
        ir_version: Version of ONNX's format.
        opset: Version of its operators.
    """
    from onnx import parser

    side, planes = about.side, "batch, channels"
    mean, std = (", ".join(f"{value:.9g}" for value in values) for values in about.normalization)
    middles = ", ".join(str(place + 0.5) for place in range(side))
    # without exclude_outside, border pixels would differ by up to 20 levels
    resize = '<mode = "linear", antialias = 1, exclude_outside = 1, axes = [1, 2]>'
    return parser.parse_model(f"""<ir_version: {ir_version}, opset_import: ["": {opset}]>
        preprocessing (uint8[batch, height, width, channels] pictures) => (float[batch, 3, {side}, {side}] normalized)
        <int64[2] square = {{{side}, {side}}}, int64[4] rgb = {{1, 3, 1, 1}}, float white = {{255.0}},
         float[1, 3, 1, 1] mean = {{{mean}}}, float[1, 3, 1, 1] std = {{{std}}},
         int64 few = {{{SMALL * side * side}}}, double[1] side = {{{side}.0}},
         double[1, {side}] middles = {{{middles}}}, double unit = {{{2**22}.0}},
         double none = {{0.0}}, double half = {{0.5}}, double one = {{1.0}},
         int64 start = {{0}}, int64 step = {{1}}, int64[1] rows = {{0}}, int64[1] columns = {{1}}> {{
            size = Shape <start = 1, end = 3> (pictures)
            pixels = ReduceProd <keepdims = 0> (size)
            small = LessOrEqual (pixels, few)
            levels = If (small) <
                then_branch: graph = multiplied () => (float[{planes}, {side}, {side}] exact) {{
                    planes = Transpose <perm = [0, 3, 1, 2]> (pictures)
                    whole = Cast <to = 11> (planes)
                    {_weights("x", 3)}
                    {_weights("y", 2)}
                    wide = MatMul (whole, x_weights)
                    {_rounded("wide", "narrow")}
                    y_rows = Transpose <perm = [1, 0]> (y_weights)
                    high = MatMul (y_rows, narrow)
                    {_rounded("high", "low")}
                    exact = Cast <to = 1> (low)
                }},
                else_branch: graph = resized () => (float[{planes}, {side}, {side}] averaged) {{
                    squares = Resize {resize} (pictures, , , square)
                    turned = Transpose <perm = [0, 3, 1, 2]> (squares)
                    averaged = Cast <to = 1> (turned)
                }}>
            colors = Expand (levels, rgb)
            shares = Div (colors, white)
            centered = Sub (shares, mean)
            normalized = Div (centered, std)
        }}""")


def _weights(axis: str, dim: int) -> str:
    """Weights of every pixel in every output, double ``(pixels, side)``, in the words of Pillow's Resample.c.

    A triangle as wide as the scale around the middle of each output, whose weights add up to 1, in units of 2 ** -22.
    """
    return f"""
        {axis}_shape = Shape <start = {dim}, end = {dim + 1}> (planes)
        {axis}_size = Cast <to = 11> ({axis}_shape)
        {axis}_scale = Div ({axis}_size, side)
        {axis}_support = Max ({axis}_scale, one)
        {axis}_steepness = Div (one, {axis}_support)
        {axis}_center = Mul (middles, {axis}_scale)
        {axis}_count = Squeeze ({axis}_shape)
        {axis}_range = Range (start, {axis}_count, step)
        {axis}_column = Unsqueeze ({axis}_range, columns)
        {axis}_places = Cast <to = 11> ({axis}_column)
        {axis}_offset = Sub ({axis}_places, {axis}_center)
        {axis}_from = Add ({axis}_offset, half)
        {axis}_scaled = Mul ({axis}_from, {axis}_steepness)
        {axis}_distance = Abs ({axis}_scaled)
        {axis}_near = Sub (one, {axis}_distance)
        {axis}_triangle = Max ({axis}_near, none)
        {axis}_total = ReduceSum ({axis}_triangle, rows)
        {axis}_share = Div ({axis}_triangle, {axis}_total)
        {axis}_units = Mul ({axis}_share, unit)
        {axis}_raised = Add ({axis}_units, half)
        {axis}_weights = Floor ({axis}_raised)"""


def _rounded(given: str, to: str) -> str:
    """Round to whole levels, half of one up."""
    return f"""
        {given}_levels = Div ({given}, unit)
        {given}_raised = Add ({given}_levels, half)
        {to} = Floor ({given}_raised)"""
