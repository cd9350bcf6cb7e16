"""The deep-narrow transformer encoder.

B batch, N tokens, D width, M heads, E = D / M head width.

Source: paper section 3.2; blocks as in DeiT and timm (pre-norm, MLP ratio 3).
"""

from __future__ import annotations

import torch
from torch import nn

from t2t_vit.errors import ConfigError
from t2t_vit.models.attention import attention


class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training ("stochastic depth").

    Source: Huang et al., Deep Networks with Stochastic Depth, 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` (B, ...) with each sample zeroed with probability `rate`, the others scaled up."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        """Return what is shown in the brackets of the module's line."""
        return f"rate={self.rate:.3f}"


class SelfAttention(nn.Module):
    """Multi-head self-attention, fused: the N² weights exist only where `weights` is called.

    Where query, key and value come from is said by `query_key_value` of those that derive from it.

    Raises:
        ConfigError: The width is not a multiple of the heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f"an attention of width {dim} cannot be divided among {num_heads} heads")
        self.num_heads = num_heads
        # MMPretrain 1.x divides by this instead (docs/numerics.md).
        self.scale = (dim // num_heads) ** -0.5
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        q, k, v = self.query_key_value(x)
        x = attention(q, k, v, self.scale)  # (B, M, N, E)
        return self.proj(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention weights (B, M, N, N) over `x` (B, N, D); each row sums to 1."""
        q, k, _ = self.query_key_value(x)
        weights: torch.Tensor = (self.scale * q @ k.transpose(-2, -1)).softmax(dim=-1)
        return weights

    def query_key_value(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return query, key and value, each (B, M, N, E), of `x` (B, N, D)."""
        raise NotImplementedError


class Attention(SelfAttention):
    """Self-attention with one projection for query, key and value."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)

    def query_key_value(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return query, key and value, each (B, M, N, E), of `x` (B, N, D)."""
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # (B, N, 3, M, E)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, M, N, E)
        return q, k, v


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        return self.fc2(self.act(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One pre-norm encoder layer: an attention and an MLP, each with a residual."""

    def __init__(self, dim: int, attn: nn.Module, mlp: nn.Module, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.out_dim = dim
        self.norm1 = nn.LayerNorm(dim)  # epsilon 1e-5 (torch's default), not the 1e-6 of most ViTs
        self.attn = attn
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]
