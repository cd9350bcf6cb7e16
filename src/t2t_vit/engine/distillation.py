"""Distillation: what a teacher sees in the images becomes part of the loss.

B images a process and step, K classes.

Source: Touvron et al., Training data-efficient image transformers, arXiv 2012.12877, section 4 (hard, and soft after
Hinton et al., arXiv 1503.02531), on the class token's logits alone: T2T-ViT has no distillation token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Distillation:
    """A teacher and how much it counts. It has no state: a run goes on with the same teacher.

    Attributes:
        teacher: Images (B, C, H, W) to logits (B, K), in eval mode, on the run's device. No gradient reaches it.
        kind: `soft`: the teacher's probabilities are the target. `hard`: its best class is.
        alpha: Part of the loss that is the teacher's, 0 to 1; the rest is the labels'.
        temperature: By which the logits of both are divided where the target is soft.
    """

    teacher: nn.Module
    kind: Literal["soft", "hard"]
    alpha: float
    temperature: float

    def loss(self, of_labels: torch.Tensor, logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Return the loss with the teacher's part.

        Args:
            of_labels: The loss without it.
            logits: The student's (B, K), float32.
            teacher_logits: The teacher's (B, K), float32, for the same images.
        """
        return (1 - self.alpha) * of_labels + self.alpha * self._of_teacher(logits, teacher_logits)

    @torch.no_grad()
    def ask(self, images: torch.Tensor, autocast: torch.dtype | None) -> torch.Tensor:
        """Return the teacher's logits (B, K), float32, of `images`, computed in the type `autocast`."""
        with torch.autocast(images.device.type, dtype=autocast, enabled=autocast is not None):
            logits: torch.Tensor = self.teacher(images)
        return logits.float()

    def _of_teacher(self, logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        if self.kind == "hard":
            return F.cross_entropy(logits, teacher_logits.argmax(dim=1))
        student, teacher = (F.log_softmax(z / self.temperature, dim=1) for z in (logits, teacher_logits))
        # The gradient of the divergence shrinks with the square of the temperature; so it stays as strong.
        return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * self.temperature**2
