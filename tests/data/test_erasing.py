"""Random erasing: timm's draws, laid over a batch after it is normalized."""

from __future__ import annotations

import random

import pytest
import torch
from timm.data.random_erasing import RandomErasing

from t2t_vit.data.augment import seed_sample
from t2t_vit.data.erasing import Patch, cover, draw_patch, gather_patches


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 8, 8), (4, 16, 5), (3, 2, 2), (3, 1, 1)])
@pytest.mark.parametrize(("probability", "area"), [(0.25, (0.02, 1 / 3)), (1.0, (0.5, 1.0)), (0.0, (0.02, 1 / 3))])
def test_patches_are_timms_in_every_bit(shape, probability, area):
    timms = RandomErasing(probability, min_area=area[0], max_area=area[1], mode="pixel", device="cpu")
    drawn = 0
    for key in range(100):
        seed_sample(3, key)
        expected = timms(torch.full(shape, 9.0))
        after = random.random(), torch.rand(1)
        seed_sample(3, key)
        patch = draw_patch(shape, probability, area)
        assert (random.random(), torch.rand(1)) == after  # so what is drawn next is the same, too
        got = torch.full((1, *shape), 9.0)
        cover(got, gather_patches([patch]))
        assert torch.equal(got[0], expected)
        drawn += patch is not None
    if min(shape[1:]) > 2:
        assert (drawn > 0) == (probability > 0)


def test_each_image_of_a_batch_gets_its_own_patch():
    patches = [None, Patch(1, 2, torch.full((3, 2, 3), 7.0)), None, Patch(0, 0, torch.full((3, 4, 1), 8.0))]
    images = torch.zeros(4, 3, 5, 6)
    cover(images, gather_patches(patches))
    expected = torch.zeros(4, 3, 5, 6)
    expected[1, :, 1:3, 2:5] = 7
    expected[3, :, 0:4, 0:1] = 8
    assert torch.equal(images, expected)


def test_a_batch_without_patches_stays_as_it_is():
    images = torch.ones(2, 1, 3, 3)
    cover(images, gather_patches([None, None]))
    assert torch.equal(images, torch.ones(2, 1, 3, 3))
