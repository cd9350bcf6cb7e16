"""A model over a labelled data set.

B batch, K classes, N images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from t2t_vit.evaluation.metrics import Metrics

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class EvaluationStopped(Exception):  # noqa: N818 - a request, not an error
    """Somebody asked to stop before all images were seen."""


@dataclass
class Evaluation:
    """What came of it.

    Attributes:
        metrics: Figure by name; percent but for the loss.
        confusion: Counts (K, K), rows true, columns predicted.
        indices: Position in the data set of each image that this process saw, (N,).
        labels: True classes, (N,).
        predictions: Best classes, (N,).
        top_scores: Softmax scores of the best classes, (N,).
        scores: All softmax scores, (N, K), if they were asked for.
    """

    metrics: dict[str, float]
    confusion: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    predictions: np.ndarray[Any, Any]
    top_scores: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any] | None = None


@dataclass
class _Collected:
    """Columns that grow batch by batch."""

    columns: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def add(self, **values: torch.Tensor) -> None:
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value.cpu())

    def get(self, name: str, empty: torch.Tensor) -> np.ndarray[Any, Any]:
        """Return column `name`, or `empty` where there was no batch."""
        array: np.ndarray[Any, Any] = torch.cat(self.columns.get(name, [empty])).numpy()
        return array


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    num_classes: int,
    device: torch.device,
    *,
    autocast: torch.dtype | None = None,
    flip: bool = False,
    keep_scores: bool = False,
    on_batch: Callable[[int], bool] | None = None,
) -> Evaluation:
    """Return how `model` does on `batches` of (images (B, C, H, W), labels (B,), indices (B,)).

    Args:
        model: Images to logits (B, K); put into eval mode and back.
        batches: This process's share.
        num_classes: K.
        device: Where `model` is.
        autocast: Type to compute in where it is safe; None: that of the weights.
        flip: Average the scores of each image and its mirror image (MMPretrain's test-time augmentation).
        keep_scores: Keep the scores of all classes.
        on_batch: Called with the size of each batch done; returns whether to stop.

    Raises:
        EvaluationStopped: `on_batch` asked for it.
    """
    was_training = model.training
    model.eval()
    metrics = Metrics(num_classes, device)
    collected = _Collected()
    try:
        for images, labels, indices in batches:
            if not len(labels):  # none of its images could be read
                if on_batch is not None and on_batch(0):
                    raise EvaluationStopped
                continue
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)  # noqa: PLW2901
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                logits = _logits(model, images, flip)
            scores = logits.softmax(dim=1)
            top_scores, predictions = scores.max(dim=1)
            metrics.update(logits, labels)
            collected.add(indices=indices, labels=labels, predictions=predictions, top_scores=top_scores)
            if keep_scores:
                collected.add(scores=scores)
            if on_batch is not None and on_batch(len(labels)):
                raise EvaluationStopped
    finally:
        model.train(was_training)
    none = torch.empty(0, dtype=torch.int64)
    return Evaluation(
        metrics=metrics.compute(),
        confusion=metrics.confusion_matrix().numpy(),
        **{name: collected.get(name, none) for name in ("indices", "labels", "predictions")},
        top_scores=collected.get("top_scores", torch.empty(0)),
        scores=collected.get("scores", torch.empty(0, num_classes)) if keep_scores else None,
    )


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluations of several processes as one, its images in the order of the data set."""
    if len(parts) == 1:
        return parts[0]
    names = [
        "indices",
        "labels",
        "predictions",
        "top_scores",
        *(["scores"] if parts[0].scores is not None else []),
    ]
    order = np.argsort(np.concatenate([part.indices for part in parts]))
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names}
    return dataclasses.replace(parts[0], **columns)


def _logits(model: nn.Module, images: torch.Tensor, flip: bool) -> torch.Tensor:
    logits: torch.Tensor = model(images).float()
    if not flip:
        return logits
    mirrored = model(images.flip(-1)).float()
    # The log of averaged scores: softmax gives just these scores back.
    scores: torch.Tensor = (logits.softmax(dim=1) + mirrored.softmax(dim=1)) / 2
    return scores.clamp(min=torch.finfo(torch.float32).tiny).log()
