"""Pretrained backbone weights: from timm's hub through its cache, or from a local file. Nothing loaded runs code."""

from pathlib import Path
from typing import Any

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.model.body import check_name
from emotion_lightning.runs.loading import load_safely

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT = 5.0  # seconds; the hub's own retries go on for minutes


def find_weights(backbone: str, pretrained: bool | str) -> Path | None:
    """Return the weights file that ``pretrained`` stands for, downloading it where it is not cached yet.

    Raises:
        DataError: The file is missing, or the hub cannot be reached.
        UsageError: timm does not know this backbone, or has no pretrained weights for it.
    """
    check_name(backbone)
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


def load_weights(path: Path) -> Any:
    """Load what a file of safetensors or of ``torch.save`` holds; code inside it is never run.

    Raises:
        DataError: The file is damaged, or would run code.
    """
    if not _is_safetensors(path):
        return load_safely(path, "`pretrained`")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"`pretrained` {path}: the file is damaged") from error


def _is_safetensors(path: Path) -> bool:
    """Tell by the suffix, or by what such a file begins with: the hub's cache names files by their hash."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"
