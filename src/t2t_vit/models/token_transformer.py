"""Token transformer: the small transformer layer between two soft splits.

B batch, N tokens, P width of a soft-split token (147 or 576), D token_dim (64).

Source: paper section 3.1; official code, ``models/token_transformer.py``.
"""

from __future__ import annotations

import torch
from torch import nn

from t2t_vit.models.attention import attention
from t2t_vit.models.encoder import Mlp


class TokenAttention(nn.Module):
    """Single-head attention that narrows tokens from P to D; its residual is the value, not the input."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        # Of the width before the projection (147, 576), not of the 64 that q and k have (docs/numerics.md).
        self.scale = in_dim**-0.5
        self.qkv = nn.Linear(in_dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, P)."""
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)  # each (B, 1, N, D)
        x = attention(q, k, v, self.scale)
        return v.squeeze(1) + self.proj(x.squeeze(1))  # type: ignore[no-any-return]

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention weights (B, 1, N, N) over `x` (B, N, P); each row sums to 1."""
        q, k, _ = self.qkv(x).unsqueeze(1).chunk(3, dim=-1)
        return (self.scale * q @ k.transpose(-2, -1)).softmax(dim=-1)  # type: ignore[no-any-return]


class TokenTransformer(nn.Module):
    """Attention, then an MLP of ratio 1; tokens go in with width P and come out with width D."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(in_dim)
        self.attn = TokenAttention(in_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, P)."""
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]
