"""The learning rate as a pure function of the step, so that there is no state to resume.

Source: the schedulers that MMEngine builds from MMPretrain's `configs/_base_/schedules/imagenet_bs1024_adamw_swin.py`
and the T2T-ViT configs over it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosineCooldown:
    """Linear warm-up by step, cosine by epoch, then a flat cool-down.

    Attributes:
        lr: Rate after warm-up.
        min_lr: Where the cosine ends.
        epochs: Of the whole run.
        warmup_epochs: Of the rise.
        warmup_factor: What part of `lr` the rise begins with.
        cooldown_epochs: After the cosine.
        cooldown_factor: Rate of the cool-down over the last of the cosine.
        steps_per_epoch: Steps of one epoch.
    """

    lr: float
    min_lr: float
    epochs: int
    warmup_epochs: int
    warmup_factor: float
    cooldown_epochs: int
    cooldown_factor: float
    steps_per_epoch: int

    def __call__(self, step: int) -> float:
        """Return the rate of step `step`, counted from 0 over the whole run."""
        epoch = step // self.steps_per_epoch
        if epoch < self.warmup_epochs:
            last = max(self.warmup_epochs * self.steps_per_epoch - 1, 1)
            return self.lr * (self.warmup_factor + (1 - self.warmup_factor) * step / last)
        cosine_epochs = max(self.epochs - self.cooldown_epochs - self.warmup_epochs, 1)
        position = min(epoch - self.warmup_epochs, cosine_epochs - 1) / cosine_epochs
        # A rate that is scaled below `min_lr` stays where it is instead of rising.
        min_lr = min(self.min_lr, self.lr)
        lr = min_lr + (self.lr - min_lr) * (1 + math.cos(math.pi * position)) / 2
        cooling = epoch >= self.warmup_epochs + cosine_epochs
        # MMEngine's constant scheduler ends one epoch early, and MMPretrain 1.x's recipe with it.
        is_last = epoch == self.epochs - 1
        return lr * self.cooldown_factor if cooling and not is_last else lr
