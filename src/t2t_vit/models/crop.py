"""How much of a picture a model sees, in pixels and as a part of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


def resize_of(img_size: tuple[int, int], crop_pct: float, crop_mode: str) -> int | tuple[int, int]:
    """Return what pictures are resized to before `img_size` (H, W) is cropped: the short edge, or (height, width).

    Args:
        img_size: Height and width of the crop in pixels.
        crop_pct: Part of the resized picture's sides that is cropped, above 0 to 1.
        crop_mode: ``squash``: both sides are resized, whatever the proportions were; else the short edge is.
    """
    height, width = (int(side / crop_pct) for side in img_size)
    return (height, width) if crop_mode == "squash" else min(height, width)


def crop_of(img_size: Sequence[int], resize: int | Sequence[int] | None) -> tuple[float, str] | None:
    """Return (crop_pct, crop_mode) of which `resize_of` makes `resize`, in as few digits as say it.

    None: none do, as the size is kept, less than what is cropped, or the two sides are scaled differently.
    """
    if resize is None:
        return None
    mode = "center" if isinstance(resize, int) else "squash"
    wanted = (resize,) if isinstance(resize, int) else tuple(resize)
    cropped = (min(img_size),) if isinstance(resize, int) else tuple(img_size)
    # A side is resized to w pixels by side / (w + 1) < crop_pct <= side / w. From above, in more and more digits;
    # the next lower number, too, as a quotient of floating point numbers can fall just short of w.
    highest = min(Fraction(1), *map(Fraction, cropped, wanted))
    for digits, less in itertools.product(range(1, 18), range(2)):
        crop_pct = (math.floor(highest * 10**digits) - less) / 10**digits
        if crop_pct > 0 and tuple(int(side / crop_pct) for side in cropped) == wanted:
            return crop_pct, mode
    return None


def preprocessing_at(preprocessing: Mapping[str, Any], img_size: tuple[int, int]) -> dict[str, Any]:
    """Return `preprocessing` for images of `img_size` (H, W): the same part of a picture is cropped.

    Args:
        preprocessing: Arguments of `t2t_vit.data.preprocess`.
        img_size: Height and width in pixels.
    """
    before, resize = preprocessing["img_size"], preprocessing["resize"]
    crop = crop_of(before, resize)
    if crop is not None:
        resize = resize_of(img_size, *crop)
    elif resize is not None:  # two sides that are scaled differently stay so
        resize = tuple(old * new // side for old, new, side in zip(resize, img_size, before, strict=True))
    return {**preprocessing, "img_size": img_size, "resize": resize}
