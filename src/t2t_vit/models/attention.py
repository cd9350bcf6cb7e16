"""Scaled dot-product attention, by what computes it fastest where it runs.

B batch, M heads, N tokens, E head width.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F

#: Up to so many tokens the N² weights of an image are small.
_FEW_TOKENS: Final = 256


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """Return softmax(scale · q kᵀ) v, (B, M, N, E), of query, key and value (B, M, N, E).

    PyTorch's fused kernel never has the N² weights in memory. But on a CPU its backward pass in bfloat16 is five times
    slower than in float32, where the plain products are faster than either (benchmarks/attention.py): those train
    models for small images.
    """
    is_slow = q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad
    if is_slow and q.shape[-2] <= _FEW_TOKENS:
        return ((q * scale) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, scale=scale)
