"""Corruptions of pictures as cameras, networks and hands make them, each of five strengths.

What an image draws, such as the direction of a blur, is a function of its name alone, so that every model is measured
on the same pictures.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

from emotion_lightning.seeding import derive_seed, uniforms

DRAWS = 4
"""Numbers that each image draws for a corruption."""

EYES, MOUTH = (0.5, 0.38, 0.8, 0.24), (0.5, 0.77, 0.54, 0.26)
"""Usual places in an aligned crop of a face: middle from the left and the top, width and height, as shares of it."""

Corrupt = Callable[[Tensor, float, Tensor, Sequence[str]], Tensor]


class Corruption(NamedTuple):
    """What is done, and how much of it at each strength; ``unit`` says what the amounts are."""

    apply: Corrupt
    amounts: tuple[float, float, float, float, float]
    unit: str


def corrupted(images: Tensor, name: str, strength: int, names: Sequence[str]) -> Tensor:
    """Corrupt pictures uint8 ``(B, 3, S, S)`` on their device; the result is of the same kind.

    Args:
        images: The pictures.
        name: A key of ``CORRUPTIONS``.
        strength: From 1 to 5.
        names: Name of each picture, by which it draws.
    """
    keys = torch.tensor([derive_seed("picture", each) for each in names])
    drawn = uniforms(keys, derive_seed("corruption", name), DRAWS).to(images.device)
    apply, amounts, _ = CORRUPTIONS[name]
    return apply(images, amounts[strength - 1], drawn, names)


def _of_either(function: Callable[[Tensor, float], Tensor]) -> Corrupt:
    """Lower or raise something: a factor of 1 - amount, or its inverse."""

    def apply(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
        lower, higher = function(images, 1 - amount), function(images, 1 / (1 - amount))
        return lower.where(_mask(drawn[:, 0] < 0.5), higher)

    return apply


def _mask(chosen: Tensor) -> Tensor:
    return chosen.view(-1, 1, 1, 1)


def _focus(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    sigma = amount * images.shape[-1]
    size = 2 * math.ceil(3 * sigma) + 1
    across = V.gaussian_blur(images, [size, 1], [sigma, sigma])
    return _tensor(V.gaussian_blur(across, [1, size], [sigma, sigma]))  # apart, as its cost grows with the area


def _motion(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    """Blur along a line, level, upright or along a diagonal."""
    half = max(1, round(amount * images.shape[-1] / 2))
    line = torch.zeros(2 * half + 1, 2 * half + 1, device=images.device)
    line[half] = 1
    lines = torch.stack([line, line.T, line.new_ones(len(line)).diag(), line.new_ones(len(line)).diag().flip(1)])
    kernels = (lines / len(line))[(drawn[:, 0] * 4).long()].repeat_interleave(3, dim=0)[:, None]
    padded = F.pad(images.float(), [half] * 4, mode="replicate").flatten(0, 1)[None]
    return _pixels(F.conv2d(padded, kernels, groups=len(kernels))[0].view_as(images))


def _noise(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    noise = torch.empty(images.shape)
    for place, name in zip(noise, names, strict=True):
        place.normal_(generator=torch.Generator().manual_seed(derive_seed("noise", name)))
    return _pixels(images + 255 * amount * noise.to(images.device))


def _jpeg(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    return _tensor(V.jpeg(images.cpu(), int(amount))).to(images.device)


def _size(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    side = images.shape[-1]
    return _tensor(V.resize(V.resize(images, [int(amount)] * 2), [side] * 2)) if amount < side else images


def _rotation(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    margin = images.shape[-1] // 2
    wide = V.pad(images, [margin], padding_mode="edge")  # so that no black corners come in
    left, right = map(
        _tensor,
        (
            V.center_crop(V.rotate(wide, angle, InterpolationMode.BILINEAR), list(images.shape[-2:]))
            for angle in (amount, -amount)
        ),
    )
    return left.where(_mask(drawn[:, 0] < 0.5), right)


def _occlusion(
    place: tuple[float, float, float, float], images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]
) -> Tensor:
    """Cover a box around a place, a little off in each image, in a gray of its own."""
    x, y, width, height = place
    along = (torch.arange(images.shape[-1], device=images.device) + 0.5) / images.shape[-1]
    across, down = (
        (along - middle - 0.06 * (off[:, None] - 0.5)).abs() < amount * size / 2
        for middle, size, off in ((x, width, drawn[:, 0]), (y, height, drawn[:, 1]))
    )
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    return images.where(~inside, _mask((255 * drawn[:, 2]).to(torch.uint8)))


def _cast(images: Tensor, amount: float, drawn: Tensor, names: Sequence[str]) -> Tensor:
    """Strengthen one or two of red, green and blue and weaken the others."""
    signs = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]], device=images.device)
    signs = torch.cat([signs, -signs])[(drawn[:, 0] * 6).long()]
    return _pixels(images * (1 + amount * signs)[:, :, None, None])


def _tensor(images: Any) -> Tensor:
    """Say of what torchvision returns, which has no types, that it is a tensor."""
    return cast(Tensor, images)


def _pixels(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


CORRUPTIONS = {
    "brightness": Corruption(
        _of_either(V.adjust_brightness), (0.2, 0.35, 0.5, 0.65, 0.8), "darker by this share, or as much brighter"
    ),
    "contrast": Corruption(
        _of_either(V.adjust_contrast), (0.2, 0.35, 0.5, 0.65, 0.8), "less contrast by this share, or as much more"
    ),
    "focus": Corruption(_focus, (0.01, 0.02, 0.03, 0.04, 0.06), "sigma of a Gaussian blur, share of the side"),
    "motion": Corruption(_motion, (0.04, 0.08, 0.12, 0.16, 0.24), "length of the line, share of the side"),
    "noise": Corruption(_noise, (0.03, 0.06, 0.1, 0.15, 0.25), "deviation of Gaussian noise, share of white"),
    "jpeg": Corruption(_jpeg, (40, 25, 15, 10, 5), "quality"),
    "size": Corruption(_size, (64, 48, 32, 24, 16), "side in pixels, enlarged again"),
    "rotation": Corruption(_rotation, (5, 10, 20, 30, 45), "degrees to either side"),
    "eyes": Corruption(partial(_occlusion, EYES), (0.3, 0.5, 0.7, 0.85, 1.0), "side of a box over the eyes"),
    "mouth": Corruption(partial(_occlusion, MOUTH), (0.3, 0.5, 0.7, 0.85, 1.0), "side of a box over the mouth"),
    "gray": Corruption(
        lambda images, amount, *_: V.adjust_saturation(images, 1 - amount),
        (0.2, 0.4, 0.6, 0.8, 1.0),
        "share of the color taken away",
    ),
    "cast": Corruption(_cast, (0.08, 0.16, 0.24, 0.32, 0.4), "share by which colors are changed"),
}
"""The corruptions by name."""

STRENGTHS = range(1, 6)
