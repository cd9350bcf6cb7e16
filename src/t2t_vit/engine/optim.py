"""AdamW with the recipe's weight decay."""

from __future__ import annotations

import torch
from torch import nn


def build_optimizer(
    model: nn.Module, lr: float, weight_decay: float, betas: tuple[float, float], eps: float
) -> torch.optim.AdamW:
    """Return AdamW over `model`; vectors (norms, biases) and what `model.no_weight_decay()` names do not decay."""
    names = getattr(model, "no_weight_decay", set)
    exempt: set[str] = names()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decays = {name: p.ndim > 1 and name not in exempt for name, p in trainable.items()}
    groups = [
        {"params": [p for name, p in trainable.items() if decays[name]], "weight_decay": weight_decay},
        {"params": [p for name, p in trainable.items() if not decays[name]], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, eps=eps)
