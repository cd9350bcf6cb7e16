"""Preprocessing: equal to the reference's, for every shape of picture, and honest about its settings."""

import copy
import io
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2t_vit.data.decode import decode
from t2t_vit.data.preprocess import Preprocess
from t2t_vit.errors import ConfigError, ImageError

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "expected.npz"
CASES = [(1, 300, 400), (2, 500, 333)]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = Preprocess((224, 224), 248, "bicubic", MEAN, STD)

rgb_image = runpy.run_path(str(GOLDEN / "fill.py"))["rgb_image"]


def from_png(seed, height, width):
    file = io.BytesIO()
    Image.fromarray(rgb_image(seed, height, width)).save(file, "PNG")
    return decode(file.getvalue())


def column(height, width):
    """A picture whose grey value is the number of its column."""
    return Image.fromarray(np.broadcast_to(np.arange(width, dtype=np.uint8), (height, width)).copy())


# --- against the reference ---


@pytest.mark.parametrize(("seed", "height", "width"), CASES)
def test_every_eighth_row_of_the_reference_is_met_exactly(seed, height, width):
    with np.load(GOLDEN / "inference.npz") as golden:
        rows = golden[f"{seed}_{height}x{width}/rows"]
    picture = from_png(seed, height, width)
    np.testing.assert_array_equal(np.asarray(IMAGENET.crop(picture))[::8], rows)
    # 1e-5 is the float32 rounding of a normalisation in another order, with room to spare.
    expected = ((rows / 255 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(IMAGENET(picture)[:, ::8], expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference is not in ../shared/reference")
@pytest.mark.parametrize(("seed", "height", "width"), CASES)
def test_the_whole_tensor_of_the_reference_is_met_to_the_bit(seed, height, width):
    with np.load(REFERENCE) as reference:
        expected = reference[f"inference/{seed}_{height}x{width}/tensor"]
    np.testing.assert_array_equal(IMAGENET(from_png(seed, height, width)), expected)


@pytest.mark.parametrize(
    "other",
    [
        Preprocess((224, 224), 248, "bilinear", MEAN, STD),
        Preprocess((224, 224), 247, "bicubic", MEAN, STD),
        Preprocess((224, 224), (248, 248), "bicubic", MEAN, STD),
    ],
    ids=["filter", "short edge", "proportions"],
)
def test_the_golden_rows_tell_other_settings_apart(other):
    with np.load(GOLDEN / "inference.npz") as golden:
        rows = golden["1_300x400/rows"].astype(int)
    assert np.abs(np.asarray(other.crop(from_png(1, 300, 400)))[::8] - rows).max() > 3


# --- sizes ---


@pytest.mark.parametrize(
    ("height", "width", "resize", "img_size", "resized"),
    [
        (300, 400, 248, (224, 224), (248, 330)),  # 330.67, truncated
        (400, 300, 248, (224, 224), (330, 248)),
        (248, 248, 248, (224, 224), (248, 248)),
        (300, 400, (240, 500), (224, 224), (240, 500)),
        (300, 400, None, (224, 224), (300, 400)),
        (100, 100, 248, (224, 320), (320, 320)),  # 248 would not cover the crop's width
        (50, 100, None, (224, 224), (224, 448)),
        (3, 1000, 248, (224, 224), (248, 82666)),
    ],
)
def test_pictures_are_resized_as_the_reference_does_and_always_cover_the_crop(height, width, resize, img_size, resized):
    preprocess = Preprocess(img_size, resize, "nearest", MEAN, STD)
    assert preprocess._resized(height, width) == resized
    assert preprocess(Image.new("RGB", (width, height))).shape == (3, *img_size)


@pytest.mark.parametrize(("width", "left"), [(10, 3), (11, 4), (13, 4), (9, 2)])
def test_the_crop_is_central_and_rounds_half_to_even(width, left):
    """`int(round((width - 4) / 2))`: 3, 3.5, 4.5 and 2.5 of Python's rounding."""
    grey = Preprocess((4, 4), None, "bicubic", (0.5,), (0.5,))
    assert np.asarray(grey.crop(column(4, width)))[0].tolist() == list(range(left, left + 4))
    row = column(4, width).transpose(Image.Transpose.TRANSPOSE)
    assert np.asarray(grey.crop(row))[:, 0].tolist() == list(range(left, left + 4))


def test_a_picture_too_narrow_to_resize_is_refused():
    with pytest.raises(ImageError, match="height 1 and width 60000 is too narrow"):
        IMAGENET(Image.new("RGB", (60_000, 1)))


# --- channels ---


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_the_number_of_means_decides_the_mode_of_the_picture(channels, mode):
    preprocess = Preprocess((8, 6), 8, "bilinear", (0.5,) * channels, (0.25,) * channels)
    assert preprocess.mode == mode
    tensor = preprocess(decode_of(mode))
    assert tensor.shape == (channels, 8, 6)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    torch.testing.assert_close(tensor, torch.full((channels, 8, 6), 2.0), rtol=0, atol=1e-6)


def decode_of(mode):
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "white").save(file, "PNG")
    return decode(file.getvalue(), mode)


def test_a_picture_of_another_mode_is_converted_as_decoding_does():
    transparent = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    assert IMAGENET.crop(transparent).getpixel((0, 0)) == (255, 255, 255)
    assert IMAGENET.crop(column(256, 256)).mode == "RGB"


def test_an_opened_file_gives_the_same_as_its_decoded_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(rgb_image(1, 300, 400)).save(file, "PNG", exif=exif)
    with Image.open(file) as opened:
        torch.testing.assert_close(IMAGENET(opened), IMAGENET(decode(file.getvalue())), rtol=0, atol=0)


def test_normalisation_can_be_undone():
    picture = from_png(1, 300, 400)
    tensor = IMAGENET(picture)
    seen = np.asarray(IMAGENET.crop(picture))
    np.testing.assert_array_equal(IMAGENET.denormalize(tensor), seen)
    np.testing.assert_array_equal(IMAGENET.denormalize(torch.stack([tensor, tensor]))[1], seen)
    assert IMAGENET.denormalize(tensor).dtype == np.uint8
    assert IMAGENET.denormalize(torch.full((3, 2, 2), 99.0)).max() == 255


# --- the object ---


def test_it_can_be_pickled_compared_and_made_of_lists():
    assert pickle.loads(pickle.dumps(IMAGENET)) == IMAGENET == copy.deepcopy(IMAGENET)
    lists = Preprocess([224, 224], 248, "bicubic", list(MEAN), list(STD))
    assert lists == IMAGENET
    assert hash(lists) == hash(IMAGENET)
    assert "resize=248" in repr(IMAGENET)
    assert Preprocess((224, 224), 256, "bicubic", MEAN, STD) != IMAGENET


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": 224}, "img_size is 224; expected \\(height, width\\)"),
        ({"img_size": (224, 0)}, "img_size is \\(224, 0\\)"),
        ({"img_size": (224.0, 224)}, "img_size is"),
        ({"resize": 0}, "resize is 0"),
        ({"resize": True}, "resize is True"),
        ({"resize": 200}, "resize is 200, smaller than img_size"),
        ({"resize": (300, 223)}, "resize is \\(300, 223\\), smaller than img_size"),
        ({"interpolation": "bicubik"}, "interpolation is 'bicubik'; .* Did you mean 'bicubic'"),
        ({"mean": (0.5, 0.5)}, "mean has 2 values and std 3; .* 1 \\(grey\\), 3 \\(RGB\\) or 4"),
        ({"mean": (0.5,) * 5, "std": (0.5,) * 5}, "mean has 5 values"),
        ({"mean": 0.5}, "mean is 0.5; expected one number for each channel"),
        ({"mean": (123.675, 116.28, 103.53)}, "divide by 255"),
        ({"std": (0.2, 0.0, 0.2)}, "std above 0"),
        ({"std": (0.2, float("nan"), 0.2)}, "expected finite numbers"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(change, message):
    settings = {"img_size": (224, 224), "resize": 248, "interpolation": "bicubic", "mean": MEAN, "std": STD}
    with pytest.raises(ConfigError, match=message):
        Preprocess(**settings | change)


def test_preprocessing_imports_neither_torchvision_nor_timm():
    code = "import sys, t2t_vit.data.preprocess; print({'torchvision', 'timm'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
