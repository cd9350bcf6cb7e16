"""The tokens-to-token module: pixels become tokens by recursive aggregation of neighbours.

B batch, C channels, (H, W) image size in pixels, (h_i, w_i) token grid after split i, P width of a soft-split token,
D embed_dim.

Source: paper section 3.1 and figure 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from t2t_vit.models.soft_split import SoftSplit, SoftSplitProjection, SplitSize, token_grids


class TokensToToken(nn.Module):
    """Soft split and token layer, as often as there are splits but one; then the last split and a projection.

    Args:
        in_chans: Image channels.
        embed_dim: Width of the tokens that come out.
        token_dim: Width of the tokens between two splits.
        soft_splits: Geometry of each split.
        layer: Makes what stands between two splits, of the widths (P, token_dim).
    """

    def __init__(
        self,
        in_chans: int,
        embed_dim: int,
        token_dim: int,
        soft_splits: Sequence[SplitSize],
        layer: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        *splits, last = soft_splits
        width = in_chans
        for i, size in enumerate(splits):
            self.add_module(f"soft_split{i}", SoftSplit(size))
            self.add_module(f"attention{i + 1}", layer(width * size.kernel**2, token_dim))
            width = token_dim
        self.project = SoftSplitProjection(width, embed_dim, last)
        self.soft_splits = tuple(soft_splits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of images `x` (B, C, H, W)."""
        grids = token_grids(self.soft_splits, x.shape[-2], x.shape[-1])
        for i, grid in enumerate(grids[:-1]):
            x = self.get_submodule(f"soft_split{i}")(x)  # (B, N_i, P)
            x = self.get_submodule(f"attention{i + 1}")(x)  # (B, N_i, token_dim)
            x = x.transpose(1, 2).unflatten(2, grid)  # (B, token_dim, h_i, w_i)
        return self.project(x)  # type: ignore[no-any-return]
