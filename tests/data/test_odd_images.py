"""The decoding policy on real files that break naive loaders, from the test suites of image libraries.

The folder stands beside a checkout of this project, not in it. `test_decode.py` holds the policy without it.
"""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2t_vit.data.decode import decode, from_pil
from t2t_vit.errors import ImageError

FOLDER = Path(__file__).parents[3] / "shared" / "odd-images"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the odd images are not in ../shared/odd-images")

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)

# Name: (width, height), and colours at points (x, y), read off while looking at the picture.
PICTURES = {
    "exif-orientation-examples__Landscape_3.jpg": ((1800, 1200), {}),
    "exif-orientation-examples__Landscape_8.jpg": ((1800, 1200), {}),
    "image__jpg_portrait_2.jpg": ((113, 150), {}),
    "image__jpg_progressive_test.jpg": ((32, 23), {(2, 2): WHITE, (0, 22): WHITE, (10, 12): (199, 6, 7)}),
    "image__png_16bpc_basn6a16.png": (
        (32, 32),
        {(0, 0): WHITE, (16, 2): (238, 255, 222), (2, 16): (255, 238, 222)},
    ),
    "image__png_transparency_tbbn3p08.png": (
        (32, 32),
        {(0, 0): WHITE, (16, 16): (158, 158, 158), (8, 20): (12, 161, 12), (24, 18): (0, 0, 107)},
    ),
    "image__webp_lossless_images_multi-color.webp": (
        (300, 300),
        {(10, 10): (76, 76, 200), (290, 10): (3, 160, 230), (80, 75): BLACK},
    ),
    "pillow__12in16bit.tif": ((100, 100), {(50, 50): BLACK}),  # its brightest value is 30 of 65535
    "pillow__16bit.cropped.tif": ((64, 64), {(0, 0): (2, 2, 2), (50, 50): (1, 1, 1)}),
    "pillow__apng_blend_op_over.png": ((128, 64), {(0, 0): RED, (127, 63): RED}),
    "pillow__avif_hopper.avif": ((128, 128), {}),
    "pillow__chi.gif": (
        (320, 240),
        {(0, 0): (0, 1, 0), (85, 70): (177, 205, 68), (160, 120): (254, 255, 252)},
    ),
    "pillow__decompression_bomb_extents.gif": ((100, 100), {(0, 0): RED, (99, 99): RED}),
    "pillow__exif_imagemagick_orientation.png": ((512, 512), {}),
    "pillow__g4_orientation_6.tif": ((590, 88), {(0, 0): WHITE, (589, 87): WHITE}),
    "pillow__hopper.psd": ((128, 128), {}),
    "pillow__hopper.webp": ((128, 128), {}),
    "pillow__hopper_bad_exif.jpg": ((500, 500), {}),
    "pillow__hopper_gray.jpg": ((128, 128), {}),
    "pillow__hopper_orientation_6.jpg": ((128, 128), {}),
    "pillow__hopper_orientation_8.jpg": ((128, 128), {}),
    "pillow__hopper_webp.png": ((128, 128), {}),
    "pillow__icc-after-SOF.jpg": ((10, 10), {(0, 0): BLACK, (9, 9): BLACK}),
    "pillow__invalid-exif.jpg": ((200, 200), {(50, 40): (228, 228, 228), (199, 199): BLACK}),
    "pillow__iss634.webp": ((245, 245), {(10, 10): (17, 82, 84), (240, 240): (234, 156, 108)}),
    "pillow__la.tga": ((64, 64), {(0, 0): BLACK, (63, 63): (219, 219, 219), (32, 32): WHITE}),
    "pillow__multipage.tiff": ((10, 10), {(0, 0): (0, 128, 0), (9, 9): (0, 128, 0)}),
    "pillow__p_16.png": ((128, 128), {(4, 4): RED, (16, 4): (0, 0, 255), (24, 4): BLACK, (127, 4): WHITE}),
    "pillow__pil123p.png": ((162, 150), {(0, 0): WHITE, (65, 45): (50, 9, 5), (20, 120): (156, 156, 156)}),
    "pillow__pil_sample_cmyk.jpg": ((100, 100), {(5, 2): (255, 13, 25), (50, 5): (1, 4, 5)}),
    "pillow__rgb_trns.png": ((64, 64), {(0, 0): RED, (32, 32): WHITE, (63, 0): (0, 255, 189)}),
    "pillow__tiff_16bit_RGB.tiff": ((100, 40), {(10, 10): (4, 2, 2), (60, 20): (20, 17, 15)}),
    "pillow__tiny.png": ((4, 4), {(0, 0): WHITE, (1, 3): WHITE, (2, 3): (21, 56, 0), (3, 0): (75, 80, 54)}),
    "pillow__truncated_app14.jpg": ((100, 100), {(5, 2): (231, 32, 25), (50, 5): BLACK}),
    "pillow__uncompressed_la.png": ((128, 128), {(0, 0): WHITE, (16, 60): (198, 198, 198)}),
}

REFUSED = {
    "pillow__broken.png": "begins as PNG, but its header is corrupt",
    "pillow__negative_size.ppm": "begins as PPM, but its header is corrupt",
    "pillow__truncated_image.png": "is truncated or corrupt",
    "pillow__zero_width.gif": "begins as GIF, but its header is corrupt",
}


def pixels(name):
    return np.asarray(decode(FOLDER / name)).astype(int)


def distance(image, other):
    """Mean difference of the pixels: below 10 between encodings of one picture, above 50 if one is turned."""
    return np.abs(image - other).mean()


@pytest.mark.parametrize("name", PICTURES)
def test_the_file_shows_the_right_picture(name):
    size, points = PICTURES[name]
    image = decode(FOLDER / name)
    assert (image.mode, image.size) == ("RGB", size)
    for point, colour in points.items():
        # Codecs differ by a few levels between versions; transparency over black, or a clip, by a hundred.
        np.testing.assert_allclose(image.getpixel(point), colour, atol=6, err_msg=f"at {point}")


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.filterwarnings("ignore")  # Pillow's own, when the test itself opens a file
def test_an_image_that_pillow_opened_gives_the_same_picture_as_its_path(name):
    with Image.open(FOLDER / name) as opened:
        assert from_pil(opened) == decode(FOLDER / name)


@pytest.mark.parametrize("name", REFUSED)
def test_the_file_is_refused_by_name_with_the_reason(name):
    with pytest.raises(ImageError, match=f"{name} {REFUSED[name]}"):
        decode(FOLDER / name)


def test_every_other_odd_file_gives_a_picture_or_an_image_error():
    for path in FOLDER.iterdir():
        if path.name not in {*PICTURES, *REFUSED, "README.md"}:
            with contextlib.suppress(ImageError):
                assert decode(path).mode == "RGB"


@pytest.mark.parametrize(
    "name",
    [
        "pillow__avif_hopper.avif",
        "pillow__hopper.psd",
        "pillow__hopper.webp",
        "pillow__hopper_orientation_6.jpg",
        "pillow__hopper_orientation_8.jpg",
    ],
)
def test_one_portrait_looks_the_same_in_every_format_and_orientation(name):
    assert distance(pixels(name), pixels("pillow__hopper_webp.png")) < 10


def test_one_landscape_looks_the_same_in_both_orientations():
    first, second = (pixels(f"exif-orientation-examples__Landscape_{n}.jpg") for n in (3, 8))
    assert distance(first, second) < 10


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("image__jpg_portrait_2.jpg", Image.Transpose.FLIP_LEFT_RIGHT),
        ("pillow__exif_imagemagick_orientation.png", Image.Transpose.ROTATE_180),
    ],
)
def test_the_stored_picture_is_turned_as_its_exif_says(name, turn):
    with Image.open(FOLDER / name) as stored:
        np.testing.assert_array_equal(pixels(name), np.asarray(stored.transpose(turn)))
