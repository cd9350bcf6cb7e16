"""Layers whose output is appended to their input, as in DenseNet: T2T-ViT-Dense.

B batch, N tokens, D width before a layer, G growth rate.

Source: paper section 3.2 and appendix; Huang et al., Densely Connected Convolutional Networks, 2017; official code,
``models/t2t_vit_dense.py``.
"""

from __future__ import annotations

import torch
from torch import nn

from t2t_vit.models.encoder import Attention, Block, Mlp


class DenseBlock(Block):
    """An encoder layer that appends G channels to what it was given."""

    def __init__(self, dim: int, growth_rate: int, num_heads: int, mlp_ratio: float, drop_path_rate: float) -> None:
        super().__init__(dim, Attention(dim, num_heads), Mlp(dim, int(dim * mlp_ratio)), drop_path_rate)
        self.out_dim = dim + growth_rate
        self.dense_linear = nn.Linear(dim, growth_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D + G) of `x` (B, N, D)."""
        return torch.cat([x, self.dense_linear(super().forward(x))], dim=-1)


class Transition(nn.Module):
    """Halves the width between two groups of dense layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_dim = dim // 2
        self.linear = nn.Linear(dim, self.out_dim)
        self.act = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D // 2) of `x` (B, N, D)."""
        return self.act(self.linear(x))  # type: ignore[no-any-return]
