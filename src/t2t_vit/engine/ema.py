"""The exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def build_ema(model: nn.Module, decay: float, warmup: bool) -> AveragedModel:
    """Return an average of `model`, what its batch norms know of the images included, to be updated after each step.

    Args:
        model: What to average; it is copied.
        decay: What part of the average stays at a step.
        warmup: Begin with less, (1 + n) / (10 + n) after n steps. Without it a short run evaluates little else than
            its first, random weights: an accuracy of about zero.
    """

    def average(means: Any, values: Any, num_averaged: Any) -> None:
        if not means[0].is_floating_point():  # a count of batches
            torch._foreach_copy_(means, values)
            return
        n = int(num_averaged)
        now = min(decay, (1 + n) / (10 + n)) if warmup else decay
        torch._foreach_lerp_(means, values, 1 - now)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
