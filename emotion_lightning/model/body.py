"""A timm model without its classifier, built for the sizes of the images that it will be given."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

import timm
import torch
from torch import nn

from emotion_lightning.errors import UsageError

ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},  # plain vision transformers
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)
"""Ways to ask timm for a network that takes images of any size, where it is built for one size otherwise."""

REFUSALS = (TypeError, AssertionError, ValueError, RuntimeError, IndexError, ZeroDivisionError, NotImplementedError)
"""What timm and torch raise where a network has no such option, or cannot take such images."""

STEP, FURTHEST = 16, 16
"""Pixels between the sizes that are tried below and above one that does not work, and how many of each."""


def check_name(name: str) -> None:
    """Refuse a ``name`` that timm does not know.

    Raises:
        UsageError: It does not; the message has the nearest name.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"`backbone` {name}: timm has no such model{hint}")


def build_body(name: str, image_size: int | None = None) -> tuple[nn.Module, int | None]:
    """Build timm's ``name`` with random weights, ``(B, 3, H, W)`` to ``(B, features)``.

    A network that is made for images of one size is built so that it takes any, else for ``image_size``.

    Args:
        name: timm's name of the model.
        image_size: Side of the images in pixels; ``None`` for the size that the model is made for.

    Returns:
        The network, and the side of the only images that it takes; ``None`` if it is not bound to one.

    Raises:
        UsageError: timm does not know the model, or cannot build it for this size.
    """
    check_name(name)
    native = _native_size(name)
    image_size = image_size or native
    options = {} if image_size is None else _options_for(name, image_size)
    body: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    any_size = image_size is None or not (native or options) or _takes(name, options, 2 * image_size)
    return body, None if any_size else image_size


def check_sizes(name: str, image_size: int, training_sizes: Iterable[int] = ()) -> None:
    """Refuse sizes of images that timm's ``name`` cannot take, in a second and without computing anything.

    Args:
        name: timm's name of the model.
        image_size: Side of the images in pixels.
        training_sizes: Other sides that they have in training.

    Raises:
        UsageError: It cannot take them, or timm does not know it; the message has sizes that it can take.
    """
    check_name(name)
    options = _options_for(name, image_size)
    others = sorted(set(training_sizes) - {image_size})
    if others and not _takes(name, options, *others):
        raise UsageError(
            f"`resolution_schedule`: `backbone` {name} cannot take images of {', '.join(map(str, others))} pixels as "
            f"well as of {image_size}; leave the option out, or choose a `backbone` for any size, such as resnet50"
        )


@lru_cache
def _options_for(name: str, image_size: int) -> dict[str, Any]:
    for options in _ways(name, image_size):
        if _takes(name, options, image_size):
            return options
    fitting = " or ".join(map(str, _fitting_sizes(name, image_size)))
    other = ", or choose a `backbone` for any size, such as resnet50" * _takes("resnet50", {}, image_size)
    raise UsageError(
        f"`image_size` {image_size}: `backbone` {name} cannot take images of that size; give `image_size` "
        f"{fitting}{other}"
    )


def _native_size(name: str) -> int | None:
    """Side of the images for which timm builds ``name`` unless told otherwise; ``None`` if it is not bound to one."""
    config = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config is not None and config.fixed_input_size else None


def _ways(name: str, image_size: int) -> Iterator[dict[str, Any]]:
    """What timm is asked for, in turn."""
    any_size = ({}, *ANY_SIZE) if _native_size(name) is None else (*ANY_SIZE, {})
    yield from (*any_size, {"img_size": image_size})


@torch.no_grad()
def _takes(name: str, options: dict[str, Any], *sizes: int) -> bool:
    """Try on tensors that have shapes only, so that no random numbers are drawn and nothing is computed."""
    try:
        with torch.device("meta"):
            body = timm.create_model(name, pretrained=False, num_classes=0, **options).eval()
            return all(body(torch.empty(2, 3, size, size)).ndim == 2 for size in sizes)
    except REFUSALS:
        return False


def _fitting_sizes(name: str, image_size: int) -> list[int]:
    """The nearest sizes below and above ``image_size`` that work, in steps of 16 pixels."""
    start = image_size // STEP * STEP
    found = []
    for sides in (range(start, 0, -STEP), range(start + STEP, start + STEP * FURTHEST, STEP)):
        fitting = (side for side in sides[:FURTHEST] if any(_takes(name, way, side) for way in _ways(name, side)))
        found += list(islice(fitting, 1))
    return found
