"""Token performer: the token transformer with attention of linear cost.

B batch, N tokens, P width of a soft-split token (147 or 576), D token_dim (64), M random features (D / 2).

Source: Choromanski et al., Rethinking Attention with Performers, 2021, positive random features; official code,
``models/token_performer.py``.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from t2t_vit.errors import ConfigError

_EPSILON = 1e-8  # of the denominator, as in the official code; float16 would make it 0


class TokenPerformer(nn.Module):
    """Linear attention, then an MLP of ratio 1; tokens go in with width P and come out with width D.

    Its parameter names are the official code's: `kqv` in this order, `mlp.0` and `mlp.2`, and the random features `w`,
    which are part of the weights.

    Raises:
        ConfigError: The width is 1, of which there would be no random feature.
    """

    def __init__(self, in_dim: int, dim: int, drop_rate: float = 0.1) -> None:
        super().__init__()
        if dim < 2:
            raise ConfigError(
                f"token_dim is {dim}; a performer has half as many random features, so expected 2 or more"
            )
        self.norm1 = nn.LayerNorm(in_dim)
        self.kqv = nn.Linear(in_dim, 3 * dim)
        self.w: torch.Tensor
        self.register_buffer("w", torch.empty(dim // 2, dim))
        self.proj = nn.Linear(dim, dim)
        self.dp = nn.Dropout(drop_rate)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.Dropout(drop_rate))

    def draw_features(self) -> None:
        """Draw new random features: orthogonal rows of length sqrt(M)."""
        w = torch.empty_like(self.w, dtype=torch.float32)  # the decomposition knows no half precision
        self.w.copy_(nn.init.orthogonal_(w, gain=math.sqrt(w.shape[0])))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, P)."""
        k, q, v = self.kqv(self.norm1(x)).chunk(3, dim=-1)  # k first: the official order; each (B, N, D)
        x = v + self.dp(self.proj(self._attend(k, q, v)))  # the residual is the value, as in the token transformer
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention weights (B, 1, N, N) over normalized tokens `x` (B, N, P); rows sum to just below 1."""
        k, q, _ = self.kqv(x).chunk(3, dim=-1)
        with _without_autocast(x.device):
            weights = self._features(q) @ self._features(k).transpose(-2, -1)
            return (weights / (weights.sum(dim=-1, keepdim=True) + _EPSILON)).unsqueeze(1)

    def _attend(self, k: torch.Tensor, q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        # At least float32, whatever surrounds it: in half precision the exponentials overflow and epsilon is 0, which
        # gives NaN.
        with _without_autocast(v.device):
            k_features, q_features = self._features(k), self._features(q)  # each (B, N, M)
            values = k_features.transpose(-2, -1) @ _precise(v)  # (B, M, D)
            total = q_features @ k_features.sum(dim=1).unsqueeze(-1)  # (B, N, 1)
            return (q_features @ values / (total + _EPSILON)).to(v.dtype)  # (B, N, D)

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the positive random features (B, N, M) of `x` (B, N, D), whose products estimate exp(x·y)."""
        x = _precise(x)
        exponent = x @ self.w.to(x.dtype).T - x.square().sum(dim=-1, keepdim=True) / 2
        return exponent.exp() / math.sqrt(self.w.shape[0])


def _precise(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _without_autocast(device: torch.device) -> AbstractContextManager[None]:
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()  # the meta device knows no autocast
