"""A picture as an entry of an event file."""

import io
from typing import Any

from PIL import Image

from emotion_lightning.report.contact_sheet import Picture

QUALITY = 90


def image_summary(tag: str, picture: Picture) -> Any:
    """Encode ``picture`` as JPEG under ``tag``.

    ``SummaryWriter.add_image`` writes PNG, ten times as large for photographs, and the check sum of an event is worked
    out in Python at some 4 MB a second, at the expense of training.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    height, width, channels = picture.shape
    encoded = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=buffer.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=encoded)])
