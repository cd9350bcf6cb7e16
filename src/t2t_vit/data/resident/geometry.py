"""Moves the pixels of whole batches: each image by an affine map of its own, on the device where it is.

B batch, C channels, (H, W) image size. Coordinates are pixels, x to the right and y down, with 0 at the left and upper
edges: the middle of the first pixel is (0.5, 0.5). A map (B, 3, 3) leads from the output to the input.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Maps = NDArray[np.float64]

_MODES: Final = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "bicubic"}
#: What may look beyond the edge by rounding alone.
_SLACK: Final = 1e-4


def moved(
    images: torch.Tensor,
    maps: Maps,
    fill: torch.Tensor,
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"],
) -> torch.Tensor:
    """Return `images` (B, C, H, W), 0 to 255, of which each output pixel is what `maps` says; `fill` (C,) beyond them.

    Nothing is averaged where an image shrinks. Values are whole numbers again.
    """
    height, width = images.shape[-2:]
    to_unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1]])
    theta = torch.from_numpy((to_unit @ maps).astype(np.float32)).to(images.device, non_blocking=True)  # (B, 2, 3)
    x, y = (torch.arange(side, device=images.device) + 0.5 for side in (width, height))
    grid = theta[:, None, None, :, 2] + x[None, None, :, None] * theta[:, None, None, :, 0]
    grid = grid + y[None, :, None, None] * theta[:, None, None, :, 1]  # (B, H, W, 2)
    mode = _MODES[interpolation]
    sampled = F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1 + _SLACK).all(-1)[:, None]
    return torch.where(inside, sampled.round_().clamp_(0, 255), fill[:, None, None])


def identities(count: int) -> Maps:
    """Return maps (B, 3, 3) that move nothing."""
    return np.tile(np.eye(3), (count, 1, 1))


def shears(x: NDArray[np.float64], y: NDArray[np.float64]) -> Maps:
    """Return maps by which a pixel moves by `x` (B,) a row and `y` (B,) a column, from the upper left corner on."""
    maps = identities(len(x))
    maps[:, 0, 1], maps[:, 1, 0] = x, y
    return maps


def shifts(x: NDArray[np.float64], y: NDArray[np.float64]) -> Maps:
    """Return maps that look `x` (B,) pixels to the right and `y` (B,) down."""
    maps = identities(len(x))
    maps[:, 0, 2], maps[:, 1, 2] = x, y
    return maps


def rotations(degrees: NDArray[np.float64], height: int, width: int) -> Maps:
    """Return maps that turn images of (H, W) by `degrees` (B,) about their middle, against the clock."""
    angles = np.deg2rad(degrees)
    maps = identities(len(angles))
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angles)
    maps[:, 0, 1], maps[:, 1, 0] = -np.sin(angles), np.sin(angles)
    middle = np.array([width / 2, height / 2])
    maps[:, :2, 2] = middle - np.einsum("bij,j->bi", maps[:, :2, :2], middle)
    return maps


def crops(
    top: NDArray[np.float64], left: NDArray[np.float64], h: NDArray[np.float64], w: NDArray[np.float64],
    flip: NDArray[np.bool_], height: int, width: int,
) -> Maps:  # fmt: skip
    """Return maps that enlarge boxes (B,) to (H, W), mirrored where `flip` (B,) says so."""
    maps = identities(len(top))
    maps[:, 0, 0], maps[:, 1, 1] = np.where(flip, -w, w) / width, h / height
    maps[:, 0, 2], maps[:, 1, 2] = np.where(flip, left + w, left), top
    return maps
