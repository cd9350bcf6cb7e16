"""What training does to pictures and to batches: the published recipe, with timm's operations.

B batch, C channels, (H, W) image size, K classes.

Source: timm, `data/transforms_factory.py`; MMPretrain, `configs/_base_/datasets/imagenet_bs64_t2t_224.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from timm.data.auto_augment import rand_augment_transform
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torchvision import transforms

from t2t_vit.data.preprocess import Preprocess
from t2t_vit.errors import ConfigError

#: timm's operations on colours that refuse pictures with an alpha channel.
_ON_COLOURS_ALONE = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize")


class Augment:
    """Turns a picture into one of its many training views: crop, flip, RandAugment, normalize, erase.

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
        resample = transforms.InterpolationMode(interpolation)
        fill = tuple(round(255 * m) for m in preprocess.mean)
        steps: list[Any] = []
        if rotate or translate:
            steps.append(
                transforms.RandomAffine(
                    rotate,
                    translate=(translate, translate),
                    interpolation=_affine_filter(resample),
                    fill=list(fill),
                )
            )
        steps.append(
            transforms.RandomResizedCrop(
                preprocess.img_size, scale=crop_scale, ratio=crop_ratio, interpolation=resample
            )
        )
        if hflip:
            steps.append(transforms.RandomHorizontalFlip(hflip))
        if rand_augment:
            steps.append(_rand_augment(rand_augment, min(preprocess.img_size), fill, resample))
        self.view = transforms.Compose(steps)
        low, high = erase_area
        self.erase = RandomErasing(erase_prob, min_area=low, max_area=high, mode="pixel", device="cpu")

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return a view (C, H, W), float32, of a picture in the mode that `preprocess` asks for."""
        view = self.preprocess.normalize(self.view(image))
        erased: torch.Tensor = self.erase(view)
        return erased


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
    import random

    words = np.random.SeedSequence(key).generate_state(4, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    return int(words[2]) << 32 | int(words[3])


def _rand_augment(policy: str, side: int, fill: tuple[int, ...], resample: Any) -> Any:
    hparams = {
        "translate_const": int(side * 0.45),
        "img_mean": fill if len(fill) > 1 else fill[0],
        "interpolation": getattr(Image.Resampling, _affine_filter(resample).name),
    }
    try:
        augment = rand_augment_transform(policy, hparams)
    except (AssertionError, KeyError, ValueError) as error:
        raise ConfigError(
            f"augmentation.rand_augment is {policy!r}, which timm does not take ({error!r}); "
            "expected a policy such as 'rand-m9-n2-mstd0.5-inc1'"
        ) from None
    for operation in augment.ops:
        # At its strongest, one draw in 640 of the recipe, timm asks for 0 bits, which Pillow 13 refuses.
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize
        if operation.name.startswith(_ON_COLOURS_ALONE):
            operation.aug_fn = partial(_on_colours, operation.aug_fn)
    return augment


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    return image if bits >= 8 else ImageOps.posterize(image, max(bits, 1))


def _on_colours(operation: Callable[..., Image.Image], image: Image.Image, *args: Any, **kwargs: Any) -> Image.Image:
    """Return `operation` on the colours of `image`; an alpha channel stays as it is."""
    if image.mode != "RGBA":
        return operation(image, *args, **kwargs)
    changed = operation(image.convert("RGB"), *args, **kwargs)
    changed.putalpha(image.getchannel("A"))
    return changed


def _affine_filter(resample: Any) -> Any:
    """Return `resample`, or bicubic for the one that Pillow has no affine transform with."""
    modes = transforms.InterpolationMode
    return modes.BICUBIC if resample == modes.LANCZOS else resample
