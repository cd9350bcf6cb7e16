"""Attention and MLP with half or two thirds of their channels made cheaply from the others: T2T-ViT-Ghost.

B batch, N tokens, D width, M heads, E = D / M head width.

Source: paper section 3.2 and appendix; Han et al., GhostNet, 2020; official code, ``models/t2t_vit_ghost.py``.
"""

from __future__ import annotations

import torch
from torch import nn

from t2t_vit.models.encoder import SelfAttention


class ChannelScale(nn.Conv1d):
    """One factor a channel, the cheapest of operations. The parameter has the official shape (D, 1, 1)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, kernel_size=1, groups=dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        return x * self.weight.flatten()


class GhostAttention(SelfAttention):
    """Self-attention that computes half of query, key and value and scales the other half out of it."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        half = dim // 2
        for name in ("q", "k", "v"):
            self.add_module(name, nn.Linear(dim, half, bias=False))
            self.add_module(f"cheap_operation_{name}", ChannelScale(half))

    def query_key_value(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return query, key and value, each (B, M, N, E), of `x` (B, N, D)."""
        q, k, v = (self._one(name, x) for name in ("q", "k", "v"))
        return q, k, v

    def _one(self, name: str, x: torch.Tensor) -> torch.Tensor:
        half = self.get_submodule(name)(x)  # (B, N, D/2)
        whole = torch.cat([half, self.get_submodule(f"cheap_operation_{name}")(half)], dim=-1)  # (B, N, D)
        return whole.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)  # (B, M, N, E)


class GhostMlp(nn.Module):
    """An MLP of ratio 3 that computes a third of its hidden channels and scales the others out of it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        self.act = nn.GELU()
        self.cheap_operation2 = ChannelScale(dim)
        self.cheap_operation3 = ChannelScale(dim)
        self.fc2 = nn.Linear(3 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        x = self.act(self.fc1(x))
        cheap = [self.act(operation(x)) for operation in (self.cheap_operation2, self.cheap_operation3)]
        return self.fc2(torch.cat([x, *cheap], dim=-1))  # type: ignore[no-any-return]
