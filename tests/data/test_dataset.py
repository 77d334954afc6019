from itertools import chain

import pytest

from emotion_lightning.batch import IGNORE_INDEX
from emotion_lightning.data.dataset import SequentialSampler, ShuffledSampler

IMAGES = list(range(100, 111))


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    orders = [list(ShuffledSampler(IMAGES, seed=1, epoch=epoch)) for epoch in range(3)]
    assert all(sorted(order) == IMAGES for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != list(ShuffledSampler(IMAGES, seed=2, epoch=0))


def test_epoch_1_of_a_seed_is_not_epoch_0_of_the_next() -> None:
    assert list(ShuffledSampler(IMAGES, seed=1, epoch=1)) != list(ShuffledSampler(IMAGES, seed=2, epoch=0))


def test_a_sampler_made_for_an_epoch_equals_one_that_is_told_it() -> None:
    told = ShuffledSampler(IMAGES, seed=1)
    told.set_epoch(4)
    assert list(told) == list(ShuffledSampler(IMAGES, seed=1, epoch=4))


@pytest.mark.parametrize("sampler", [ShuffledSampler(IMAGES, 1, 2, 1, 2), SequentialSampler(IMAGES, 1, 2)], ids=type)
def test_a_resumed_epoch_leaves_out_what_was_trained_and_the_next_nothing(
    sampler: ShuffledSampler | SequentialSampler,
) -> None:
    whole, length = list(sampler), len(sampler)
    sampler.resume(2, trained=3)
    assert (list(sampler), len(sampler)) == (whole[3:], length)
    sampler.set_epoch(2)  # as Lightning does when it begins
    assert list(sampler) == whole[3:]
    sampler.set_epoch(3)
    assert len(list(sampler)) == length


def test_ranks_share_the_epoch_in_equal_parts() -> None:
    parts = [list(ShuffledSampler(IMAGES, 1, 0, rank, 3)) for rank in range(3)]
    together = list(chain(*parts))
    assert [len(part) for part in parts] == [3, 3, 3]
    assert len(set(together)) == 9
    assert set(together) <= set(IMAGES)


def test_evaluation_sees_every_image_once_and_fills_up_with_padding() -> None:
    parts = [list(SequentialSampler(IMAGES, rank, 3)) for rank in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4]
    together = list(chain(*parts))
    assert sorted(image for image in together if image != IGNORE_INDEX) == IMAGES
    assert list(SequentialSampler(IMAGES)) == IMAGES
