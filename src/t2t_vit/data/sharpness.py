"""A picture made sharper or softer: what Pillow's `ImageEnhance.Sharpness` gives in every bit, in a third of its time.

Source: Pillow, `ImageEnhance.py`, `ImageFilter.py` (`SMOOTH`): a blend with the picture smoothed by the weights
(1 1 1, 1 5 1, 1 1 1) / 13, which leaves its border as it is.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from t2t_vit.data.stored_pixels import stored_pixels


def sharpness(image: Image.Image, factor: float) -> Image.Image:
    """Return an RGB `image` smoothed (`factor` 0), as it is (1) or sharpened (above 1)."""
    width, height = image.size
    pixels = stored_pixels(image).reshape(height, width * 4)
    smooth = pixels.copy()
    if width > 2 and height > 2:
        wide = pixels.astype(np.uint16)
        rows = wide[:-2] + wide[1:-1] + wide[2:]
        total = rows[:, :-8] + rows[:, 4:-4] + rows[:, 8:] + 4 * wide[1:-1, 4:-4]
        # Rounded: a sum of whole numbers is never half way between two thirteenths.
        smooth[1:-1, 4:-4] = (total + 6) // 13
    return Image.blend(Image.frombytes("RGB", image.size, smooth, "raw", "RGBX"), image, factor)
