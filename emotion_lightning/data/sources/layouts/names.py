"""What the names of folders and files say: a split, an emotion, or that it is none of the data."""

import os
import re

from emotion_lightning.data.sources.labels import is_emotion
from emotion_lightning.data.sources.splits import Split

_SPLITS: dict[Split, str] = {
    "train": r"train(?:ing)?",
    "val": r"val|valid|validat(?:e|ion)|dev|development|eval|evaluation|publictest",
    "test": r"test(?:ing|s)?|privatetest",
}
_BESIDE = (
    r"(?:fer|ferplus|raf|rafdb|db|affectnet|expw|ck|ckplus|kdef|jaffe|facial|expressions?|emotions?"
    r"|faces?|images?|imgs?|pictures?|photos?|samples?|data|datasets?|sets?|splits?|parts?|folders?|x)*"
)
"""What may stand around the name of a split: FER2013Train, train_images, Training Set, 1_train."""

_SPLIT_NAMES = {split: re.compile(f"{_BESIDE}(?:{words}){_BESIDE}") for split, words in _SPLITS.items()}

_OUTPUTS = frozenset({"audit.json", "report.json", "comparison.json", "metrics.json", "hparams.yaml", "lr_find.png"})
_TOOLS = frozenset(
    {
        *("lightning_logs", "tb_logs", "wandb", "mlruns", "checkpoints"),
        *("lost+found", "system volume information", "recycler", "recycled", "thumbs.db", "desktop.ini"),
        *("network trash folder", "temporary items"),
        "lr_find.png",  # the one picture among the outputs, which is no face of the class in whose folder it lies
    }
)


def split_named(name: str) -> Split | None:
    """Return the split that a folder, a file without its suffix or a word of a table means, if it means one."""
    letters = re.sub(r"[\W\d_]+", "", name).casefold()
    return next((split for split, pattern in _SPLIT_NAMES.items() if pattern.fullmatch(letters)), None)


def is_hidden(name: str) -> bool:
    """Say whether a file or folder is none of the data by its name: hidden, or left there by a tool."""
    return name.startswith((".", "~$")) or name.casefold() in _TOOLS


def is_foreign(name: str) -> bool:
    """Say whether a folder is none of the data by its name, as what tools leave is.

    Names that begin so are those of archives of macOS (``__MACOSX``), network drives (``@eaDir``, ``#recycle``) and
    Windows (``$RECYCLE.BIN``).
    """
    return is_hidden(name) or name.startswith(("__", "@", "#", "$", "~"))


def is_output(folder: str) -> bool:
    """Say whether the folder at this path is what a run or an audit wrote, unless its name says that it is data."""
    name = os.path.basename(folder)
    if split_named(name) or is_emotion(name):
        return False
    return any(os.path.exists(os.path.join(folder, output)) for output in _OUTPUTS)
