"""The parameters of any timm model, merged to the stages of a ResNet in the order of the forward pass."""

from collections.abc import Iterator
from itertools import chain, pairwise

from timm.models import group_parameters
from torch import nn

from emotion_lightning.errors import UsageError
from emotion_lightning.schedule import STAGES

BACKBONE_STAGES = STAGES[:-1]

Groups = list[list[str]]
"""Names of parameters, group by group from input to output."""


def stage_of_parameters(body: nn.Module) -> dict[str, str]:
    """Map each parameter's name to its stage, ``stem`` or ``layer1`` to ``layer4``; every stage has some.

    The groups are those that timm names for the model, or the parts that it is made of, the largest taken apart first.

    Args:
        body: A timm model.

    Raises:
        UsageError: It has too few parts for five stages.
    """
    for groups in _groupings(body):
        stem, blocks = groups[0], groups[1:]
        if len(blocks) >= 4:
            merged = [stem, *_four_parts(blocks)]
            return {name: stage for stage, names in zip(BACKBONE_STAGES, merged, strict=True) for name in names}
    raise UsageError(f"`backbone`: {type(body).__name__} has too few parts for the stages {', '.join(BACKBONE_STAGES)}")


def _groupings(body: nn.Module) -> Iterator[Groups]:
    for coarse in (True, False):
        try:
            matcher = body.group_matcher(coarse=coarse)  # type: ignore[operator]
        except (AttributeError, AssertionError):
            continue  # timm names no groups, or none of this kind
        yield _with_last_norm(list(group_parameters(body, matcher).values()))
    yield from _by_parts(body)


def _by_parts(body: nn.Module) -> Iterator[Groups]:
    """Take the largest part apart, and that again and again."""
    sizes = {name: parameter.numel() for name, parameter in body.named_parameters()}
    groups = [list(sizes)]
    prefixes = [""]
    while True:
        largest = max(range(len(groups)), key=lambda part: sum(sizes[name] for name in groups[part]))
        prefix, names = prefixes[largest], groups[largest]
        within = [f"{prefix}{name[len(prefix) :].partition('.')[0]}" for name in names]
        children = list(dict.fromkeys(child for child, name in zip(within, names, strict=True) if child != name))
        if not children:
            return
        # a parameter of the part itself, such as a table of positions, goes with its first child
        homes = [child if child != name else children[0] for child, name in zip(within, names, strict=True)]
        groups[largest : largest + 1] = [
            [name for name, home in zip(names, homes, strict=True) if home == child] for child in children
        ]
        prefixes[largest : largest + 1] = [f"{child}." for child in children]
        yield _with_last_norm(groups)


def _with_last_norm(groups: Groups) -> Groups:
    """Let the norm after the last block belong to it."""
    *others, last = groups
    return [*others[:-1], others[-1] + last] if len(groups) > 2 and all("norm" in name for name in last) else groups


def _four_parts(blocks: Groups) -> Groups:
    edges = [round(part * len(blocks) / 4) for part in range(5)]
    return [list(chain(*blocks[start:end])) for start, end in pairwise(edges)]
