"""Soft split: neighbouring tokens, overlapping, are concatenated into one longer token.

B batch, C channels, (H, W) token grid before, (h, w) after, N = h * w, k kernel size.

Source: paper section 3.1, "Soft Split".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from t2t_vit.errors import ConfigError


class SplitSize(NamedTuple):
    """Geometry of one soft split, in tokens (in pixels for the first one)."""

    kernel: int
    stride: int
    padding: int

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the token grid (h, w) that comes of a grid (H, W); below 1 if the input is too small."""

        def one(size: int) -> int:
            return (size + 2 * self.padding - self.kernel) // self.stride + 1

        return one(height), one(width)


def token_grids(soft_splits: Sequence[SplitSize], height: int, width: int) -> list[tuple[int, int]]:
    """Return the token grid (h, w) after each soft split of an image of (H, W).

    Raises:
        ConfigError: The image is too small: a grid would have no token.
    """
    grids = []
    grid = height, width
    for size in soft_splits:
        grid = size.grid(*grid)
        if min(grid) < 1:
            raise ConfigError(
                f"an image of {height}×{width} pixels is too small for the soft splits "
                f"{[tuple(s) for s in soft_splits]}: no token is left; use larger images or gentler strides"
            )
        grids.append(grid)
    return grids


class SoftSplit(nn.Module):
    """Unfold a token grid into overlapping windows, one token a window. It has no parameters."""

    def __init__(self, size: SplitSize) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the windows of `x` (B, C, H, W) as tokens (B, N, C * k * k), channel-major."""
        windows = F.unfold(x, self.size.kernel, stride=self.size.stride, padding=self.size.padding)
        return windows.transpose(1, 2)  # (B, N, C*k*k)

    def extra_repr(self) -> str:
        """Return what is shown in the brackets of the module's line."""
        return f"kernel={self.size.kernel}, stride={self.size.stride}, padding={self.size.padding}"


class SoftSplitProjection(nn.Linear):
    """The last soft split and the linear projection after it, computed as the one convolution they are.

    The parameters keep the shape of the official ``tokens_to_token.project``: (D, C * k * k), (D,).
    """

    def __init__(self, in_chans: int, embed_dim: int, size: SplitSize) -> None:
        super().__init__(in_chans * size.kernel**2, embed_dim)
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of the grid `x` (B, C, H, W)."""
        kernel = self.weight.view(self.out_features, x.shape[1], self.size.kernel, self.size.kernel)
        x = F.conv2d(x, kernel, self.bias, self.size.stride, self.size.padding)  # (B, D, h, w)
        return x.flatten(2).transpose(1, 2)  # (B, N, D)
