"""Pretrained backbone weights: from timm's hub through its cache, or from a local file. Nothing loaded runs code."""

import logging
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.loading import load_safely

logger = logging.getLogger(__name__)

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT = 5.0  # seconds; the hub's own retries go on for minutes


def find_weights(backbone: str, pretrained: bool | str) -> Path | None:
    """Return the weights file that ``pretrained`` stands for, downloading it where it is not cached yet.

    Raises:
        DataError: The file is missing, or the hub cannot be reached.
        UsageError: timm does not know this backbone, or has no pretrained weights for it.
    """
    _check_name(backbone)
    if pretrained is False:
        return None
    if isinstance(pretrained, str):
        path = Path(pretrained).expanduser()
        if not path.is_file():
            raise DataError(f"`pretrained` {pretrained}: no such file; give true, false or a weights file")
        return path
    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id:
        raise UsageError(f"`pretrained=true`: timm has no weights for {backbone}; give false or a local weights file")
    return _from_hub(backbone, config.hf_hub_id)


def _from_hub(backbone: str, repository: str) -> Path:
    for name in HUB_FILES:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    try:
        get_hf_file_metadata(hf_hub_url(repository, HUB_FILES[0]), timeout=HUB_TIMEOUT)
        return Path(hf_hub_download(repository, HUB_FILES[0]))
    except Exception as error:  # whichever HTTP library the hub client uses today
        raise DataError(
            f"`pretrained=true`: {repository}/{HUB_FILES[0]} is not cached and cannot be fetched "
            f"({type(error).__name__}). Connect once, or give `pretrained` a local .safetensors or .pth file of "
            f"{backbone}, or `pretrained=false`"
        ) from error


def load_weights(path: Path) -> dict[str, Tensor]:
    """Load a state dict from a ``.safetensors`` or pickled file; code inside a pickle is never run.

    Raises:
        DataError: The file is damaged, would run code, or holds no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"`pretrained` {path}: the file is damaged") from error
    content = load_safely(path, "`pretrained`")
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"`pretrained` {path}: holds no state dict")
    return state


def create_backbone(name: str, path: Path | None) -> torch.nn.Module:
    """Build timm's ``name`` without its classifier, ``(B, 3, H, W)`` to ``(B, features)``, with weights from ``path``.

    Where a file's names are not timm's, but its tensors are the model's one to one, in order and shape, they are
    taken in that order, and that is logged.

    Raises:
        DataError: The file does not hold this model's weights.
        UsageError: timm does not know the model.
    """
    _check_name(name)
    # vision transformers are built for one image size unless told otherwise
    flexible: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True} if name.startswith("vit_") else {}
    body: torch.nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **flexible)
    if path is not None:
        _fill(body, _in_order(name, load_weights(path)), f"`pretrained` {path}")
    return body


def _fill(body: torch.nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load every tensor of ``body``; what else the file holds is its classifier."""
    expected = body.state_dict()
    wrong = [
        name
        for name, value in expected.items()
        if (name in state and state[name].shape != value.shape)
        or (name not in state and not name.endswith("num_batches_tracked"))
    ]
    if wrong:
        kind = type(body).__name__
        raise DataError(
            f"{source}: does not hold the weights of this {kind}, {wrong[0]} and {len(wrong) - 1} more do not fit"
        )
    body.load_state_dict(expected | {name: value for name, value in state.items() if name in expected})


def _in_order(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.device("meta"):
        expected = timm.create_model(name, pretrained=False).state_dict()
    if set(expected) == set(state) or len(expected) != len(state):
        return state
    pairs = list(zip(expected.values(), state.values(), strict=True))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        return state
    logger.info("The weights file names its tensors otherwise; all %d fit %s in order", len(state), name)
    return dict(zip(expected, state.values(), strict=True))


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"`backbone` {name}: timm has no such model{hint}")
