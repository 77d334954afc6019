"""Times in words."""


def duration(seconds: float) -> str:
    """Say a time in its two largest units: ``3 d 4 h``, ``1 h 5 min``, ``5 min 20 s`` or ``20.3 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, left = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {left} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"
