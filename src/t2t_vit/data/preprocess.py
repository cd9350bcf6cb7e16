"""From a picture to the tensor that a model takes, as MMPretrain's test pipelines do it.

Resize, centre crop, scale to 0..1, normalise. Letters: C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from t2t_vit.data.decode import MAX_PIXELS, Mode, from_pil
from t2t_vit.errors import ConfigError, ImageError, nearest

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_FILTERS: Final = {name: Image.Resampling[name.upper()] for name in get_args(Interpolation)}
_MODES: Final[dict[int, Mode]] = {1: "L", 3: "RGB", 4: "RGBA"}
#: Pillow's names of the order in which a row's pixels come: first all of one channel, then all of the next.
_BY_ROWS: Final = {"L": "L", "RGB": "RGB;L", "RGBA": "RGBA;L"}


@dataclass(frozen=True)
class Preprocess:
    """Turns a picture into a model's input, alike in validation, testing and prediction.

        preprocess = Preprocess((224, 224), 248, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        preprocess(decode("bird.JPEG", preprocess.mode))                    # (3, 224, 224) float32

    Instances are plain values: they can be pickled, compared and printed.

    Args:
        img_size: (height, width) of the model's input, cropped from the centre.
        resize: Short edge before the crop, in pixels; or exactly (height, width); or None to keep the size.
            What would still be smaller than the crop is enlarged, in proportion, until it covers it.
        interpolation: Filter of the resize. It is Pillow's, to which every pixel counts where it shrinks.
        mean: Mean of each channel where white is 1. Their number says what a picture is: 1 grey, 3 RGB,
            4 RGBA.
        std: Standard deviation of each channel where white is 1.

    Raises:
        ConfigError: A value is out of range, or the values do not fit each other.

    Source: MMPretrain 1.2.0, `datasets/transforms/processing.py` (`ResizeEdge`, short edge, Pillow), mmcv 2.1
    `CenterCrop`, `models/utils/data_preprocessor.py`. Their mean and std are for white at 255.
    """

    img_size: tuple[int, int]
    resize: int | tuple[int, int] | None
    interpolation: Interpolation
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        # Lists come from JSON; as tuples the instance stays hashable and equal to its like.
        object.__setattr__(self, "img_size", _height_width("img_size", self.img_size))
        if self.resize is not None and not _is_count(self.resize):
            object.__setattr__(self, "resize", _height_width("resize", self.resize))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _floats(name, getattr(self, name)))
        self._check()

    @property
    def mode(self) -> Mode:
        """What to decode a picture to: the `mode` of `decode`, `from_pil` and `from_array`."""
        return _MODES[len(self.mean)]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return the model's input for a picture: (C, H, W) float32, normalised.

        Args:
            image: A picture of any size, best from `decode`; another one first goes through `from_pil`.

        Raises:
            ImageError: The picture is so long and narrow that the resize would burst memory.
        """
        return self.normalize(self.crop(image))

    def crop(self, image: Image.Image) -> Image.Image:
        """Return what the model sees of a picture: resized and cropped to `img_size`, in `mode`.

        Raises:
            ImageError: The picture is so long and narrow that the resize would burst memory.
        """
        # What `decode` returns carries no metadata; what does may yet have to be turned, or laid over white.
        if image.mode != self.mode or image.info:
            image = from_pil(image, self.mode)
        height, width = self._resized(image.height, image.width)
        if (width, height) != image.size:
            image = image.resize((width, height), _FILTERS[self.interpolation])
        crop_height, crop_width = self.img_size
        top = round((height - crop_height) / 2)
        left = round((width - crop_width) / 2)
        return image.crop((left, top, left + crop_width, top + crop_height))

    def normalize(self, image: Image.Image) -> torch.Tensor:
        """Return a picture's pixels, of 8 bits in `mode`, as a (C, H, W) float32 tensor."""
        return self.normalize_pixels(channels_first(image))

    def normalize_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels (..., C, H, W), uint8, as float32 on the same device: (value - mean) / std."""
        mean, std = (values.to(pixels.device, non_blocking=True) for values in self._mean_std_of_255())
        return pixels.float().sub_(mean[:, None, None]).div_(std[:, None, None])

    def denormalize(self, tensor: torch.Tensor) -> NDArray[np.uint8]:
        """Return the pixels that a normalised tensor stands for, to be looked at.

        Args:
            tensor: (C, H, W) or (B, C, H, W), on any device.

        Returns:
            (H, W, C) or (B, H, W, C) uint8, the channels as in `mode`.
        """
        pixels = tensor.detach().to("cpu", torch.float32).movedim(-3, -1)  # (..., H, W, C)
        mean, std = self._mean_std_of_255()
        array: NDArray[np.uint8] = (pixels * std + mean).round().clamp(0, 255).to(torch.uint8).numpy()
        return array

    def _mean_std_of_255(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and std, (C,) each, where white is 255.

        With the pixels divided by 255 instead, float32 would round otherwise than in the reference.
        """
        mean, std = (torch.tensor([255 * value for value in values]) for values in (self.mean, self.std))
        return mean, std

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) to resize a picture to: never less than `img_size`."""
        if isinstance(self.resize, tuple):
            return self.resize
        size = (height, width)
        if self.resize is not None:
            # The reference computes in this order and truncates; other roundings are a pixel off.
            size = (
                (int(self.resize * height / width), self.resize)
                if width < height
                else (self.resize, int(self.resize * width / height))
            )
        crop_height, crop_width = self.img_size
        if size[0] < crop_height or size[1] < crop_width:
            scale = max(crop_height / height, crop_width / width)
            size = (max(crop_height, int(height * scale)), max(crop_width, int(width * scale)))
        if size[0] * size[1] > MAX_PIXELS:
            raise ImageError(
                f"A picture of height {height} and width {width} is too narrow: "
                f"it would be resized to {size[0]} x {size[1]} before the crop."
            )
        return size

    def _check(self) -> None:
        """Refuse values that fit no picture."""
        if self.interpolation not in _FILTERS:
            raise ConfigError(
                f"interpolation is {self.interpolation!r}; expected one of {', '.join(map(repr, _FILTERS))}."
                f"{nearest(str(self.interpolation), _FILTERS)}"
            )
        if len(self.mean) not in _MODES or len(self.std) != len(self.mean):
            raise ConfigError(
                f"mean has {len(self.mean)} values and std {len(self.std)}; "
                "expected as many as a picture has channels: 1 (grey), 3 (RGB) or 4 (RGBA)."
            )
        if not all(0 <= value <= 1 for value in self.mean) or not all(0 < value <= 1 for value in self.std):
            raise ConfigError(
                f"mean is {self.mean} and std {self.std}; expected values from 0 to 1, std above 0. "
                "White is 1 here: divide by 255 what was meant for white at 255."
            )
        height, width = self.img_size
        too_small = (
            self.resize < min(height, width)
            if isinstance(self.resize, int)
            else self.resize is not None and (self.resize[0] < height or self.resize[1] < width)
        )
        if too_small:
            raise ConfigError(
                f"resize is {self.resize}, smaller than img_size {self.img_size}, which is cropped from it."
            )


def channels_first(image: Image.Image) -> torch.Tensor:
    """Return the pixels of a picture of 8 bits as a (C, H, W) uint8 tensor."""
    # Pillow packs a row channel by channel faster than NumPy takes the channels apart.
    rows = np.frombuffer(image.tobytes("raw", _BY_ROWS[image.mode]), np.uint8).reshape(image.height, -1, image.width)
    return torch.from_numpy(rows.transpose(1, 0, 2).copy())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _height_width(name: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, Sequence) or len(value) != 2 or not all(map(_is_count, value)):
        raise ConfigError(f"{name} is {value!r}; expected (height, width) in pixels, such as (224, 224).")
    return (value[0], value[1])


def _floats(name: str, values: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is {values!r}; expected one number for each channel.") from None
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{name} is {values!r}; expected finite numbers.")
    return numbers
