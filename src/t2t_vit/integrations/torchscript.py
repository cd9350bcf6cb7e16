"""What `torch.jit.script` compiles in the place of modules and functions that it cannot read: traces, and plainer code.

A trace here is good for images and batches of every size: whatever depends on them is recorded, not its value.
It is of evaluation mode, and models in training mode are refused.

B batch, C channels, (H, W) image size in pixels, (h, w) token grid, N = h * w tokens, D width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, get_type_hints

import torch
import torch.nn.functional as F
from torch import nn
from torch.jit._trace import TracerWarning

from t2t_vit.errors import ConfigError
from t2t_vit.models.encoder import SelfAttention
from t2t_vit.models.position import resize_position_table
from t2t_vit.models.soft_split import SplitSize
from t2t_vit.models.t2t_vit import T2TViT, image_grid
from t2t_vit.models.token_convolution import ConvolutionalTokens
from t2t_vit.models.tokens_to_token import TokensToToken


class Traced(nn.Module):
    """A trace as an ordinary module, which `torch.jit.script` demands.

    Args:
        module: What is traced, in eval mode.
        shape: Of an input of it.

    Raises:
        ConfigError: `module` is in training mode: a trace cannot switch dropout on and off.
    """

    def __init__(self, module: nn.Module, *shape: int) -> None:
        super().__init__()
        if module.training:
            raise ConfigError("torch.jit.script takes this model in eval mode; call model.eval() first")
        like = next(module.parameters())
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)  # of the checks of sizes, which a trace may leave out
            warnings.simplefilter("ignore", FutureWarning)
            example = torch.zeros(shape, device=like.device, dtype=like.dtype)
            self.module = torch.jit.trace(module, example, check_trace=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the traced module makes of `x`."""
        return self.module(x)  # type: ignore[no-any-return]


def make_scriptable() -> None:
    """Tell `torch.jit.script` what to compile instead of the parts of a network that a graph of `torch.fx` calls.

    Source: PyTorch, torch/jit/_script.py and torch/jit/_recursive.py, `__prepare_scriptable__`.
    """
    substitutes: dict[Any, Callable[..., Any]] = {
        TokensToToken: _traced_tokens,
        ConvolutionalTokens: _traced_tokens,
        SelfAttention: lambda attention: Traced(attention, 1, 2, attention.proj.in_features),
        image_grid: lambda: _image_grid,
        resize_position_table: lambda: _resize_position_table,
    }
    for whom, substitute in substitutes.items():
        whom.__prepare_scriptable__ = substitute
    # Both torch.fx and torch.jit take these annotations as they stand, and would find texts.
    for annotated in (T2TViT.forward, SplitSize):
        annotated.__annotations__.update(get_type_hints(annotated))


def _traced_tokens(tokens: TokensToToken | ConvolutionalTokens) -> Traced:
    first = next(tokens.parameters()).shape  # of a convolution, or of what sees whole windows
    channels = first[1] if len(first) == 4 else first[-1] // tokens.soft_splits[0].kernel ** 2
    side = 4 * math.prod(size.stride for size in tokens.soft_splits)
    return Traced(tokens, 1, channels, side, side)


def _image_grid(x: torch.Tensor, in_chans: int, soft_splits: list[SplitSize]) -> tuple[int, int]:
    """Return what `image_grid` does; what is wrong with a shape, the next layer says."""
    height, width = x.shape[-2], x.shape[-1]
    for kernel, stride, padding in soft_splits:
        height = (height + 2 * padding - kernel) // stride + 1
        width = (width + 2 * padding - kernel) // stride + 1
    return height, width


def _resize_position_table(table: torch.Tensor, source: tuple[int, int], target: tuple[int, int]) -> torch.Tensor:
    """Return what `resize_position_table` does."""
    if source[0] == target[0] and source[1] == target[1]:
        return table
    grid = table[:, 1:].transpose(1, 2).reshape(1, -1, source[0], source[1])  # (1, D, h, w)
    grid = F.interpolate(grid, size=[target[0], target[1]], mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
