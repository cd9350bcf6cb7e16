"""How far a measured accuracy may be from the true one."""

from __future__ import annotations

import math

_Z = 1.959964  # the standard normal's 97.5 % point


def accuracy_interval(num_right: int, num_images: int) -> tuple[float, float]:
    """Return the 95 % interval, in percent, of the accuracy on all such images, of which `num_images` were a sample.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if num_images < 1:
        return 0.0, 100.0
    share, z2 = num_right / num_images, _Z * _Z
    centre = (share + z2 / (2 * num_images)) / (1 + z2 / num_images)
    half = _Z / (1 + z2 / num_images) * math.sqrt(share * (1 - share) / num_images + z2 / (4 * num_images**2))
    return 100 * max(centre - half, 0.0), 100 * min(centre + half, 1.0)
