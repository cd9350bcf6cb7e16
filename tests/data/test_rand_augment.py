"""RandAugment: what is done faster here gives timm's pixels, and timm's draws."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP, rand_augment_transform

from t2t_vit.data.augment import seed_sample
from t2t_vit.data.rand_augment import rand_augment
from t2t_vit.data.resized_crop import resized_crop

RECIPE = "rand-m9-n2-mstd0.5-inc1"
FILL = (124, 116, 104)
BICUBIC = Image.Resampling.BICUBIC
MOVES = ("ShearX", "ShearY", "TranslateXRel", "TranslateYRel")


def smooth(width, height, seed=0):
    """A picture with gradients, edges and flat parts, as photographs have them."""
    coarse = np.random.RandomState(seed).randint(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), BICUBIC)
    image.paste((255, 255, 255), (width // 4, height // 4, width // 2, height // 2))
    return image


def noise(width, height, seed=0):
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8))


def operation(name):
    (found,) = (one for one in rand_augment(RECIPE, 64, FILL, BICUBIC).ops if one.name == name)
    return found.aug_fn


def timms(name, image, amount):
    return NAME_TO_OP[name](image, amount, fillcolor=FILL, resample=BICUBIC)


def difference(one, other):
    assert (one.mode, one.size) == (other.mode, other.size)
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int))


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("size", [(224, 224), (97, 64), (64, 97), (3, 5), (1, 1)])
def test_moves_give_timms_pixels(name, size):
    """Pillow computes in float64 and cuts off; float32 falls on the other side once in thousands of values."""
    differences = []
    draw = random.Random(1)
    for seed in range(6):
        image = (smooth if seed % 2 else noise)(*size, seed)
        for amount in (draw.uniform(0.01, 0.45), -draw.uniform(0.01, 0.45), 0.0):
            expected = timms(name, image, amount)
            got = operation(name)(image, amount, fillcolor=FILL, resample=BICUBIC)
            differences.append(difference(got, expected).ravel())
    differences = np.concatenate(differences)
    assert differences.max() <= 1
    assert (differences > 0).mean() < 1e-3


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("amount", [0.5, -0.5, 1.5, -40.0, 40.0])
def test_moves_of_half_pixels_and_out_of_the_picture_fill_as_timms_do(name, amount):
    image = Image.new("RGB", (16, 12), (255, 0, 9))  # flat: not a pixel may differ
    if name.startswith("Translate"):
        amount /= image.width if name == "TranslateXRel" else image.height
    got = operation(name)(image, amount, fillcolor=FILL, resample=BICUBIC)
    assert difference(got, timms(name, image, amount)).max() == 0


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.7, 1.0, 1.3, 1.9])
@pytest.mark.parametrize("size", [(64, 48), (3, 3), (2, 9), (1, 1)])
def test_sharpness_is_timms_in_every_bit(factor, size):
    for image in (smooth(*size), noise(*size)):
        got = operation("SharpnessIncreasing")(image, factor, fillcolor=FILL, resample=BICUBIC)
        assert difference(got, timms("SharpnessIncreasing", image, factor)).max() == 0


@pytest.mark.parametrize("mode", ["L", "RGBA"])
@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, BICUBIC])
@pytest.mark.parametrize("name", [*MOVES, "SharpnessIncreasing"])
def test_what_has_no_shortcut_is_timms_own(mode, resample, name):
    image = noise(20, 16).convert(mode)
    fill = FILL[0] if mode == "L" else (*FILL, 0)
    got = operation(name)(image, 0.3, fillcolor=fill, resample=resample)
    assert difference(got, NAME_TO_OP[name](image, 0.3, fillcolor=fill, resample=resample)).max() == 0


def test_draws_are_timms():
    """From equal seeds, equal operations with equal amounts."""
    drawn = {"ours": [], "timm": []}

    def recorded(log, one):
        def record(image, *amount, **_):
            log.append((one.name, *amount))
            return image

        return record

    policies = {
        "ours": rand_augment(RECIPE, 64, FILL, BICUBIC),
        "timm": rand_augment_transform(RECIPE, {"translate_const": 28, "img_mean": FILL, "interpolation": BICUBIC}),
    }
    image = noise(4, 4)
    for name, policy in policies.items():
        for one in policy.ops:
            one.aug_fn = recorded(drawn[name], one)
        for key in range(3000):
            seed_sample(0, key)
            policy(image)
    assert drawn["ours"] == drawn["timm"]
    counts = Counter(name for name, *_ in drawn["ours"])
    assert len(counts) == 15
    # 3000 views × 2 layers × 1/2: 200 each; chi-square of 14 degrees passes 36.1 once in 1000 times.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 36.1
    # Of the magnitude, 9 ± 0.5 clipped at 10, a shear is 0.03, either way.
    shears = np.array([amount for name, *amounts in drawn["ours"] if name.startswith("Shear") for amount in amounts])
    assert abs(np.abs(shears).mean() - 0.27) < 4 * 0.015 / len(shears) ** 0.5 + 0.0005
    assert abs((shears > 0).mean() - 0.5) < 2 / len(shears) ** 0.5


@pytest.mark.parametrize(("resample", "share"), [(BICUBIC, 0.03), (Image.Resampling.BILINEAR, 0.04)])
@pytest.mark.parametrize("box", [(0, 0, 300, 200), (30, 20, 290, 190), (100, 90, 130, 170), (5, 5, 6, 6)])
def test_resized_crop_is_pillows_but_for_rounding(resample, share, box):
    image = smooth(300, 200)
    differences = difference(resized_crop(image, box, (64, 96), resample), image.crop(box).resize((96, 64), resample))
    assert (differences > 0).mean() < share
    assert (differences > 1).mean() < 1e-3
    assert differences.max() <= 8


@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_other_filters_and_modes_are_pillows_own(resample, mode):
    image = noise(30, 20).convert(mode)
    box = (3, 2, 27, 19)
    assert difference(resized_crop(image, box, (8, 12), resample), image.crop(box).resize((12, 8), resample)).max() == 0
