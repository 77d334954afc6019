"""Which tensors of a weights file are those of a network, whatever the file calls them."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from emotion_lightning.errors import DataError
from emotion_lightning.model.finite import refuse_nonfinite

State = dict[str, Tensor]

COUNTER = "num_batches_tracked"
"""Tensor of a BatchNorm that old files lack, and that nothing depends on."""

AVERAGED = "ema"
"""Word of the keys and prefixes under which training scripts keep the average of the weights, which is preferred to the
weights beside it, as in ``state_dict_ema`` and ``ema_model.``."""

DEPTH = 3
"""Dictionaries within dictionaries in which tensors are looked for."""

SHOWN = 3
"""Names that a message lists at most."""


class Match(NamedTuple):
    """Tensors of a file by the names of the network, which of these fit, and the file's names that are left over."""

    found: State
    fitting: set[str]
    left: list[str]


def fill(body: nn.Module, content: Any, path: Path) -> None:
    """Put the tensors of a weights file into ``body``, and say what of it is left out.

    They may lie in a dictionary within the file (state_dict, model, net and so on), have a common prefix (module.,
    backbone. and so on), and stand beside a classifier. They are found by their names. Only if none of these is the
    network's, they are taken in the file's order, where all shapes are the network's and no two can be confused.

    Args:
        body: The network.
        content: What the file holds.
        path: The file, for messages.

    Raises:
        DataError: They are not the network's.
    """
    states = sorted(_states(content), key=lambda named: not _is_averaged(named[0]))
    if not states:
        raise DataError(f"`pretrained` {path}: holds no tensors by name")
    expected = {name: value for name, value in body.state_dict().items() if not name.endswith(COUNTER)}
    match = max((_by_name(body, expected, state) for _, state in states), key=lambda match: len(match.fitting))
    if not match.found:
        match = max((_in_order(expected, state) for _, state in states), key=lambda match: len(match.fitting))
    if len(match.fitting) < len(expected):
        raise DataError(f"`pretrained` {path}: {_refusal(body, expected, match, max(states, key=_size)[1])}")
    try:
        refuse_nonfinite(match.found)
    except DataError as error:
        raise DataError(f"`pretrained` {path}: {error}") from error
    body.load_state_dict(body.state_dict() | match.found)
    if match.left:
        _say(f"Weights: {path.name} also holds {_list(match.left)}, which the backbone has no place for")


def _say(line: str) -> None:
    """Log a line in the first process of a run, as Lightning does."""
    from lightning.pytorch.utilities import rank_zero_info  # slow to import, for what only answers

    rank_zero_info(line)


def _states(content: Any, key: str = "", depth: int = DEPTH) -> Iterator[tuple[str, State]]:
    """Yield the tensors of a dictionary and of those in it, with the keys that lead to each."""
    if not isinstance(content, Mapping):
        return
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if state:
        yield key, state
    for name, value in content.items() if depth else ():
        yield from _states(value, f"{key}.{name}", depth - 1)


def _by_name(body: nn.Module, expected: State, state: State) -> Match:
    """Match under whichever prefix most names have, of two the average's; if need be, after timm has translated."""
    prefixes = Counter(name.removesuffix(ours) for name in state for ours in _endings(name) if ours in expected)
    prefix = max(prefixes, key=lambda each: (prefixes[each], _is_averaged(each)), default="")
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    others = [name for name in state if not name.startswith(prefix)]
    match = _match(body, expected, own, others)
    if len(match.fitting) == len(expected):
        return match
    return max(match, _match(body, expected, _translated(body, own), others), key=lambda match: len(match.fitting))


def _match(body: nn.Module, expected: State, state: State, others: list[str]) -> Match:
    found = {name: state[name] for name in body.state_dict() if name in state}
    fitting = {name for name in expected if name in found and found[name].shape == expected[name].shape}
    return Match(found, fitting, [*(name for name in state if name not in found), *others])


def _endings(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def _is_averaged(name: str) -> bool:
    return AVERAGED in re.split(r"[._]", name)


def _translated(body: nn.Module, state: State) -> State:
    """Let timm translate the names of a network's first publication, and resample its tables of positions."""
    translate = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
    try:
        return state if translate is None else dict(translate(dict(state), body))
    except (KeyError, RuntimeError, AttributeError, ValueError, IndexError, TypeError, AssertionError):
        return state  # they are of another network


def _in_order(expected: State, state: State) -> Match:
    """Match by order if all shapes fit, and the last words of the names or neighbors' shapes tell tensors apart."""
    ours, theirs = list(expected), [name for name in state if not name.endswith(COUNTER)]
    pairs = list(zip(ours, theirs, strict=False))
    if len(pairs) < len(ours) or any(expected[a].shape != state[b].shape for a, b in pairs):
        return Match({}, set(), theirs)
    shapes = [value.shape for value in expected.values()]
    same_words = all(a.rpartition(".")[2] == b.rpartition(".")[2] for a, b in pairs)
    if not same_words and any(a == b for a, b in pairwise(shapes)):
        return Match({}, set(), theirs)
    _say(f"Weights: the file names its tensors otherwise; all {len(pairs)} are taken in its order")
    return Match({a: state[b] for a, b in pairs}, set(ours), theirs[len(pairs) :])


def _refusal(body: nn.Module, expected: State, match: Match, state: State) -> str:
    wrong = [name for name in expected if name not in match.fitting]
    first = wrong[0]
    theirs = f"has shape {tuple(match.found[first].shape)}" if first in match.found else "is not in it"
    return (
        f"does not hold the weights of this {type(body).__name__}, of whose {len(expected)} tensors "
        f"{len(match.fitting)} fit: {first} {tuple(expected[first].shape)} {theirs}. The file has {len(state)} "
        f"tensors, such as {_list(list(state))}; give `backbone` the network that they are of"
    )


def _size(named: tuple[str, State]) -> int:
    return len(named[1])


def _list(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
