"""Random erasing: a box of a view is covered with normal noise.

The box and its noise are drawn with the view, and laid over the batch once that is normalized: until then pixels are
bytes, which noise does not fit in.

B batch, C channels, (H, W) image size, (h, w) size of a box.

Source: timm, `data/random_erasing.py` (mode "pixel", one box), whose draws these are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch

#: A box that does not fit into the view is drawn anew so often.
_TRIES: Final = 10
_LOG_RATIO: Final = (math.log(0.3), math.log(1 / 0.3))


class Patch(NamedTuple):
    """Noise (C, h, w), float32, and where in a view its first row and column come to lie."""

    top: int
    left: int
    noise: torch.Tensor


class Patches(NamedTuple):
    """The patches of a batch: (image, top, left, h, w) of each, and the noise of all of them, one after the other."""

    boxes: list[tuple[int, int, int, int, int]]
    noise: torch.Tensor


def draw_patch(shape: Sequence[int], probability: float, area: tuple[float, float]) -> Patch | None:
    """Return what covers a part of a view, or None if nothing does.

    Its randomness is that of Python's and torch's global generators.

    Args:
        shape: (C, H, W) of the view.
        probability: Of a patch.
        area: Smallest and largest, as a part of the view.
    """
    if random.random() > probability:
        return None
    channels, height, width = shape
    for _ in range(_TRIES):
        pixels = random.uniform(*area) * height * width
        ratio = math.exp(random.uniform(*_LOG_RATIO))
        h, w = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if h < height and w < width:
            top, left = random.randint(0, height - h), random.randint(0, width - w)
            return Patch(top, left, torch.empty(channels, h, w).normal_())
    return None


def gather_patches(patches: Sequence[Patch | None]) -> Patches:
    """Return the patches of a batch as one, in which None stands for a view without."""
    present = [(number, patch) for number, patch in enumerate(patches) if patch is not None]
    boxes = [(number, top, left, noise.shape[1], noise.shape[2]) for number, (top, left, noise) in present]
    return Patches(boxes, torch.cat([torch.empty(0), *(patch.noise.flatten() for _, patch in present)]))


def cover(images: torch.Tensor, patches: Patches) -> None:
    """Lay `patches` over normalized `images` (B, C, H, W), in place."""
    channels = images.shape[1]
    sizes = [channels * h * w for *_, h, w in patches.boxes]
    noises = patches.noise.to(images.device, non_blocking=True).split(sizes)
    for (image, top, left, h, w), noise in zip(patches.boxes, noises, strict=True):
        images[image, :, top : top + h, left : left + w] = noise.view(channels, h, w)
