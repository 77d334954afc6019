"""Whether a terminal is to be written to as to a file, without bars and other movements of the cursor."""

import os


def is_plain() -> bool:
    """Say whether the user wants that, by NO_COLOR (https://no-color.org) or TERM=dumb."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
