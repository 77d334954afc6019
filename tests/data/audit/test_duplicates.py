from collections.abc import Callable, Sequence
from hashlib import sha256
from io import BytesIO
from itertools import cycle

import numpy as np
import pytest
from PIL import Image, ImageOps

from emotion_lightning.data.audit.duplicates import SIMILARITY, Pair, blocking, find_pairs
from emotion_lightning.data.drawn import EMOTIONS, draw_face
from emotion_lightning.data.images.thumbnail import THUMBNAIL, thumbnail
from emotion_lightning.data.sources.groups import connected_components

CROWD = 240


def pairs_of(images: Sequence[Image.Image]) -> list[Pair]:
    digests = [sha256(image.tobytes()).hexdigest() for image in images]
    return find_pairs(np.stack([thumbnail(image) for image in images]), digests, progress=False)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def brighter(image: Image.Image, factor: float) -> Image.Image:
    return image.point(lambda value: min(255, round(value * factor)))


def cropped(image: Image.Image, left: float, top: float, share: float = 0.9) -> Image.Image:
    side = image.width
    box = [round(side * edge) for edge in (left, top, left + share, top + share)]
    return image.crop(tuple(box)).resize(image.size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def crowd() -> list[Image.Image]:
    """Different people of every emotion, all in poses that are near one another."""
    return [draw_face(EMOTIONS[index % len(EMOTIONS)], seed=5, index=index, size=64) for index in range(CROWD)]


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "compressed": (lambda image: compressed(image, 40), "near"),
    "halved": (lambda image: resized(image, 0.5), "near"),
    "doubled": (lambda image: resized(image, 2), "near"),
    "squeezed": (lambda image: image.resize((image.width, image.height // 2)), "near"),
    "darker": (lambda image: brighter(image, 0.8), "near"),
    "brighter": (lambda image: brighter(image, 1.2), "near"),
    "mirrored": (ImageOps.mirror, "flipped"),
    "cropped in the middle": (lambda image: cropped(image, 0.05, 0.05), "cropped"),
    "cropped in a corner": (lambda image: cropped(image, 0.1, 0.0), "cropped"),
    "cropped slightly": (lambda image: cropped(image, 0.0, 0.05, 0.95), "cropped"),
    "mirrored and cropped": (lambda image: cropped(ImageOps.mirror(image), 0.02, 0.08), "flipped"),
    "everything": (lambda image: compressed(brighter(resized(ImageOps.mirror(image), 0.6), 0.85), 50), "flipped"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_its_kind_is_told(crowd, name):
    change, kind = CHANGES[name]
    originals = range(0, CROWD, 6)
    copies = [change(crowd[index]) for index in originals]
    pairs = pairs_of([*crowd, *copies])
    planted = {(original, CROWD + copy) for copy, original in enumerate(originals)}
    found = [pair for pair in pairs if pair[:2] in planted]
    assert len(found) >= 0.95 * len(planted)
    assert sum(pair.kind == kind for pair in found) >= 0.95 * len(found)
    assert len(pairs) == len(found)  # and nothing else


def test_the_cropped_image_may_come_first(crowd):
    pairs = pairs_of([cropped(crowd[0], 0.04, 0.06), *crowd])
    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [(0, 1, "cropped")]


def test_different_faces_are_not_paired(crowd):
    assert pairs_of(crowd) == []


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_faces_of_one_emotion_are_not_paired(emotion):
    assert pairs_of([draw_face(emotion, seed=6, index=index, size=48) for index in range(100)]) == []


def test_mirrored_different_faces_are_not_paired(crowd):
    half = CROWD // 2
    assert pairs_of([*crowd[:half], *map(ImageOps.mirror, crowd[half:])]) == []


def test_a_face_with_another_mouth_is_not_paired(crowd):
    face = crowd[1]
    changed = face.copy()
    changed.paste(crowd[3].crop((16, 36, 48, 56)), (16, 36))
    assert pairs_of([face, changed]) == []


def test_flat_images_are_paired_only_with_exact_copies():
    flat = [Image.new("L", (48, 48), gray) for gray in (0, 1, 128, 255, 128)]
    noise = np.random.default_rng(0).integers(0, 3, (48, 48), dtype=np.uint8)  # as faint as what compression leaves
    pairs = pairs_of([*flat, *(Image.fromarray(noise + gray) for gray in (0, 20, 90, 200))])
    assert pairs == [Pair(2, 4, 1.0, "exact")]


def test_exact_copies_are_a_chain_and_only_the_first_meets_other_images(crowd):
    near = compressed(crowd[0], 60)
    pairs = pairs_of([crowd[1], crowd[0], near, crowd[0], crowd[0]])
    assert pairs[:2] == [Pair(1, 3, 1.0, "exact"), Pair(3, 4, 1.0, "exact")]
    assert [pair[:2] for pair in pairs[2:]] == [(1, 2)]
    assert connected_components(5, (pair[:2] for pair in pairs)) == [0, 1, 1, 1, 1]


def test_the_most_alike_come_first(crowd):
    pairs = pairs_of([*crowd[:3], compressed(crowd[0], 30), crowd[1], compressed(crowd[2], 90)])
    assert [pair[:2] for pair in pairs] == [(1, 4), (2, 5), (0, 3)]
    assert 1.0 == pairs[0].similarity >= pairs[1].similarity > pairs[2].similarity >= SIMILARITY


def test_permuting_images_permutes_the_pairs(crowd):
    images = [*crowd, *(change(crowd[index]) for index, (change, _) in enumerate(CHANGES.values()))]
    order = np.random.default_rng(1).permutation(len(images))

    def by_image(pairs: list[Pair], names: np.ndarray) -> dict[frozenset[int], tuple[float, str]]:
        return {frozenset((int(names[p.first]), int(names[p.second]))): (p.similarity, p.kind) for p in pairs}

    expected = by_image(pairs_of(images), np.arange(len(images)))
    shuffled = by_image(pairs_of([images[index] for index in order]), order)
    assert shuffled.keys() == expected.keys()
    assert len(expected) == len(CHANGES)
    for key, (similarity, kind) in expected.items():
        assert shuffled[key] == (pytest.approx(similarity, abs=2e-4), kind)


def test_the_size_of_the_blocks_changes_nothing(crowd, monkeypatch):
    images = [*crowd, *(change(face) for face, (change, _) in zip(crowd[200:], CHANGES.values(), strict=False))]
    expected = pairs_of(images)
    monkeypatch.setattr("emotion_lightning.data.audit.duplicates.comparison.ROWS", 100)
    monkeypatch.setattr("emotion_lightning.data.audit.duplicates.descriptor.CHUNK", 70)
    monkeypatch.setattr("emotion_lightning.data.audit.duplicates.BATCH", 3)
    assert {pair[:2] for pair in pairs_of(images)} == {pair[:2] for pair in expected}


def test_in_blocks_nearly_all_pairs_are_found(crowd, monkeypatch):
    images = [*crowd, *(change(face) for face, (change, _) in zip(crowd[::2], cycle(CHANGES.values()), strict=False))]
    expected = {pair[:2] for pair in pairs_of(images)}
    assert len(expected) >= 0.95 * CROWD / 2
    monkeypatch.setattr(blocking, "ALL_WITH_ALL", 0)
    monkeypatch.setattr(blocking, "BLOCK", 16)
    found = {pair[:2] for pair in pairs_of(images)}
    assert found <= expected
    assert len(found) >= 0.99 * len(expected)


def test_a_thumbnail_is_gray_square_and_smooth():
    stripes = np.zeros((400, 200, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than a thumbnail can show: without antialiasing they would be black or white
    small = thumbnail(Image.fromarray(stripes))
    assert (small.shape, small.dtype) == ((THUMBNAIL, THUMBNAIL), np.uint8)
    assert np.abs(small.astype(int) - 127).max() <= 10


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_to_compare(count, crowd):
    thumbnails = np.zeros((count, THUMBNAIL, THUMBNAIL), np.uint8)
    thumbnails[:] = thumbnail(crowd[0])
    assert find_pairs(thumbnails, ["a"] * count, progress=False) == []


def test_a_missing_digest_is_an_error():
    with pytest.raises(ValueError, match="2 thumbnails but 1 digests"):
        find_pairs(np.zeros((2, THUMBNAIL, THUMBNAIL), np.uint8), ["a"])
