"""What TensorBoard shows as text, in blocks of fixed width."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from emotion_lightning.data.audit.summary import summary
from emotion_lightning.data.datamodule import EmotionDataModule


def block(text: str) -> str:
    """Mark ``text`` to be shown as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def configuration(file: Path, options: Mapping[str, Any]) -> str:
    """Show the configuration kept in ``file``, or the options of a run that has none because Python made it."""
    return block(file.read_text(encoding="utf-8") if file.is_file() else yaml.safe_dump(dict(options)))


def data_audit(data: EmotionDataModule | None) -> str:
    """Show what is wrong with the data, or say that nobody has looked."""
    if data is not None and data.audit is not None:
        return block(summary(data.audit))
    return "The data was not audited. The built-in faces are not, as each is drawn anew."
