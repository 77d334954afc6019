"""``python -m emotion_lightning``."""

import os
import sys

from emotion_lightning.commands import asks_for_overview, overview

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages for torch's tensors, read at its first allocation

if __name__ == "__main__":
    if asks_for_overview(sys.argv[1:]):
        print(overview())
    else:
        from emotion_lightning.cli import main  # which imports every library

        main()
