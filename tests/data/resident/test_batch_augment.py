"""Views of a batch are distributed as those that pictures give one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation

from t2t_vit.data.augment import Augment, seed_sample
from t2t_vit.data.erasing import cover, draw_patch, gather_patches
from t2t_vit.data.preprocess import Preprocess, channels_first
from t2t_vit.data.resident.augment import BatchAugment
from t2t_vit.data.resident.draws import uniform

OFF = {
    "crop_scale": (1.0, 1.0), "hflip": 0.0, "interpolation": "bilinear", "rand_augment": None,
    "erase_prob": 0.0, "erase_area": (0.02, 1 / 3), "rotate": 0.0, "translate": 0.0,
}  # fmt: skip
SIZE = (20, 32)


def preprocess(size=SIZE):
    return Preprocess(size, None, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def settings_of(size, settings):
    ratio = size[1] / size[0]
    return {**OFF, "crop_ratio": (ratio, ratio), **settings}


def augment(size=SIZE, **settings):
    return BatchAugment(preprocess(size), **settings_of(size, settings))


def picture(size=SIZE):
    coarse = np.random.default_rng(5).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def views(count, seed=0, size=SIZE, **settings):
    made = augment(size, **settings)
    images = channels_first(picture(size)).expand(count, -1, -1, -1)
    torch.manual_seed(seed)
    return made(images, uniform((seed,), range(count), made.num_draws))


def views_one_by_one(count, seed=0, size=SIZE, **settings):
    made, image, found = Augment(preprocess(size), **settings_of(size, settings)), picture(size), []
    for number in range(count):
        seed_sample(seed, number)
        pixels, patch = made(image)
        view = preprocess(size).normalize_pixels(pixels[None])
        cover(view, gather_patches([patch]))
        found.append(view[0])
    return torch.stack(found)


def test_without_augmentation_a_view_is_the_image():
    assert torch.equal(views(3)[1], preprocess().normalize(picture()))


def test_a_view_depends_on_its_own_numbers_alone():
    settings = {"rand_augment": "rand-m9-n2-mstd0.5-inc1", "crop_scale": (0.3, 1.0), "hflip": 0.5, "rotate": 20.0}
    made = augment(**settings)
    images, draws = channels_first(picture()).expand(8, -1, -1, -1), uniform((1,), range(8), made.num_draws)
    whole = made(images, draws)
    assert not torch.equal(whole[2], whole[3])
    assert torch.equal(made(images[2:4], draws[2:4]), whole[2:4])


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"crop_scale": (0.2, 1.0), "crop_ratio": (3 / 4, 4 / 3)}, 0.04),
        ({"hflip": 0.5}, 0.1),
        ({"rotate": 30.0}, 0.04),
        ({"translate": 0.2}, 0.04),
        ({"erase_prob": 0.5}, 0.04),
        ({"rand_augment": "rand-m9-n2-mstd0.5-inc1"}, 0.06),
        (
            {"crop_scale": (0.4, 1.0), "hflip": 0.5, "rand_augment": "rand-m7-n2-mstd0.5-inc1", "erase_prob": 0.25,
             "interpolation": "bicubic"},
            0.06,
        ),
    ],
    ids=["crop", "flip", "rotate", "translate", "erase", "RandAugment", "all"],
)  # fmt: skip
def test_mean_and_spread_of_each_pixel_are_those_of_single_views(settings, tolerance):
    """The tolerance is about four standard errors of 2,000 views, and the difference between two filters."""
    got, expected = views(2000, **settings), views_one_by_one(2000, **settings)
    assert not torch.equal(expected[0], expected[1])
    spread = expected.std(0).clamp(min=0.05)
    assert ((got.mean(0) - expected.mean(0)) / spread).abs().mean() < tolerance
    assert (got.std(0) - expected.std(0)).abs().mean() < tolerance
    for part in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert abs(got.flatten()[::7].quantile(part) - expected.flatten()[::7].quantile(part)) < 2 * tolerance


@pytest.mark.parametrize("size", [(32, 32), (20, 48), (48, 20)])
@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (2.0, 3.0)), ((0.5, 0.6), (1.0, 1.0))]
)
def test_boxes_of_crops_are_timms(size, scale, ratio):
    height, width = size
    made = augment(size, crop_scale=scale, crop_ratio=ratio)
    draws = iter(np.random.default_rng(0).random((made.num_draws, 4000)))
    ours = np.stack(made._boxes(draws, height, width), 1)
    random.seed(0)
    image = Image.new("L", (width, height))
    timms = np.array([RandomResizedCropAndInterpolation.get_params(image, scale, ratio) for _ in range(4000)])
    for column, side in enumerate((height, width, height, width)):
        for part in (0.02, 0.1, 0.5, 0.9, 0.98):
            difference = np.quantile(ours[:, column], part) - np.quantile(timms[:, column], part)
            assert abs(difference) <= 1 + 0.03 * side, (column, part)
        assert abs(ours[:, column].mean() - timms[:, column].mean()) < 0.02 * side + 0.2


def test_erased_boxes_are_timms():
    boxes = torch.stack([view[0] != view[0].median() for view in _erased_flat(3000)])
    areas = boxes.float().mean((1, 2))
    random.seed(1)
    expected = [draw_patch((3, 32, 32), 0.4, (0.02, 1 / 3)) for _ in range(3000)]
    theirs = torch.tensor([0.0 if patch is None else patch.noise[0].numel() / 1024 for patch in expected])
    assert (areas > 0).float().mean() == pytest.approx(0.4, abs=0.03)
    for part in (0.7, 0.8, 0.9, 0.95):
        assert areas.quantile(part) == pytest.approx(float(theirs.quantile(part)), abs=0.02)
    flat = _erased_flat(3000)
    noise = torch.cat([view[:, box].flatten() for view, box in zip(flat, boxes, strict=True)])
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)


def _erased_flat(count):
    made = augment((32, 32), erase_prob=0.4)
    torch.manual_seed(0)
    images = torch.full((count, 3, 32, 32), 255, dtype=torch.uint8)
    return made(images, uniform((2,), range(count), made.num_draws))


def test_what_lies_beyond_the_image_is_the_mean():
    made = augment(rotate=45.0)
    images = torch.full((50, 3, *SIZE), 255, dtype=torch.uint8)
    corners = made(images, uniform((2,), range(50), made.num_draws))[:, :, 0, 0]
    assert corners.abs().amax(1).min() < 0.01  # a rounded mean, normalized
    assert set(corners.abs().amax(1).round(decimals=1).tolist()) == {0.0, 2.5}
