"""RandAugment's operations on whole batches, each image with an amount of its own, on the device where they are.

b images, C channels, (H, W) image size. Pixels are whole numbers from 0 to 255 in float32, as Pillow has them in bytes.

Source: timm, `data/auto_augment.py`; Pillow, `ImageOps` and `ImageEnhance`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F

Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LUMINANCE: Final = (0.299, 0.587, 0.114)


def auto_contrast(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Stretch each channel from its darkest to its brightest value over the whole range."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    # Pillow's table is of whole numbers, cut and not rounded; the thousandth keeps floats from falling short of one.
    stretched = ((images - low) * (255 / (high - low).clamp(min=1)) + 1e-3).floor().clamp(0, 255)
    return torch.where(high > low, stretched, images)


def equalize(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Make the values of each channel as frequent as each other."""
    values = images.long().flatten(2)  # (b, C, H*W)
    counts = torch.zeros(*values.shape[:2], 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(2, keepdim=True))  # (b, C, 1): how many are of the brightest value
    step = (values.shape[2] - last) // 255
    table = (step // 2 + counts.cumsum(2) - counts) // step.clamp(min=1)
    spread = table.clamp(0, 255).gather(2, values).view_as(images)
    return torch.where((step > 0)[..., None], spread.to(images.dtype), images)


def invert(images: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Make bright what is dark."""
    return 255 - images


def posterize(images: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Keep the upper `bits` of each value."""
    unit = torch.exp2(8 - bits.clamp(1, 8))[:, None, None, None]
    return (images / unit).floor() * unit


def solarize(images: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Invert what is as bright as `threshold` or brighter."""
    return torch.where(images < threshold[:, None, None, None], images, 255 - images)


def solarize_add(images: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Make the darker half brighter by `amount`."""
    return torch.where(images < 128, (images + amount[:, None, None, None]).clamp(max=255), images)


def color(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Take images away from grey, or closer to it."""
    return _blended(_grey(images).expand_as(images), images, factor)


def contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Take images away from their mean grey, or closer to it."""
    return _blended((_grey(images).mean((2, 3), keepdim=True) + 0.5).floor(), images, factor)


def brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Make images brighter or darker."""
    return _blended(torch.zeros_like(images), images, factor)


def sharpness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Take images away from their smoothed selves, or closer to them; the outermost pixels stay."""
    channels = images.shape[1]
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    kernel = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    smooth = images.clone()
    if min(images.shape[-2:]) > 2:
        smooth[..., 1:-1, 1:-1] = (F.conv2d(images, kernel, groups=channels) + 1e-3).round()
    return _blended(smooth, images, factor)


def on_colours(operation: Operation) -> Operation:
    """Return `operation` for images that may have an alpha channel, which stays as it is."""

    def apply(images: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
        if images.shape[1] != 4:
            return operation(images, amount)
        return torch.cat([operation(images[:, :3], amount), images[:, 3:]], dim=1)

    return apply


def _grey(images: torch.Tensor) -> torch.Tensor:
    """Return the luminance (b, 1, H, W) of RGB images, or grey ones as they are."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(_LUMINANCE)
    return (images[:, :3] * weights[:, None, None]).sum(1, keepdim=True).round()


def _blended(origin: torch.Tensor, images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return what lies `factor` of the way from `origin` to `images`, cut to bytes as Pillow does it."""
    return (origin + (images - origin) * factor[:, None, None, None] + 1e-3).clamp(0, 255).floor()
