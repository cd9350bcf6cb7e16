"""Pillow's pixels, read where they lie."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from PIL import Image

from t2t_vit.data.stored_pixels import stored_pixels


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (224, 224), (500, 375), (2500, 2000)])
def test_pixels_are_those_of_the_picture(size):
    """The last is too large for one piece of Pillow's memory."""
    width, height = size
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = stored_pixels(Image.fromarray(values))
    assert pixels.dtype == np.uint8
    assert not pixels.flags.writeable
    assert pixels.shape == (height, width, 4)
    assert np.array_equal(pixels[..., :3], values)


def test_the_picture_s_memory_is_read_and_not_a_copy():
    picture = Image.new("RGB", (30, 20), (1, 2, 3))
    pixels = stored_pixels(picture)
    picture.paste((7, 8, 9), (10, 5, 11, 6))
    assert pixels[5, 10, :3].tolist() == [7, 8, 9]
    assert pixels[5, 11, :3].tolist() == [1, 2, 3]


def test_nothing_is_left_lent():
    """A hundred photographs of 12 MB would show."""
    resource = pytest.importorskip("resource")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for value in range(100):
        picture = Image.new("RGB", (2000, 1500), (value, 0, 0))
        assert stored_pixels(picture)[0, 0, 0] == value
        del picture
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
