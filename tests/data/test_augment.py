"""The published recipe's views of pictures and batches."""

from __future__ import annotations

import math
import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit.config import Augmentation
from t2t_vit.data.augment import Augment, Mix, seed_everything
from t2t_vit.data.decode import from_pil
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.samplers import SampleKey
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.data.views import TrainingSet, View, collate_views
from t2t_vit.errors import ConfigError

RECIPE = "rand-m9-n2-mstd0.5-inc1"
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
CHANNEL_NAMES = {1: "L", 3: "RGB", 4: "RGBA"}
CPU = torch.device("cpu")
NOTHING = {
    "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "hflip": 0.0, "interpolation": "bicubic", "rand_augment": None,
    "erase_prob": 0.0, "erase_area": (0.02, 1 / 3), "rotate": 0.0, "translate": 0.0,
}  # fmt: skip


def preprocess(mode="RGB", size=(16, 16)):
    channels = CHANNELS[mode]
    return Preprocess(size, None, "bicubic", (0.5,) * channels, (0.25,) * channels)


def augment(mode="RGB", size=(16, 16), **changes):
    return Augment(preprocess(mode, size), **{**NOTHING, **changes})


def picture(mode="RGB", height=20, width=24):
    pixels = np.random.RandomState(0).randint(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    return image if mode == "RGBA" else image.convert(mode)


def pixels(view):
    """The 0 to 255 of a view."""
    return 255 * (0.25 * view + 0.5)


def input_of(view):
    """A view by itself as a model gets it."""
    image, patch = view
    return collate_views(preprocess(CHANNEL_NAMES[len(image)]), [View(image, 0, 0, "", [], patch)]).inputs(CPU)[0]


class Pictures(ImageSet):
    """Two pictures of noise."""

    classes = ("a", "b")
    labels = (0, 1)

    def load(self, index, mode):
        return from_pil(picture(), mode)

    def name(self, index):
        return str(index)


# --- RandAugment ---


def test_operations_of_the_recipe_survive_60000_draws():
    """At its strongest, one draw in 640, posterizing asks for 0 bits, which Pillow 13 refuses."""
    seed_everything(0)
    policy = augment(rand_augment=RECIPE).policy
    assert policy.num_layers == 2
    operations = policy.ops
    assert sorted(operation.name for operation in operations) == [
        "AutoContrast", "BrightnessIncreasing", "ColorIncreasing", "ContrastIncreasing", "Equalize", "Invert",
        "PosterizeIncreasing", "Rotate", "SharpnessIncreasing", "ShearX", "ShearY", "SolarizeAdd",
        "SolarizeIncreasing", "TranslateXRel", "TranslateYRel",
    ]  # fmt: skip
    image = picture(height=4, width=4)
    strongest = 0
    for operation in operations:
        assert (operation.magnitude, operation.magnitude_std, operation.prob) == (9, 0.5, 0.5)
        operation.prob = 1.0  # a draw is an operation that is carried out
        level = operation.level_fn
        if operation.name == "PosterizeIncreasing":

            def counted(*args, level=level):
                nonlocal strongest
                bits = level(*args)
                strongest += bits[0] == 0
                return bits

            operation.level_fn = counted
        for _ in range(4000):
            assert operation(image).size == (4, 4)
    assert strongest > 10  # so that the trap was there


@pytest.mark.parametrize(("bits", "levels"), [(0, 2), (1, 2), (4, 16), (8, 256), (9, 256)])
def test_posterizing_keeps_at_least_one_bit(bits, levels):
    policy = augment(rand_augment=RECIPE).policy
    (posterize,) = (operation for operation in policy.ops if operation.name.startswith("Posterize"))
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert len(np.unique(np.asarray(posterize.aug_fn(ramp, bits)))) == levels


@pytest.mark.parametrize("mode", CHANNELS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_every_operation_takes_every_kind_of_picture(mode, interpolation):
    seed_everything(1)
    view = augment(mode, rand_augment=RECIPE, interpolation=interpolation, rotate=10.0, translate=0.1)
    for operation in view.policy.ops:
        operation.prob = 1.0
        for _ in range(20):
            out = operation(picture(mode))
            assert (out.mode, out.size) == (mode, (24, 20)), operation.name
    assert input_of(view(picture(mode))).shape == (CHANNELS[mode], 16, 16)


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Invert", "PosterizeIncreasing", "SolarizeIncreasing"])
def test_operations_on_colours_leave_transparency(name):
    image = picture("RGBA")
    policies = {mode: augment(mode, rand_augment=RECIPE).policy for mode in ("RGB", "RGBA")}
    results = {}
    for mode, policy in policies.items():
        (operation,) = (operation for operation in policy.ops if operation.name == name)
        operation.prob = 1.0
        seed_everything(5)
        results[mode] = np.asarray(operation(image.convert(mode)))
    np.testing.assert_array_equal(results["RGBA"][..., 3], np.asarray(image)[..., 3])
    np.testing.assert_array_equal(results["RGBA"][..., :3], results["RGB"])
    assert (results["RGB"] != np.asarray(image.convert("RGB"))).any()


def test_strength_rises_with_the_magnitude():
    """`inc1`: without it, sharpness 9 would be nearly the identity of one sign and posterizing the weakest of all."""
    strong, weak = (augment(rand_augment=f"rand-m{magnitude}-n2-inc1").policy for magnitude in (10, 1))
    image = picture()

    def change(policy, name):
        (operation,) = (operation for operation in policy.ops if operation.name == name)
        operation.prob = 1.0
        return np.abs(np.asarray(operation(image)).astype(int) - np.asarray(image)).mean()

    for name in ("PosterizeIncreasing", "SolarizeIncreasing", "BrightnessIncreasing", "Rotate"):
        seed_everything(2)
        strong_change = change(strong, name)
        seed_everything(2)
        assert strong_change > change(weak, name), name


@pytest.mark.parametrize("policy", ["rnad-m9", "rand-q9", "rand-m9.5"])
def test_policy_that_timm_does_not_know_is_refused(policy):
    with pytest.raises(
        ConfigError, match=rf"augmentation.rand_augment is '{policy}', which timm does not take"
    ) as caught:
        augment(rand_augment=policy)
    assert "expected a policy such as 'rand-m9-n2-mstd0.5-inc1'" in str(caught.value)


# --- one picture ---


@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_view_without_augmentation_is_the_whole_picture(size):
    view = input_of(augment(size=size, crop_ratio=(24 / 20, 24 / 20))(picture()))
    expected = picture().resize((size[1], size[0]), Image.Resampling.BICUBIC)
    # Torch's resize of bytes rounds otherwise than Pillow's: at most a level here.
    np.testing.assert_allclose(pixels(view).permute(1, 2, 0), np.asarray(expected), atol=1.001)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_flip(probability, share):
    seed_everything(0)
    make = augment(hflip=probability, size=(20, 20))
    image = picture(width=20)
    upright = input_of(augment(size=(20, 20))(image))
    mirrored = [torch.equal(input_of(make(image)), upright.flip(-1)) for _ in range(200)]
    # Four standard deviations of a share of 200.
    assert np.mean(mirrored) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 200))


def test_crop_has_the_area_and_the_ratio_asked_for():
    """A picture whose red counts columns and whose green counts rows tells what was cropped."""
    seed_everything(0)
    rows, columns = np.mgrid[0:200, 0:200].astype(np.uint8)
    image = Image.fromarray(np.stack([columns, rows, rows], axis=-1))
    make = augment(crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), interpolation="nearest", size=(64, 64))
    areas, ratios = [], []
    for _ in range(300):
        red, green, _ = pixels(input_of(make(image)))
        width, height = (64 / 63 * float(side.max() - side.min()) for side in (red, green))
        areas.append(width * height / 200**2)
        ratios.append(width / height)
    assert 0.07 < min(areas) < 0.12
    assert 0.9 < max(areas) < 1.03
    assert 0.72 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.39


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_every_crop_of_a_picture_of_some_pixels_has_one(size):
    make = augment(crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3))
    for seed in range(200):
        seed_everything(seed)
        view, _ = make(Image.new("RGB", size, (9, 9, 9)))
        assert (view == 9).all()


def test_erasing_has_the_area_and_the_share_asked_for():
    seed_everything(0)
    make = augment(erase_prob=0.25, erase_area=(0.02, 1 / 3), size=(64, 64))
    image = Image.new("RGB", (64, 64), (128, 128, 128))
    plain = input_of(augment(size=(64, 64))(image))
    erased = [float((input_of(make(image)) != plain).any(dim=0).float().mean()) for _ in range(1200)]
    areas = [area for area in erased if area]
    # Four standard deviations of a quarter of 1200.
    assert len(areas) / 1200 == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 1200))
    # A side is rounded to a pixel of 64: a tenth of the smallest area.
    assert 0.018 < min(areas) < 0.04
    assert 0.3 < max(areas) < 0.36


def test_erased_pixels_are_normal_noise():
    seed_everything(0)
    make = augment(erase_prob=1.0, erase_area=(0.3, 1 / 3), size=(64, 64))
    image = Image.new("RGB", (64, 64), (0, 0, 0))  # normalized to -2
    view = input_of(make(image))
    noise = view[:, (view != -2).any(dim=0)]
    assert float(noise.mean()) == pytest.approx(0, abs=0.1)
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize(("mode", "fill"), [("L", [128]), ("RGB", [128] * 3)])
def test_rotation_fills_the_corners_with_the_mean(mode, fill):
    seed_everything(3)
    view = input_of(augment(mode, rotate=45.0)(Image.new(mode, (16, 16))))
    assert pixels(view)[:, 0, 0].round().tolist() == fill


def test_settings_of_the_configuration_are_those_of_the_augmentation():
    settings = {name: getattr(Augmentation(), name) for name in NOTHING}
    assert input_of(Augment(preprocess(), **settings)(picture())).shape == (3, 16, 16)


def test_views_have_the_statistics_of_timms():
    """Mean and spread of the values, over views of one picture: augmentations of the same distribution."""
    from timm.data import create_transform

    size = (32, 32)
    ours = Augment(preprocess(size=size), **{
        **NOTHING, "crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "hflip": 0.5, "rand_augment": RECIPE,
        "erase_prob": 0.25,
    })  # fmt: skip
    timms = create_transform(
        (3, *size), is_training=True, auto_augment=RECIPE, interpolation="bicubic", color_jitter=0.0, re_prob=0.25,
        re_mode="pixel", mean=(0.5,) * 3, std=(0.25,) * 3,
    )  # fmt: skip
    for transform in timms.transforms:
        for operation in getattr(transform, "ops", []):
            if operation.name.startswith("Posterize"):  # 0 bits, which Pillow 13 refuses
                operation.level_fn = lambda level, hparams, draw=operation.level_fn: (max(draw(level, hparams)[0], 1),)
    coarse = np.random.RandomState(3).randint(0, 256, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((60, 45), Image.Resampling.BICUBIC)
    seed_everything(7)
    moments = {}
    for name, make in (("ours", lambda image: input_of(ours(image))), ("timm", timms)):
        views = torch.stack([make(image) for _ in range(1500)])
        moments[name] = torch.stack([views.mean((1, 2, 3)), views.std((1, 2, 3)), views[:, :, 4, 4].mean(1)], dim=1)
    for one, other in zip(moments["ours"].T, moments["timm"].T, strict=True):
        error = math.sqrt(float(one.var() + other.var()) / 1500)
        assert abs(float(one.mean() - other.mean())) < 4 * error
        assert 0.85 < float(one.std() / other.std()) < 1.18


# --- randomness ---


def views(epoch, image, seed=0, disturbed=False):
    dataset = TrainingSet(Pictures(), Augment(preprocess(), **{
        **NOTHING, "crop_scale": (0.08, 1.0), "hflip": 0.5, "rand_augment": RECIPE, "erase_prob": 0.5,
        "rotate": 10.0, "translate": 0.1,
    }), seed)  # fmt: skip
    if disturbed:
        random.seed(99)
        np.random.seed(99)
        torch.manual_seed(99)
    view = dataset[SampleKey(epoch, image)]
    return input_of((view.image, view.patch))


@pytest.mark.parametrize("image", range(2))
@pytest.mark.parametrize("epoch", range(10))
def test_view_depends_on_seed_epoch_and_image_alone(epoch, image):
    first = views(epoch, image)
    assert torch.equal(views(epoch, image, disturbed=True), first)
    assert not torch.equal(views(epoch + 1, image), first)
    assert not torch.equal(views(epoch, image, seed=1), first)
    assert not torch.equal(views(epoch, 1 - image), first)  # both pictures are equal


def test_seeding_reaches_every_generator():
    def draw(*key):
        seed_everything(*key)
        return random.random(), np.random.rand(), float(torch.rand(1))

    assert draw(1, 2, 3) == draw(1, 2, 3)
    draws = [draw(*key) for key in ((1, 2, 3), (1, 2, 4), (1, 3, 2), (2**70, 0), (0,))]
    for generator in zip(*draws, strict=True):
        assert len(set(generator)) == len(draws)


def test_augmentation_travels_to_other_processes():
    make = pickle.loads(pickle.dumps(augment("RGBA", rand_augment=RECIPE, erase_prob=0.5, rotate=5.0)))
    assert input_of(make(picture("RGBA"))).shape == (4, 16, 16)


# --- batches ---


def mixed(seed, mixup=0.8, cutmix=1.0, smoothing=0.1, batch=4):
    """A mixed batch whose image i is full of i, with label i of 10 classes."""
    seed_everything(seed)
    labels = torch.arange(batch)
    images = labels.float().reshape(batch, 1, 1, 1).expand(batch, 3, 16, 16).clone()
    return Mix(10, mixup, cutmix, smoothing)(images, labels)


def kind_of(images):
    """Mixup blends every pixel of an image alike; CutMix leaves two values; both can leave an image as it was."""
    first = images[0].unique()
    if len(first) == 2:
        return "cutmix"
    return "mixup" if not float(first[0]).is_integer() else "neither"


def test_each_batch_is_mixed_up_or_cut_evenly():
    kinds = Counter(kind_of(mixed(seed)[0]) for seed in range(600))
    # Four standard deviations of a half of 600; a cut of no or of all pixels shows as neither.
    assert kinds["mixup"] == pytest.approx(300, abs=4 * math.sqrt(150))
    assert kinds["neither"] < 30


@pytest.mark.parametrize(("alphas", "kind"), [((0.8, 0.0), "mixup"), ((0.0, 1.0), "cutmix")])
def test_either_can_be_alone(alphas, kind):
    assert {kind_of(mixed(seed, *alphas)[0]) for seed in range(50)} - {"neither"} == {kind}


@pytest.mark.parametrize("alphas", [(0.8, 0.0), (0.0, 1.0)])
def test_targets_are_mixed_as_the_pixels_are_and_smoothed(alphas):
    for seed in range(20):
        images, targets = mixed(seed, *alphas)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        for i, image in enumerate(images):
            partner = 3 - i
            # The mean of the pixels tells how much of i is left: mean = lam i + (1 - lam) partner.
            lam = (float(image.mean()) - partner) / (i - partner)
            expected = torch.full((10,), 0.1 / 10)
            expected[i] += 0.9 * lam
            expected[partner] += 0.9 * (1 - lam)
            torch.testing.assert_close(targets[i], expected, rtol=0, atol=1e-5)


def test_batch_that_cannot_be_paired_is_refused():
    with pytest.raises(ConfigError, match=r"a batch has 1 images and Mixup and CutMix pair them; .*mixup=0"):
        mixed(0, batch=1)
