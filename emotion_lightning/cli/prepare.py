"""The command prepare: a data set of faces, cut out of photographs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from emotion_lightning.cli.parser import HELP, OptionParser
from emotion_lightning.data.sources.folder import find_images, real_files, unread_files, unread_message
from emotion_lightning.inference.faces import FaceDetector
from emotion_lightning.inference.preparation import MANIFEST
from emotion_lightning.inference.preparation import prepare as cut_out


def prepare(args: Sequence[str], program: str, description: str) -> None:
    """Cut the faces out of a folder tree of photographs, and say how many there were."""
    parser = OptionParser(prog=program, description=description)
    parser.add_argument(
        "photos", type=str, metavar="PHOTOS", help="Folder of the photographs, with or without class folders."
    )
    parser.add_argument("output", type=str, metavar="OUT", help="Folder to make; it must not exist.")
    parser.add_argument("--face.model", type=str, help=HELP["face.model"])
    config = parser.parse_args(list(args))
    photographs, output = Path(config.photos).expanduser(), Path(config.output).expanduser()
    done = cut_out(photographs, output, FaceDetector(config.face.model))
    if unread := unread_message(unread_files(photographs, real_files(find_images(photographs).names))):
        print(unread, file=sys.stderr)
    print(f"Wrote {output}: {done}; {output / MANIFEST} says where each comes from")
