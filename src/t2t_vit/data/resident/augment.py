"""What `Augment` does to a picture, done to a batch of small images at once, on the device where they are.

B batch, C channels, (H, W) image size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from t2t_vit.data.preprocess import Preprocess
from t2t_vit.data.resident.geometry import crops, moved, rotations, shifts
from t2t_vit.data.resident.rand_augment import BatchRandAugment

Numbers = NDArray[np.float64]

#: A box that does not fit into the image is drawn anew so often.
_TRIES: Final = 10
_LOG_RATIO: Final = (math.log(0.3), math.log(1 / 0.3))


class BatchAugment:
    """Turns images into training views of the same size: crop, flip, RandAugment, erase.

    The settings are those of `Augment`, and so are the distributions. The views are not the same to the last bit: here
    the filter of a crop averages nothing where it shrinks, which crops of images as small as the view hardly do.

    Its randomness is in `draws`; the noise that erases is of torch's global generator.

    Args:
        preprocess: Gives the size, mean and std that the views must have.
        crop_scale: Area of the crop, as a part of the image.
        crop_ratio: Aspect ratio of the crop.
        hflip: Probability of a flip.
        interpolation: Filter of the crop.
        rand_augment: timm's policy string, or None.
        erase_prob: Probability of erasing.
        erase_area: Erased part of the image.
        rotate: Largest rotation in degrees.
        translate: Largest shift, as a part of the side.

    Raises:
        ConfigError: The policy has a part that is not known here.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        crop_scale: tuple[float, float],
        crop_ratio: tuple[float, float],
        hflip: float,
        interpolation: Any,
        rand_augment: str | None,
        erase_prob: float,
        erase_area: tuple[float, float],
        rotate: float,
        translate: float,
    ) -> None:
        self.preprocess = preprocess
        self.crop_scale = crop_scale
        self.crop_ratio = crop_ratio
        self.hflip = hflip
        self.interpolation = interpolation
        self.erase_prob = erase_prob
        self.erase_area = erase_area
        self.rotate = rotate
        self.translate = translate
        self._fill = torch.tensor([float(round(255 * mean)) for mean in preprocess.mean])
        self.policy = BatchRandAugment(rand_augment, self._fill, interpolation) if rand_augment else None
        #: How many numbers a view takes.
        self.num_draws = 3 + 2 * _TRIES + 3 + (self.policy.num_draws if self.policy else 0) + 3 + 2 * _TRIES

    def __call__(self, images: torch.Tensor, draws: Numbers) -> torch.Tensor:
        """Return views (B, C, H, W), float32, normalized, of `images` (B, C, H, W), uint8.

        Args:
            images: Of the size that the views have.
            draws: Random numbers in [0, 1), (B, `num_draws`).
        """
        numbers = iter(draws.T)
        views = self._moved(images.float(), numbers)
        if self.policy is not None:
            views = self.policy(views, numbers)
        views = self.preprocess.normalize_pixels(views)
        return self._erased(views, numbers)

    def _moved(self, images: torch.Tensor, draws: Iterator[Numbers]) -> torch.Tensor:
        height, width = images.shape[-2:]
        angles = (2 * next(draws) - 1) * self.rotate
        x, y = (np.round((2 * next(draws) - 1) * self.translate * side) for side in (width, height))
        top, left, h, w = self._boxes(draws, height, width)
        flip = next(draws) < self.hflip
        if not (self.rotate or self.translate or flip.any() or (h < height).any() or (w < width).any()):
            return images
        maps = shifts(-x, -y) @ crops(top, left, h, w, flip, height, width)
        if self.rotate:
            maps = rotations(angles, height, width) @ maps
        return moved(images, maps, self._fill.to(images.device), self.interpolation)

    def _boxes(self, draws: Iterator[Numbers], height: int, width: int) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Return top, left, height and width (B,) of crops: the first of some that fits, or as much as the ratios let.

        Source: timm, `RandomResizedCropAndInterpolation`.
        """
        low, high = (math.log(ratio) for ratio in self.crop_ratio)
        area, ratio = _tries(draws)
        area = (self.crop_scale[0] + area * (self.crop_scale[1] - self.crop_scale[0])) * height * width
        ratio = np.exp(low + ratio * (high - low))
        w, h = _sides(area, ratio)
        fits = (w <= width) & (h <= height)
        whole_w = min(width, round(height * self.crop_ratio[1]))
        whole_h = min(height, round(width / self.crop_ratio[0]))
        h, w = (np.maximum(_first(fits, sides, whole), 1) for sides, whole in ((h, whole_h), (w, whole_w)))
        # Where none fits, the box is in the middle.
        top, left = (np.floor(next(draws) * (side - box + 1)) for side, box in ((height, h), (width, w)))
        none = ~fits.any(1)
        top[none], left[none] = (height - whole_h) // 2, (width - whole_w) // 2
        return top, left, h, w

    def _erased(self, views: torch.Tensor, draws: Iterator[Numbers]) -> torch.Tensor:
        """Return `views` with a box of noise in some.

        Source: timm, `RandomErasing` (mode "pixel", one box).
        """
        height, width = views.shape[-2:]
        is_erased = next(draws) < self.erase_prob
        area, ratio = _tries(draws)
        area = (self.erase_area[0] + area * (self.erase_area[1] - self.erase_area[0])) * height * width
        ratio = np.exp(_LOG_RATIO[0] + ratio * (_LOG_RATIO[1] - _LOG_RATIO[0]))
        h, w = _sides(area, ratio)
        fits = (h < height) & (w < width)
        h, w = _first(fits, h, 0), _first(fits, w, 0)
        top, left = (np.floor(next(draws) * (side - box + 1)) for side, box in ((height, h), (width, w)))
        if not is_erased.any():
            return views
        h = h * is_erased  # a box without height covers nothing
        edges = torch.from_numpy(np.stack([top, top + h, left, left + w], 1).astype(np.float32))
        edges = edges.to(views.device, non_blocking=True)[:, :, None, None]  # (B, 4, 1, 1)
        rows = torch.arange(height, device=views.device)[None, :, None]
        columns = torch.arange(width, device=views.device)[None, None, :]
        in_rows = (rows >= edges[:, 0]) & (rows < edges[:, 1])
        box = in_rows & (columns >= edges[:, 2]) & (columns < edges[:, 3])  # (B, H, W)
        return torch.where(box[:, None], torch.randn_like(views), views)


def _tries(draws: Iterator[Numbers]) -> tuple[Numbers, Numbers]:
    """Return two numbers for each try, (B, tries) each."""
    first, second = (np.stack([next(draws) for _ in range(_TRIES)], 1) for _ in range(2))
    return first, second


def _sides(area: Numbers, ratio: Numbers) -> tuple[Numbers, Numbers]:
    """Return the longer side for ratios above 1, and the other one."""
    first: Numbers = np.rint(np.sqrt(area * ratio))
    second: Numbers = np.rint(np.sqrt(area / ratio))
    return first, second


def _first(fits: NDArray[np.bool_], values: Numbers, otherwise: float) -> Numbers:
    """Return the first of `values` (B, tries) that `fits`, (B,)."""
    chosen = np.take_along_axis(values, fits.argmax(1)[:, None], 1)[:, 0]
    return np.where(fits.any(1), chosen, otherwise)
