"""Augmentation of a whole batch on its device: one resampling for all geometry, one color map for all color.

Each image draws its own parameters, by a hash of (seed, epoch, the image's position in the data), so that they depend
on neither workers, batch size, rank nor what was drawn before.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_lightning.batch import IMAGENET, Normalization, constant
from emotion_lightning.seeding import uniforms

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class AugmentPolicy:
    """Ranges of one augmentation phase; an operation without a range is off.

    Args:
        resize: Side that the image is resized to before the crop, over the side of the crop.
        crop_area: Least and greatest area of a random-resized crop, as fractions; ``None`` crops without resizing. A
            side longer than the image is cut off, where torchvision draws again; so each image draws the same count.
        crop_ratio: Least and greatest width over height of a random-resized crop.
        flip: Probability of a horizontal flip.
        degrees: Rotation up to ± this angle.
        translate: Shift up to ± this fraction of the crop's side, in both directions.
        scale: Least and greatest zoom.
        shear: Horizontal shear up to ± this angle in degrees.
        jitter: Brightness, contrast and saturation change by factors of 1 ± this.
        hue: Hue turns by up to ± this fraction of the color circle, in the chroma plane of YIQ. torchvision turns it in
            HSV, which keeps the largest channel where YIQ keeps the brightness; but YIQ is linear, so that all color
            changes are one matrix, and a gray image, as most of the faces are, stays as it is in both.
        gray: Probability of a gray image.
        erase: Probability that a rectangle is erased.
        erase_area: Least and greatest area of the rectangle, as fractions of the image.
    """

    resize: float
    crop_area: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    degrees: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    jitter: float = 0.0
    hue: float = 0.0
    gray: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.1)


POLICIES = {
    0: AugmentPolicy(resize=1),
    1: AugmentPolicy(resize=256 / 224, degrees=10, jitter=0.2, hue=0.1),
    2: AugmentPolicy(
        resize=288 / 224,
        crop_area=(0.8, 1.0),
        crop_ratio=(0.9, 1.1),
        degrees=15,
        translate=0.1,
        scale=(0.9, 1.1),
        shear=5,
        jitter=0.3,
        hue=0.15,
        gray=0.1,
        erase=0.1,
    ),
}
"""What :func:`~emotion_lightning.schedule.augmentation_phase` counts: flips alone, and the recipe's two phases."""

ERASE_RATIO = (0.3, 3.3)  # height over width, as in torchvision's RandomErasing
PARAMS = (
    *("flip", "angle", "shear", "zoom", "shift_x", "shift_y", "area", "ratio", "left", "top"),
    *("brightness", "contrast", "saturation", "hue", "gray"),
    *("erase", "erase_area", "erase_ratio", "erase_left", "erase_top"),
)
"""What is drawn for every image, whether its phase uses it or not."""

RGB_TO_YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
YIQ_TO_RGB = tuple(tuple(row) for row in torch.tensor(RGB_TO_YIQ, dtype=torch.float64).inverse().tolist())

CACHED = 2
"""Images that a CPU takes through all passes at a time for each thread: as many as its cache has room for."""

Params = dict[str, Tensor]


def resize_size(image_size: int) -> int:
    """Side in pixels at which training images leave the workers: what the larger phase resizes to."""
    return round(image_size * max(phase.resize for phase in POLICIES.values()))


def downscale(images: Tensor, image_size: int) -> Tensor:
    """Shrink images ``(B, 3, S, S)`` with antialiasing to what ``image_size`` is augmented from, if they are larger.

    Returns:
        Images in [0, 255] of a side of at most ``resize_size(image_size)``; float32 where they were shrunk.
    """
    side = resize_size(image_size)
    if images.shape[-1] <= side:
        return images
    return F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)


def sample_params(indices: Tensor, seed: int) -> Tensor:
    """Draw all that the augmentation of images ``indices`` ``(B,)`` needs under an epoch's ``seed``, ``(B, draws)``."""
    return uniforms(indices, seed, len(PARAMS))


def augment(
    images: Tensor, drawn: Tensor, phase: AugmentPolicy, image_size: int, normalization: Normalization = IMAGENET
) -> Tensor:
    """Augment and normalize a batch.

    Args:
        images: ``(B, 3, S, S)``, values 0 to 255, S at most ``resize_size``; smaller images are enlarged by the
            resampling.
        drawn: Uniform numbers in [0, 1) by ``sample_params``, ``(B, draws)``, on the images' device.
        phase: What to do.
        image_size: Side of the result in pixels.
        normalization: What the network's images are normalized by.

    Returns:
        Normalized float images ``(B, 3, image_size, image_size)``.
    """
    draws = dict(zip(PARAMS, drawn.unbind(dim=1), strict=True))
    geometry, (colors, pulls) = _geometry(draws, phase), _color(draws, phase)
    rows, columns = _erased(draws, phase, image_size)
    batch = torch.empty(len(images), 3, image_size, image_size, device=images.device)
    step = CACHED * torch.get_num_threads() if images.device.type == "cpu" else len(images)
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        warped = _warp(images[part].float(), geometry[part], image_size)
        _recolor(warped, colors[part], pulls[part], normalization, batch[part])
        if phase.erase:
            batch[part] *= 1 - (rows[part, :, None] * columns[part, None, :])[:, None]
    return batch


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform


def _log_between(uniform: Tensor, low: float, high: float) -> Tensor:
    return _between(uniform, math.log(low), math.log(high)).exp()


def _geometry(draws: Params, phase: AugmentPolicy) -> Tensor:
    """Map output to input coordinates, each in [-1, 1], by matrices ``(B, 2, 3)``.

    Forward, the image is cropped, flipped, then turned, sheared, zoomed and shifted; sampling needs the inverse.
    """
    width, height, center_x, center_y = _crop_window(draws, phase)
    width = torch.where(draws["flip"] < phase.flip, -width, width)
    turn = _turn(draws, phase)
    linear = torch.stack([width, height], dim=1)[..., None] * turn
    limit = 2 * phase.translate  # the image spans 2 units
    shift = torch.stack([_between(draws[axis], -limit, limit) for axis in ("shift_x", "shift_y")], dim=1)
    moved = (linear * shift[:, None]).sum(dim=2)  # no matrix product, which a GPU may round to TF32
    offset = torch.stack([center_x, center_y], dim=1) - moved
    return torch.cat([linear, offset[..., None]], dim=2)


def _crop_window(draws: Params, phase: AugmentPolicy) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Half width, half height and center of the crop in the input's coordinates."""
    if phase.crop_area is None:
        width = height = torch.full_like(draws["left"], 1 / phase.resize)
    else:
        area, ratio = _between(draws["area"], *phase.crop_area), _log_between(draws["ratio"], *phase.crop_ratio)
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    return width, height, (1 - width) * (2 * draws["left"] - 1), (1 - height) * (2 * draws["top"] - 1)


def _turn(draws: Params, phase: AugmentPolicy) -> Tensor:
    """Inverse of rotation, shear and zoom as matrices ``(B, 2, 2)``."""
    angle = _between(draws["angle"], -math.radians(phase.degrees), math.radians(phase.degrees))
    limit = math.tan(math.radians(phase.shear))
    shear = _between(draws["shear"], -limit, limit)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([cos + shear * sin, shear * cos - sin, sin, cos], dim=1).view(-1, 2, 2)
    return rows / _between(draws["zoom"], *phase.scale)[:, None, None]


def _warp(images: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Resample ``(B, 3, S, S)`` to ``(B, 3, size, size)``; what lies outside is black.

    The image is continued by a pixel all around, so that it does not fade towards its own border, which in a small
    image is wide.
    """
    inside = images.shape[-1] / (images.shape[-1] + 2)  # share of the padded side
    centers = (2 * torch.arange(size, device=images.device) + 1) / size - 1
    across, down, offset = (matrices * inside).unbind(dim=2)
    columns, rows = (centers[:, None] * step[:, None] for step in (across, down))
    grid = columns[:, None] + (rows + offset[:, None])[:, :, None]
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return F.grid_sample(padded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _color(draws: Params, phase: AugmentPolicy) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation, hue and gray as one affine map of colors in [0, 255] to [0, 1] per image.

    Hue turns the chroma plane of YIQ, which is linear, where HSV is not; a gray pixel stays as it is in both.

    Returns:
        Matrices ``(B, 3, 3)``, and factors ``(B,)`` of the mean gray that is added.
    """
    brightness, contrast, saturation = (
        _between(draws[name], 1 - phase.jitter, 1 + phase.jitter) for name in ("brightness", "contrast", "saturation")
    )
    device = brightness.device
    to_gray, identity = constant(LUMA, device).expand(3, 3), torch.eye(3, device=device)
    chroma = torch.lerp(to_gray, identity, saturation[:, None, None])
    matrix = _hue(draws["hue"], phase) @ chroma
    matrix = torch.where((draws["gray"] < phase.gray)[:, None, None], to_gray, matrix)
    matrix = matrix * (contrast * brightness / 255)[:, None, None]
    # contrast pulls towards the mean gray, which the color maps above leave as it is
    return matrix, (1 - contrast) * brightness / 255


def _recolor(images: Tensor, matrices: Tensor, pulls: Tensor, normalization: Normalization, out: Tensor) -> None:
    """Map the colors of ``images`` ``(B, 3, H, W)``, cut them at [0, 1] and normalize them into ``out``."""
    luma, mean, std = (constant(values, images.device) for values in (LUMA, *normalization))
    gray = (images.mean(dim=(2, 3)) * luma).sum(dim=1)
    torch.baddbmm((pulls * gray)[:, None, None], matrices, images.flatten(2), out=out.flatten(2))
    out.clamp_(0, 1).sub_(mean.view(3, 1, 1)).div_(std.view(3, 1, 1))


def _hue(uniform: Tensor, phase: AugmentPolicy) -> Tensor:
    angle = 2 * math.pi * _between(uniform, -phase.hue, phase.hue)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    to_yiq, to_rgb = constant(RGB_TO_YIQ, uniform.device), constant(YIQ_TO_RGB, uniform.device)
    return to_rgb @ turn @ to_yiq


def _erased(draws: Params, phase: AugmentPolicy, size: int) -> tuple[Tensor, Tensor]:
    """Rows and columns ``(B, size)``, 1 or 0, of the rectangle that is erased (random erasing, Zhong et al., 2020).

    What is erased becomes 0, the mean color.
    """
    area, ratio = _between(draws["erase_area"], *phase.erase_area), _log_between(draws["erase_ratio"], *ERASE_RATIO)
    height, width = (area * ratio).sqrt(), (area / ratio).sqrt()
    top, left = draws["erase_top"] * (1 - height), draws["erase_left"] * (1 - width)
    rows = _inside(size, top, height) & (draws["erase"] < phase.erase)[:, None]
    return rows.float(), _inside(size, left, width).float()


def _inside(length: int, start: Tensor, extent: Tensor) -> Tensor:
    position = (torch.arange(length, device=start.device) + 0.5) / length
    return (position >= start[:, None]) & (position < (start + extent)[:, None])
