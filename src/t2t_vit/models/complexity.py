"""How large a model is and how much it computes, counted and not estimated.

Two counts of multiply-accumulate operations (MACs) are in use for transformers; both are given:

- without the two attention products (q·k and weights·v), as OpenMMLab's pages count;
- with them, as the paper counts.

Layer normalization is counted with five operations an element, half of them MACs, which gives the published figures to
the last digit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t2t_vit.models.t2t_vit import T2TViT

_OPERATIONS_PER_NORMALIZED_ELEMENT = 5


@dataclass(frozen=True)
class Complexity:
    """Size and work of a model.

    Attributes:
        num_parameters: Values of the parameters, frozen ones too; buffers (the position table) are not among them.
        num_buffer_values: Values of the buffers.
        macs: MACs for one image, without the attention products.
        attention_macs: MACs of the attention products for one image.
    """

    num_parameters: int
    num_buffer_values: int
    macs: int
    attention_macs: int


def measure_complexity(model: T2TViT, img_size: tuple[int, int] | None = None) -> Complexity:
    """Count parameters and MACs of `model` for one image of `img_size` (height, width; its own when None).

    Nothing is computed: the count runs on PyTorch's meta device, on a copy of the model.

    Raises:
        ConfigError: The image is too small: no token would be left.
    """
    return count_complexity(model, (model.in_chans, *(img_size or model.img_size)))


def count_complexity(model: nn.Module, shape: tuple[int, int, int]) -> Complexity:
    """Count parameters and MACs of any network for one image of `shape` (channels, height, width)."""
    twin = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.native_layer_norm: _layer_norm_operations})
    with torch.no_grad(), counter:
        twin(torch.empty(1, *shape, device="meta", dtype=next(twin.parameters()).dtype))
    attention = sum(
        operations
        for operator, operations in counter.get_flop_counts()["Global"].items()
        if "bmm" in str(operator) or "scaled_dot_product" in str(operator)
    )
    return Complexity(
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_buffer_values=sum(b.numel() for b in model.buffers()),
        macs=(counter.get_total_flops() - attention) // 2,
        attention_macs=attention // 2,
    )


def _layer_norm_operations(shape: Any, *_: Any, **__: Any) -> int:
    return _OPERATIONS_PER_NORMALIZED_ELEMENT * int(torch.Size(shape).numel())
