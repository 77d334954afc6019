import numpy as np
import pytest
import torch

from emotion_lightning.data.audit.duplicates.blocking import ALL_WITH_ALL, BLOCK, TABLES, tables
from emotion_lightning.data.audit.duplicates.descriptor import EVEN, WINDOWS


def descriptors(images: int) -> torch.Tensor:
    """Of random pictures, whose windows differ a little from the whole."""
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(1, images, 2 * EVEN, generator=generator)
    changed = whole + 0.2 * torch.randn(len(WINDOWS) - 1, images, 2 * EVEN, generator=generator)
    return torch.nn.functional.normalize(torch.cat([whole, changed]), dim=2).half()


@pytest.mark.parametrize("images", [5_000, 12_000])
def test_comparisons_grow_with_the_images_and_not_with_their_square(images: int) -> None:
    blocks = [block for table in tables(descriptors(images)) for block in table]
    compared = sum(len(windows) * len(others) for windows, others in blocks)
    assert compared <= 1.3 * TABLES * len(WINDOWS) * images * BLOCK


def test_every_window_is_in_one_block_of_each_table() -> None:
    images = ALL_WITH_ALL + 1
    for table in tables(descriptors(images)):
        windows, others = (np.sort(torch.cat(side)) for side in zip(*table, strict=True))
        assert np.array_equal(windows, np.arange(len(WINDOWS) * images))
        assert np.array_equal(others, np.arange(images))


def test_few_images_are_all_in_one_block() -> None:
    ((windows, others),) = (block for table in tables(descriptors(10)) for block in table)
    assert (len(windows), len(others)) == (10 * len(WINDOWS), 10)
