"""What training does to pictures and to batches: the published recipe, with timm's operations.

B batch, C channels, (H, W) image size, K classes.

Source: timm, `data/transforms_factory.py`; MMPretrain, `configs/_base_/datasets/imagenet_bs64_t2t_224.py`.
"""

from __future__ import annotations

import hashlib
import random
import struct
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.mixup import Mixup
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision import transforms

from t2t_vit.data.erasing import Patch, draw_patch
from t2t_vit.data.preprocess import Preprocess, channels_first
from t2t_vit.data.rand_augment import rand_augment as rand_augment_of
from t2t_vit.data.resized_crop import resized_crop
from t2t_vit.errors import ConfigError


class Augment:
    """Turns a picture into one of its many training views: crop, flip, RandAugment, erase.

    Views stay bytes: where batches are put together and sent to other processes, most of the time is memory traffic, of
    which floats are four times as much (benchmarks/README.md). They are normalized as a batch, on the device.

    Its randomness is that of Python's, NumPy's and torch's global generators, which the loader seeds for each sample.

    Args:
        preprocess: Gives the size, mean and std that the view must have.
        crop_scale: Area of the crop, as a part of the picture.
        crop_ratio: Aspect ratio of the crop.
        hflip: Probability of a flip.
        interpolation: Resize filter.
        rand_augment: timm's policy string, or None.
        erase_prob: Probability of erasing.
        erase_area: Erased part of the picture.
        rotate: Largest rotation in degrees.
        translate: Largest shift, as a part of the side.

    Raises:
        ConfigError: timm does not know the policy.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        crop_scale: tuple[float, float],
        crop_ratio: tuple[float, float],
        hflip: float,
        interpolation: str,
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
        self.resample = Image.Resampling[interpolation.upper()]
        # Pillow has no affine transform with Lanczos' filter.
        moving = Image.Resampling.BICUBIC if interpolation == "lanczos" else self.resample
        fill = tuple(round(255 * m) for m in preprocess.mean)
        self.affine = (
            transforms.RandomAffine(
                rotate,
                translate=(translate, translate),
                interpolation=transforms.InterpolationMode(moving.name.lower()),
                fill=list(fill),
            )
            if rotate or translate
            else None
        )
        self.policy = rand_augment_of(rand_augment, min(preprocess.img_size), fill, moving) if rand_augment else None
        self.erase_prob = erase_prob
        self.erase_area = erase_area

    def __call__(self, image: Image.Image) -> tuple[torch.Tensor, Patch | None]:
        """Return a view (C, H, W), uint8, of a picture in the mode that `preprocess` asks for, and what covers it."""
        if self.affine is not None:
            image = self.affine(image)
        view = self._crop(image)
        if random.random() < self.hflip:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.policy is not None:
            view = self.policy(view)
        pixels = channels_first(view)
        return pixels, draw_patch(pixels.shape, self.erase_prob, self.erase_area)

    def _crop(self, image: Image.Image) -> Image.Image:
        draw: Any = RandomResizedCropAndInterpolation.get_params
        top, left, height, width = draw(image, self.crop_scale, self.crop_ratio)
        # Of a picture of a pixel or two, timm draws crops without any.
        left, top = min(left, image.width - 1), min(top, image.height - 1)
        box = (left, top, left + max(width, 1), top + max(height, 1))
        return resized_crop(image, box, self.preprocess.img_size, self.resample)


class Mix:
    """Mixup or CutMix of a batch with itself, reversed; each batch takes one of the two, evenly.

    Its randomness is that of NumPy's global generator.

    Args:
        num_classes: K.
        mixup: Alpha of Mixup; 0: off.
        cutmix: Alpha of CutMix; 0: off.
        label_smoothing: Part of the target that is spread over all classes.
    """

    def __init__(self, num_classes: int, mixup: float, cutmix: float, label_smoothing: float) -> None:
        self._mix = Mixup(
            mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=label_smoothing, num_classes=num_classes
        )

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mixed `images` (B, C, H, W; B even) and soft targets (B, K) of `labels` (B,).

        Raises:
            ConfigError: B is odd: a data set of one image leaves a batch of one.
        """
        if len(images) % 2:
            raise ConfigError(
                f"a batch has {len(images)} images and Mixup and CutMix pair them; take more images, "
                "or switch both off with augmentation.mixup=0 augmentation.cutmix=0"
            )
        mixed, targets = self._mix(images, labels)
        return mixed, targets


def seed_everything(*key: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, those of all devices, from `key`.

    Equal keys give equal draws.
    """
    torch.manual_seed(_seed_python_and_numpy(key))


def seed_sample(*key: int) -> None:
    """Do as `seed_everything`, but for the CPU alone, where one image is augmented.

    `torch.manual_seed` writes down a stack trace for each kind of device at every call, which takes longer than a small
    image's augmentation.
    """
    torch.default_generator.manual_seed(_seed_python_and_numpy(key))


def _seed_python_and_numpy(key: tuple[int, ...]) -> int:
    """Seed both from `key` and return a seed of 64 bits for torch."""
    # A hash, as np.random.SeedSequence takes longer than the rest together.
    digest = hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=20).digest()
    for_python, for_numpy, for_torch = struct.unpack("<QIQ", digest)
    random.seed(for_python)
    np.random.seed(for_numpy)
    return int(for_torch)
