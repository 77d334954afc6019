"""``python -m emotion_lightning``."""

import sys

from emotion_lightning.commands import asks_for_overview, overview

if __name__ == "__main__":
    if asks_for_overview(sys.argv[1:]):
        print(overview())
    else:
        from emotion_lightning.cli import main  # which imports every library

        main()
