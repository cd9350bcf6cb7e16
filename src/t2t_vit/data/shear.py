"""Shears and shifts of a picture along one side: what Pillow's affine transform gives, in a quarter of its time.

Pillow filters in two dimensions, whatever the transform. Along one side only, each row or column is shifted by itself,
and four neighbours in it make a pixel.

H height, W width.

Source: Pillow, `src/libImaging/Geometry.c` (`bicubic_filter32RGB`, `affine_transform`): a cubic through four pixels
whose slope at one is the difference of its neighbours; pixels of the border are repeated; values are cut off, not
rounded; a pixel whose centre comes from outside of the picture is filled.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from t2t_vit.data.stored_pixels import stored_pixels


def shear_x(image: Image.Image, slope: float, fill: tuple[int, int, int]) -> Image.Image:
    """Return an RGB `image` with each row moved left by `slope` times its height, bicubic."""
    return _shift_rows(image, slope * (np.arange(image.height, dtype=np.float64) + 0.5), fill)


def shear_y(image: Image.Image, slope: float, fill: tuple[int, int, int]) -> Image.Image:
    """Return an RGB `image` with each column moved up by `slope` times its distance from the left, bicubic."""
    return shear_x(image.transpose(_TRANSPOSE), slope, fill).transpose(_TRANSPOSE)


def translate_x(image: Image.Image, part: float, fill: tuple[int, int, int]) -> Image.Image:
    """Return an RGB `image` moved left by `part` of its width, bicubic."""
    return _shift_rows(image, np.full(image.height, part * image.width), fill)


def translate_y(image: Image.Image, part: float, fill: tuple[int, int, int]) -> Image.Image:
    """Return an RGB `image` moved up by `part` of its height, bicubic."""
    return translate_x(image.transpose(_TRANSPOSE), part, fill).transpose(_TRANSPOSE)


_TRANSPOSE = Image.Transpose.TRANSPOSE
#: float32 may come out a little below a whole value, which would be cut off to the one before.
_ROUNDING = 1e-4


def _shift_rows(image: Image.Image, shifts: NDArray[np.floating], fill: tuple[int, int, int]) -> Image.Image:
    """Return `image` with each row moved left by its own of the H `shifts`."""
    width, height = image.size
    shifts = shifts.clip(-width - 1.0, width + 1.0)  # nothing is left beyond, and integers would overflow
    whole = np.floor(shifts)
    columns = np.arange(-1, width + 2, dtype=np.int32) + whole.astype(np.int32)[:, None]  # (H, W + 3), of neighbours
    np.maximum(columns, 0, out=columns)
    np.minimum(columns, width - 1, out=columns)
    columns += np.arange(0, height * width, width, dtype=np.int32)[:, None]
    stored = stored_pixels(image).view(np.int32).reshape(-1)  # a pixel each, (H · W,)
    neighbours = torch.from_numpy(stored.take(columns).view(np.uint8).reshape(height, width + 3, 4)).float()
    v0, v1, v2, v3 = (neighbours[:, i : i + width] for i in range(4))
    t = shifts - whole
    # Pillow's v1 + t (v2 - v0 + t (-2 left + right + t (left - right))), left = v1 - v0, right = v2 - v3, by pixel
    weights = (t * (t * (2 - t) - 1), t * t * (t - 2) + 1, t * (t * (1 - t) + 1), t * t * (t - 1))
    w0, w1, w2, w3 = (torch.from_numpy(weight.astype(np.float32))[:, None, None] for weight in weights)
    values = (v1 * w1).add_(_ROUNDING).addcmul_(v2, w2).addcmul_(v0, w0).addcmul_(v3, w3).clamp_(0, 255)
    # NumPy cuts off five times faster than torch.
    shifted = values.numpy().astype(np.uint8).view(np.int32)[:, :, 0]
    first = np.floor(shifts + 0.5).astype(np.int32)[:, None]  # the column that the first pixel's centre comes from
    place = np.arange(width, dtype=np.int32)
    np.copyto(
        shifted, np.array([*fill, 255], np.uint8).view(np.int32), where=(place < -first) | (place >= width - first)
    )
    return Image.frombytes("RGB", image.size, shifted, "raw", "RGBX")
