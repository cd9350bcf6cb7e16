"""RandAugment: timm draws, and most operations are timm's; those that take most of its time are done faster here.

Source: timm, `data/auto_augment.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps
from timm.data.auto_augment import rand_augment_transform

from t2t_vit.data.sharpness import sharpness
from t2t_vit.data.shear import shear_x, shear_y, translate_x, translate_y
from t2t_vit.errors import ConfigError

#: timm's operations on colours that refuse pictures with an alpha channel.
_ON_COLOURS_ALONE = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize")


def rand_augment(policy: str, side: int, fill: tuple[int, ...], resample: Image.Resampling) -> Any:
    """Return timm's transform for `policy`, which draws from Python's and NumPy's global generators.

    Args:
        policy: timm's policy string.
        side: Of the view, in pixels; the shorter one.
        fill: What shows where a picture is moved away: a value for each channel.
        resample: Filter of what moves pixels.

    Raises:
        ConfigError: timm does not know the policy.
    """
    hparams = {
        "translate_const": int(side * 0.45),
        "img_mean": fill if len(fill) > 1 else fill[0],
        "interpolation": resample,
    }
    try:
        augment = rand_augment_transform(policy, hparams)
    except (AssertionError, KeyError, ValueError) as error:
        raise ConfigError(
            f"augmentation.rand_augment is {policy!r}, which timm does not take ({error!r}); "
            "expected a policy such as 'rand-m9-n2-mstd0.5-inc1'"
        ) from None
    # timm draws from a list, which NumPy makes an array of for every picture.
    operations = np.empty(len(augment.ops), object)
    operations[:] = augment.ops
    for operation in augment.ops:
        # At its strongest, one draw in 640 of the recipe, timm asks for 0 bits, which Pillow 13 refuses.
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize
        if operation.name.startswith(_ON_COLOURS_ALONE):
            operation.aug_fn = partial(_on_colours, operation.aug_fn)
        if operation.name in _SHORTCUTS:
            operation.aug_fn = partial(_move, operation.aug_fn, _SHORTCUTS[operation.name])
        if operation.name.startswith("Sharpness"):
            operation.aug_fn = partial(_sharpness, operation.aug_fn)
    augment.ops = operations
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


def _move(
    operation: Callable[..., Image.Image],
    shortcut: Callable[[Image.Image, float, tuple[int, int, int]], Image.Image],
    image: Image.Image,
    amount: float,
    *,
    fillcolor: Any,
    resample: Image.Resampling,
) -> Image.Image:
    """Return what timm's `operation` gives, by its `shortcut` where that can do it."""
    if image.mode == "RGB" and resample == Image.Resampling.BICUBIC:
        return shortcut(image, amount, fillcolor)
    return operation(image, amount, fillcolor=fillcolor, resample=resample)


def _sharpness(operation: Callable[..., Image.Image], image: Image.Image, factor: float, **_: Any) -> Image.Image:
    return sharpness(image, factor) if image.mode == "RGB" else operation(image, factor)


_SHORTCUTS: Final = {
    "ShearX": shear_x, "ShearY": shear_y, "TranslateXRel": translate_x, "TranslateYRel": translate_y,
}  # fmt: skip
