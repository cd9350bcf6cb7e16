"""The position table: sinusoids, computed and never trained.

N tokens (the class token first), D width, (h, w) token grid.

Source: Vaswani et al. 2017, section 3.5; official code, ``models/transformer_block.py``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def sinusoid_table(num_positions: int, dim: int) -> torch.Tensor:
    """Return the table (1, N, D), float32: sines in the even columns, cosines in the odd ones.

    It is computed in float64 like the reference: in float32 the angles of late positions are off by 1e-5.
    """
    # NumPy, as on the meta device torch would import its compiler for this, which takes a second.
    position = np.arange(num_positions, dtype=np.float64)[:, None]
    column = np.arange(dim)
    angle = position / np.power(10000.0, 2 * (column // 2) / dim)  # (N, D)
    table = np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
    # NumPy would give the new axis a stride of 0, over which DistributedDataParallel stumbles.
    return torch.from_numpy(table.astype(np.float32)).unsqueeze(0)


def resize_position_table(table: torch.Tensor, source: tuple[int, int], target: tuple[int, int]) -> torch.Tensor:
    """Return `table` (1, 1 + h * w, D) of the grid `source`, interpolated to the grid `target`.

    The class token's row is kept. Bicubic without antialiasing, as MMPretrain does it.

    Raises:
        ValueError: The table has not one row for each token of `source` and one for the class token.
    """
    if table.shape[1] != 1 + source[0] * source[1]:
        raise ValueError(f"a position table of {table.shape[1]} rows does not belong to a grid of {source}")
    if source == target:
        return table
    cls_row, grid = table[:, :1], table[:, 1:]
    grid = grid.transpose(1, 2).reshape(1, -1, *source)  # (1, D, h, w)
    grid = F.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    return torch.cat([cls_row, grid.flatten(2).transpose(1, 2)], dim=1)
