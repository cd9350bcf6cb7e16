"""Attention with squeeze-and-excitation: the paper's T2T-ViT-SE.

B batch, N tokens, D width.

Source: paper section 3.2 and appendix; Hu et al., Squeeze-and-Excitation Networks, 2018; official code,
``models/t2t_vit_se.py``.
"""

from __future__ import annotations

import torch
from torch import nn

from t2t_vit.models.encoder import Attention

#: By how much the mean is squeezed.
REDUCTION = 16


class SqueezeExcitation(nn.Module):
    """Scale each channel by what the mean over all tokens says of it."""

    def __init__(self, dim: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(dim, dim // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(dim // reduction, dim, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        return x * self.fc(x.mean(dim=1, keepdim=True))  # type: ignore[no-any-return]


class ExcitedAttention(Attention):
    """Self-attention whose output goes through squeeze-and-excitation."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads)
        self.se_layer = SqueezeExcitation(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, N, D) of `x` (B, N, D)."""
        return self.se_layer(super().forward(x))  # type: ignore[no-any-return]
