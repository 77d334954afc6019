"""Registration: how alike two images are once one is stretched and shifted to fit the other as well as it can be.

Gauss-Newton on the gray values, for many pairs at once (Lucas and Kanade, 1981), with contrast and brightness solved
for as well. A frame ``(scale x, shift x, scale y, shift y)`` says which part of the whole image, both of whose axes go
from -1 to 1, the other image shows: ``whole = scale * other + shift``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 4
LARGEST_STEP = 0.15
FRAME_LIMITS = ((0.6, -0.4, 0.6, -0.4), (1.5, 0.4, 1.5, 0.4))
LEAST_OVERLAP = 0.5  # of the pixels
LEAST_DETAIL = 0.01  # standard deviation of what is compared, that of the whole image being 1
DAMPING = 1e-4


def register(whole: Tensor, other: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Fit each of ``whole`` to the same of ``other``.

    Args:
        whole: float ``(B, T, T)`` of mean 0 and standard deviation 1.
        other: As ``whole``.
        frame: Where to begin, ``(B, 4)``.

    Returns:
        The correlation of each pair where they overlap, in [-1, 1], and the frames found, ``(B, 4)``. The correlation
        is 0 where less than half of ``other`` lies within ``whole``, or where one of the two is flat.
    """
    whole, other = _smooth(whole), _smooth(other)
    for _ in range(STEPS):
        frame = _improve(whole, other, frame)
    view, inside = _view(whole, frame)
    return _correlation(_detail(view, inside), _detail(other, inside), inside), frame


def _smooth(images: Tensor) -> Tensor:
    """Average 3 x 3 pixels: copies differ most in their finest detail, which recompression and resizing change."""
    return F.avg_pool2d(F.pad(images[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[:, 0]


def _detail(images: Tensor, inside: Tensor) -> Tensor:
    """Subtract the mean of 5 x 5 pixels: light on a head before a dark wall is the same for any two faces."""
    around = F.avg_pool2d(torch.stack([images * inside, inside], dim=1), 5, stride=1, padding=2)
    return images - around[:, 0] / around[:, 1].clamp(min=1e-6)


def _axis(size: int) -> Tensor:
    return (torch.arange(size) + 0.5) / size * 2 - 1


def _view(whole: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
    """What ``whole`` shows in ``frame``, and which pixels of it lie inside, 1 or 0; both ``(B, T, T)``."""
    axis = _axis(whole.shape[1])
    x, y = frame[:, 0, None] * axis + frame[:, 1, None], frame[:, 2, None] * axis + frame[:, 3, None]
    grid = torch.stack([x[:, None, :].expand_as(whole), y[:, :, None].expand_as(whole)], dim=3)
    view = F.grid_sample(whole[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    return view, (x.abs() <= 1).to(view)[:, None, :] * (y.abs() <= 1).to(view)[:, :, None]


def _improve(whole: Tensor, other: Tensor, frame: Tensor) -> Tensor:
    """One Gauss-Newton step: least squares in the frame, contrast and brightness."""
    view, inside = _view(whole, frame)
    axis = _axis(whole.shape[1])
    along_y, along_x = torch.gradient(view, spacing=2 / len(axis), dim=(1, 2))
    along_x, along_y = along_x / frame[:, 0, None, None], along_y / frame[:, 2, None, None]
    slopes = [along_x * axis, along_x, along_y * axis[:, None], along_y, view, torch.ones_like(view)]
    jacobian = (torch.stack(slopes, dim=1) * inside[:, None]).flatten(2)
    normal = jacobian @ jacobian.mT + DAMPING * whole[0].numel() * torch.eye(len(slopes))  # never singular
    step: Tensor = torch.linalg.solve(normal, jacobian @ other.flatten(1)[:, :, None])[:, :, 0]
    contrast = step[:, 4:5].clamp(min=0.1)
    moved = frame + (step[:, :4] / contrast).clamp(-LARGEST_STEP, LARGEST_STEP)
    least, greatest = torch.tensor(FRAME_LIMITS)
    return moved.clamp(least, greatest)


def _correlation(one: Tensor, other: Tensor, inside: Tensor) -> Tensor:
    """Correlate what lies inside; 0 where that is too little or flat."""
    one, other = one * inside, other * inside
    pixels, size = inside.sum(dim=(1, 2)), inside[0].numel()
    spread = (one.square().sum(dim=(1, 2)) * other.square().sum(dim=(1, 2))).sqrt()
    enough = (pixels > LEAST_OVERLAP * size) & (spread > LEAST_DETAIL**2 * size)
    return torch.where(enough, (one * other).sum(dim=(1, 2)) / spread.clamp(min=1e-9), 0.0)
