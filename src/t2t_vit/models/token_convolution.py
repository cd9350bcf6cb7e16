"""Convolutional tokens: what the paper's ablation puts in the place of soft splits and their transformers.

B batch, C channels, (H, W) image size in pixels, N tokens, D embed_dim.

Source: paper table 7, "T2T-ViT_c": convolutions of 7/4, 3/2 and 3/2 (kernel/stride). The official code has the layers
but no forward for them, so nothing there can be compared with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from t2t_vit.models.soft_split import SplitSize, token_grids


class ConvolutionalTokens(nn.Module):
    """Pixels to tokens by one convolution a soft split, with nothing between them, as the paper describes."""

    def __init__(self, in_chans: int, embed_dim: int, token_dim: int, soft_splits: Sequence[SplitSize]) -> None:
        super().__init__()
        *splits, last = soft_splits
        width = in_chans
        for i, size in enumerate(splits):
            self.add_module(f"soft_split{i}", nn.Conv2d(width, token_dim, *size))
            width = token_dim
        self.project = nn.Conv2d(width, embed_dim, *last)
        self.soft_splits = tuple(soft_splits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of images `x` (B, C, H, W)."""
        token_grids(self.soft_splits, x.shape[-2], x.shape[-1])  # says what is wrong with a size that is too small
        for layer in self.children():
            x = layer(x)
        return x.flatten(2).transpose(1, 2)  # (B, N, D)
