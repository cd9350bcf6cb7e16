"""RandAugment of batches gives what timm gives of each image, as often and as strongly."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import LEVEL_TO_ARG, NAME_TO_OP, rand_augment_transform

from t2t_vit.data.rand_augment import rand_augment
from t2t_vit.data.resident.rand_augment import BatchRandAugment
from t2t_vit.errors import ConfigError

RECIPE = "rand-m9-n2-mstd0.5-inc1"
FILL = (124, 116, 104)
ON_PIXELS = ("AutoContrast", "Equalize", "Invert", "SolarizeAdd")
RISING = ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
MOVES = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")


def policy(text=RECIPE, fill=FILL, interpolation="nearest"):
    return BatchRandAugment(text, torch.tensor(fill, dtype=torch.float32), interpolation)


def pictures(count, mode="RGB", size=(31, 28)):
    rng, found = np.random.default_rng(0), []
    for n in range(count):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        if n % 3 == 0:  # some with few values, some with noise
            image = image.quantize(7).convert("RGB")
        elif n % 3 == 1:
            image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        found.append(image.convert(mode))
    return [*found, Image.new(mode, size, 200 if mode == "L" else (200, 0, 255))]


def batch(images):
    arrays = [np.asarray(image).reshape(image.height, image.width, -1) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()


def applied(augment, name, images, levels, signs):
    which = np.full(len(images), augment.names.index(name))
    return augment._apply(batch(images), which, np.array(levels), np.array(signs))


def with_sign(monkeypatch, sign):
    """Let timm draw this sign."""
    monkeypatch.setattr(random, "random", lambda: 0.25 if sign < 0 else 0.75)


def timms(name, level, sign, image, monkeypatch):
    with_sign(monkeypatch, -sign)  # below a half, timm leaves it; above, it turns it
    rising = f"{name}Increasing" if name in RISING else name
    arguments = LEVEL_TO_ARG[rising](level, {"translate_const": 0}) if LEVEL_TO_ARG[rising] else ()
    if name == "Posterize":
        arguments = (max(arguments[0], 1),)
    fill = FILL if image.mode == "RGB" else FILL[0]
    done = NAME_TO_OP[rising](image, *arguments, fillcolor=fill, resample=Image.Resampling.NEAREST)
    monkeypatch.undo()
    return np.asarray(done).reshape(image.height, image.width, -1).astype(int)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", ON_PIXELS + RISING)
def test_operations_on_pixels_give_timms(name, mode, monkeypatch):
    """Where Pillow cuts off what should be a whole number and falls short of it, there is a level between them."""
    images, differences = pictures(12, mode), []
    rng = np.random.default_rng(1)
    for trial in range(6):
        levels, signs = rng.uniform(0, 10, len(images)), rng.choice([-1.0, 1.0], len(images))
        if trial == 0:
            levels[:] = 10.0
        got = applied(policy(fill=FILL[: len(mode)]), name, images, levels, signs)
        for one, image, level, sign in zip(got, images, levels, signs, strict=True):
            expected = timms(name, level, sign, image, monkeypatch)
            differences.append(np.abs(one.permute(1, 2, 0).numpy() - expected))
            assert differences[-1].max() <= 1, (level, sign)
    assert (np.stack(differences) > 0).mean() < 0.03


@pytest.mark.parametrize("name", MOVES)
def test_moves_give_timms(name, monkeypatch):
    images = pictures(6)
    rng = np.random.default_rng(2)
    levels, signs = rng.uniform(1, 10, len(images)), rng.choice([-1.0, 1.0], len(images))
    got = applied(policy(), name, images, levels, signs)
    for one, image, level, sign in zip(got, images, levels, signs, strict=True):
        expected = timms(name, level, sign, image, monkeypatch)
        # Where a pixel's middle falls between two, one of them is nearest: Pillow computes in whole parts of a pixel.
        assert (one.permute(1, 2, 0).numpy() != expected).any(-1).mean() < 0.02


def test_images_without_an_operation_stay(monkeypatch):
    images = batch(pictures(3))
    augment = policy("rand-m9-n2-p0.0")
    draws = iter(np.random.default_rng(0).random((augment.num_draws, len(images))))
    assert torch.equal(augment(images, draws), images)
    assert next(draws, None) is None


def test_an_alpha_channel_stays():
    rgb = batch(pictures(5))
    images = torch.cat([rgb, torch.full_like(rgb[:, :1], 77)], 1)
    augment = policy(fill=(*FILL, 0))
    for name in ON_PIXELS + RISING:
        which = np.full(len(images), augment.names.index(name))
        done = augment._apply(images, which, np.full(len(images), 9.0), np.ones(len(images)))
        assert (done[:, 3] == 77).all(), name


def test_operations_are_as_frequent_and_as_strong_as_timms(monkeypatch):
    """Counts of 8,000 images on either side, two operations each, and quartiles of what each operation is given."""
    count, seen, timm_seen = 8000, {}, {}
    augment = policy()

    def note(which, levels, signs):
        for number, name in enumerate(augment.names):
            mine = which == number
            seen.setdefault(name, []).extend(augment.amount_of(name, levels[mine], signs[mine]))

    monkeypatch.setattr(augment, "_apply", lambda images, *drawn: note(*drawn) or images)
    augment(torch.zeros(count, 1, 1, 1), iter(np.random.default_rng(3).random((augment.num_draws, count))))

    theirs = rand_augment(RECIPE, 32, FILL, Image.Resampling.BICUBIC)
    for operation in theirs.ops:
        name = operation.name.removesuffix("Increasing")
        operation.aug_fn = partial(lambda name, image, *amount, **_: timm_seen.setdefault(name, []).append(
            float(amount[0]) if amount else 0.0) or image, name)  # fmt: skip
    random.seed(3)
    np.random.seed(3)
    image = Image.new("RGB", (4, 4))
    for _ in range(count):
        theirs(image)
    assert set(seen) == set(timm_seen)
    expected = count * 2 * 0.5 / 15
    for name, amounts in seen.items():
        expected_amounts = timm_seen[name]
        assert abs(len(amounts) - expected) < 5 * np.sqrt(expected), name
        assert abs(len(expected_amounts) - expected) < 5 * np.sqrt(expected), name
        width = max(np.ptp(expected_amounts), 1e-6)
        for part in (0.1, 0.25, 0.75, 0.9):
            assert abs(np.quantile(amounts, part) - np.quantile(expected_amounts, part)) < 0.06 * width, name


@pytest.mark.parametrize("text", ["rand-m5", "rand-m7-n3-mstd1.5-mmax9", "rand-m9-mstd101-inc1", "rand-n1-p0.7-inc1"])
def test_other_policies_have_timms_numbers(text):
    ours, theirs = policy(text), rand_augment_transform(text, {"translate_const": 1})
    one = theirs.ops[0]
    assert (ours.count, ours.magnitude, ours.probability) == (theirs.num_layers, one.magnitude, one.prob)
    assert ours.deviation == one.magnitude_std or (ours.deviation == np.inf == one.magnitude_std)
    assert ours.most == (one.magnitude_max or 10)
    rising = {operation.name for operation in theirs.ops} & {f"{name}Increasing" for name in RISING}
    assert bool(rising) == ("inc" in text)
    names = Counter(name.removesuffix("Increasing") for name in (operation.name for operation in theirs.ops))
    assert set(names) == set(ours.names)


@pytest.mark.parametrize(
    "text", ["rand-m9-w0", "augmix-m3", "rand-m9-x1", "rand-m9-tcolor", "original-mstd0.5", "rand-"]
)
def test_policies_that_it_has_not_are_refused(text):
    with pytest.raises(ConfigError, match=r"augmentation.rand_augment is .*; with data.in_memory it is made of"):
        policy(text)
