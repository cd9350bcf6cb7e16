"""RandAugment of whole batches, on the device where they are: timm's policies, with timm's probabilities and amounts.

B batch, C channels, (H, W) image size.

Source: timm, `data/auto_augment.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from t2t_vit.data.resident import operations
from t2t_vit.data.resident.geometry import Maps, identities, moved, rotations, shears, shifts
from t2t_vit.errors import ConfigError

Numbers = NDArray[np.float64]

_MOST: Final = 10.0  # the highest magnitude
#: Draws for an operation: which, whether, how strong, which way.
_DRAWS: Final = 4


def _part(most: float) -> Callable[[Numbers], Numbers]:
    return lambda level: level / _MOST * most


def _whole(level: Numbers, most: float) -> Numbers:
    return np.trunc(level / _MOST * most)


def _unsigned_factor(level: Numbers) -> Numbers:
    return level / _MOST * 1.8 + 0.1


#: How much a level of 0 to 10 is. What is signed goes either way; a factor is 1 more or less.
_AMOUNTS: Final[dict[str, Callable[[Numbers], Numbers]]] = {
    "AutoContrast": np.zeros_like,
    "Equalize": np.zeros_like,
    "Invert": np.zeros_like,
    "SolarizeAdd": lambda level: np.minimum(128, _whole(level, 110)),
    "Rotate": _part(30.0),
    "ShearX": _part(0.3),
    "ShearY": _part(0.3),
    "TranslateXRel": _part(0.45),
    "TranslateYRel": _part(0.45),
}
_RISING: Final = _AMOUNTS | {
    "Posterize": lambda level: 4 - _whole(level, 4),
    "Solarize": lambda level: 256 - np.minimum(256, _whole(level, 256)),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _part(0.9)),
}
_AS_PUBLISHED: Final = _AMOUNTS | {
    "Posterize": partial(_whole, most=4),
    "Solarize": lambda level: np.minimum(256, _whole(level, 256)),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _unsigned_factor),
}
_SIGNED: Final = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
_FACTORS: Final = {"Color", "Contrast", "Brightness", "Sharpness"}
_ON_PIXELS: Final = {
    "AutoContrast": operations.on_colours(operations.auto_contrast),
    "Equalize": operations.on_colours(operations.equalize),
    "Invert": operations.on_colours(operations.invert),
    "Posterize": operations.on_colours(operations.posterize),
    "Solarize": operations.on_colours(operations.solarize),
    "SolarizeAdd": operations.on_colours(operations.solarize_add),
    "Color": operations.on_colours(operations.color),
    "Contrast": operations.on_colours(operations.contrast),
    "Brightness": operations.on_colours(operations.brightness),
    "Sharpness": operations.on_colours(operations.sharpness),
}


class BatchRandAugment:
    """Applies operations, drawn for each image of a batch.

    Args:
        policy: timm's policy string: ``rand-m9-n2-mstd0.5-inc1``, of which ``p`` (probability of an operation) and
            ``mmax`` (highest magnitude) may be parts, too.
        fill: What shows where an image is moved away (C,), 0 to 255.
        interpolation: Filter of what moves pixels.

    Raises:
        ConfigError: The policy has a part that is not known here.
    """

    def __init__(self, policy: str, fill: torch.Tensor, interpolation: Any) -> None:
        settings = _parsed(policy)
        self.magnitude = settings.get("m", _MOST)
        self.count = int(settings.get("n", 2))
        self.deviation = settings.get("mstd", 0.0)
        self.most = settings.get("mmax", _MOST)
        self.probability = settings.get("p", 0.5)
        self.amounts = _RISING if settings.get("inc", 0.0) else _AS_PUBLISHED
        self.names = tuple(self.amounts)
        self.num_draws = _DRAWS * self.count
        self._fill = fill
        self._interpolation = interpolation

    def __call__(self, images: torch.Tensor, draws: Iterator[Numbers]) -> torch.Tensor:
        """Return images (B, C, H, W), 0 to 255, after their operations; `draws` gives (B,) in [0, 1) at a time."""
        for _ in range(self.count):
            which = (next(draws) * len(self.names)).astype(np.int64)
            which[next(draws) >= self.probability] = -1
            levels = self._levels(next(draws))
            signs = np.where(next(draws) < 0.5, -1.0, 1.0)
            images = self._apply(images, which, levels, signs)
        return images

    def amount_of(self, name: str, levels: Numbers, signs: Numbers) -> Numbers:
        """Return what the operation `name` takes at `levels` (b,), 0 to 10."""
        amounts = self.amounts[name](levels)
        if name in _SIGNED:
            return amounts * signs
        if name in _FACTORS and self.amounts is _RISING:
            return np.maximum(0.1, 1 + amounts * signs)
        return amounts

    def _levels(self, uniform: Numbers) -> Numbers:
        if self.deviation == np.inf:
            levels = uniform * self.magnitude
        else:
            # 0 is drawn once in 2**53, and would be minus infinity.
            normal = torch.special.ndtri(torch.from_numpy(np.maximum(uniform, 2.0**-54))).numpy()
            levels = self.magnitude + self.deviation * normal
        clipped: Numbers = np.clip(levels, 0.0, self.most)
        return clipped

    def _apply(self, images: torch.Tensor, which: NDArray[np.int64], levels: Numbers, signs: Numbers) -> torch.Tensor:
        images = images.clone()
        maps, height, width = identities(len(images)), *images.shape[-2:]
        is_moved = np.zeros(len(images), bool)
        for number, name in enumerate(self.names):
            mine = np.flatnonzero(which == number)
            if not len(mine):
                continue
            amounts = self.amount_of(name, levels[mine], signs[mine])
            if name in _ON_PIXELS:
                index = torch.from_numpy(mine).to(images.device, non_blocking=True)
                amount = torch.from_numpy(amounts.astype(np.float32)).to(images.device, non_blocking=True)
                images[index] = _ON_PIXELS[name](images[index], amount)
            else:
                is_moved[mine] = True
                maps[mine] = _map_of(name, amounts, height, width)
        if is_moved.any():
            index = torch.from_numpy(np.flatnonzero(is_moved)).to(images.device, non_blocking=True)
            images[index] = moved(images[index], maps[is_moved], self._fill.to(images.device), self._interpolation)
        return images


def _map_of(name: str, amounts: Numbers, height: int, width: int) -> Maps:
    none = np.zeros_like(amounts)
    if name == "Rotate":
        return rotations(amounts, height, width)
    if name.startswith("Shear"):
        return shears(*((amounts, none) if name == "ShearX" else (none, amounts)))
    return shifts(*((amounts * width, none) if name == "TranslateXRel" else (none, amounts * height)))


def _parsed(policy: str) -> dict[str, float]:
    """Return the numbers in timm's policy string."""
    name, *parts = policy.split("-")
    settings: dict[str, float] = {}
    for part in parts:
        match = re.fullmatch(r"(mstd|mmax|inc|m|n|p)([0-9.]+|inf)", part)
        if name != "rand" or match is None:
            break
        settings[match[1]] = float(match[2])
    else:
        if name == "rand":
            # Beyond 100, timm takes it that the deviation has no bounds.
            return settings | ({"mstd": np.inf} if settings.get("mstd", 0.0) > 100 else {})
    raise ConfigError(
        f"augmentation.rand_augment is {policy!r}; with data.in_memory it is made of m, n, mstd, mmax, inc and p, such "
        "as 'rand-m9-n2-mstd0.5-inc1'"
    )
