"""``python -m emotion_lightning``."""

from emotion_lightning.cli import main

if __name__ == "__main__":
    main()
