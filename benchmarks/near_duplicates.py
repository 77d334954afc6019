"""How many planted copies ``find_pairs`` finds among the images of a data set, and what it finds there by itself.

python -m benchmarks.near_duplicates --root ROOT [--sheet sheet.png]
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from emotion_lightning.data.audit.duplicates import Pair, find_pairs
from emotion_lightning.data.images.thumbnail import thumbnail
from emotion_lightning.data.sources.groups import connected_components
from emotion_lightning.data.sources.manifest import Manifest, read_manifest
from emotion_lightning.seeding import derive_seed

Change = Callable[[Image.Image, Random], Image.Image]


def digest(image: Image.Image) -> str:
    """What is the same for exact copies only."""
    return sha256(image.tobytes()).hexdigest()


def encode(image: Image.Image, rng: Random) -> Image.Image:
    """Compress as JPEG of quality 40 to 95."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(40, 95))
    return Image.open(buffer).convert("RGB")


def resize(image: Image.Image, rng: Random) -> Image.Image:
    """Resize by a factor of 0.5 to 2."""
    factor = 2 ** rng.uniform(-1, 1)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    return image.resize((round(image.width * factor), round(image.height * factor)), rng.choice(filters))


def flip(image: Image.Image, rng: Random) -> Image.Image:
    """Mirror."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def brighten(image: Image.Image, rng: Random) -> Image.Image:
    """Multiply by 0.8 to 1.2."""
    factor = rng.uniform(0.8, 1.2)
    return image.point(lambda value: min(255, round(value * factor)))


def crop(image: Image.Image, rng: Random, share: float = 0.9) -> Image.Image:
    """Cut a window out anywhere, and resize it to the size of the whole."""
    width, height = round(image.width * share), round(image.height * share)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height)).resize(image.size, Image.Resampling.BICUBIC)


CHANGES: dict[str, Sequence[Change]] = {
    "exact": (),
    "JPEG quality 40-95": (encode,),
    "resized 0.5-2x": (resize,),
    "flipped": (flip,),
    "brightness +-20 %": (brighten,),
    "cropped to 90 %": (crop,),
    "cropped to 95 %": (lambda image, rng: crop(image, rng, 0.95),),
    "cropped to 85 %": (lambda image, rng: crop(image, rng, 0.85),),
    "flipped, cropped to 90 %": (flip, crop),
    "all but cropped": (flip, brighten, resize, encode),
    "all": (flip, crop, brighten, resize, encode),
}


def plant(manifest: Manifest, copies: int, seed: int) -> tuple[list[np.ndarray], list[str], list[int], list[str]]:
    """Make ``copies`` copies with each change: their thumbnails, digests, originals and what was changed."""
    thumbnails, digests, originals, changes = [], [], [], []
    for name, steps in CHANGES.items():
        rng = Random(derive_seed(seed, "plant", name))
        for original in rng.sample(range(len(manifest)), copies):
            image = manifest.read(original)
            for step in steps:
                image = step(image, rng)
            thumbnails.append(thumbnail(image))
            digests.append(digest(image))
            originals.append(original)
            changes.append(name)
    return thumbnails, digests, originals, changes


def contact_sheet(manifest: Manifest, pairs: Sequence[Pair], side: int = 96, columns: int = 7) -> Image.Image:
    """Draw pairs side by side, with their number and similarity."""
    sheet = Image.new("RGB", (columns * (2 * side + 8), -(-len(pairs) // columns) * (side + 14)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(pairs):
        x, y = number % columns * (2 * side + 8), number // columns * (side + 14)
        pen.text((x, y), f"{number}: {pair.similarity:.4f} {pair.kind}", fill="black")
        for place, image in enumerate((pair.first, pair.second)):
            sheet.paste(manifest.read(image).resize((side, side)), (x + place * side, y + 12))
    return sheet


def main() -> None:
    """Plant, search and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--copies", type=int, default=500, help="copies planted with each change")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--sheet", type=Path, help="draw pairs of the data set itself: a sample, then the least alike")
    options = parser.parse_args()

    manifest = read_manifest(options.root)
    images = [manifest.read(index) for index in range(len(manifest))]
    thumbnails, digests = [thumbnail(image) for image in images], [digest(image) for image in images]
    start = time.perf_counter()
    own = find_pairs(np.stack(thumbnails), digests)
    print(f"{manifest.describe()}: {dict(Counter(pair.kind for pair in own))} in {time.perf_counter() - start:.1f} s")
    groups = np.array(connected_components(len(manifest), (pair[:2] for pair in own)))
    learnt = set(groups[manifest.indices("train")])
    for split in ("val", "test"):
        twins = sum(groups[index] in learnt for index in manifest.indices(split))
        print(f"{split}: {twins:,} images have a copy in train")

    planted, planted_digests, originals, changes = plant(manifest, options.copies, options.seed)
    found = find_pairs(np.stack(thumbnails + planted), digests + planted_digests)
    pairs = {pair[:2] for pair in found}
    first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
    joined = connected_components(len(thumbnails) + len(planted), (pair[:2] for pair in found))
    hits, groups_hit, planned = Counter(), Counter(), Counter(changes)
    for copy, (original, change) in enumerate(zip(originals, changes, strict=True), len(thumbnails)):
        hits[change] += (first[digests[original]], copy) in pairs
        groups_hit[change] += joined[original] == joined[copy]
    for change in CHANGES:
        print(f"{change:26s} {hits[change] / planned[change]:7.1%} {groups_hit[change] / planned[change]:7.1%}")

    if options.sheet:
        near = [pair for pair in own if pair.kind != "exact"]
        sample = Random(derive_seed(options.seed, "sheet")).sample(near, min(100, len(near)))
        contact_sheet(manifest, [*sorted(sample, key=near.index), *near[-50:]]).save(options.sheet)


if __name__ == "__main__":
    main()
