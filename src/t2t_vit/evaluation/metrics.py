"""Figures of merit, summed over batches and processes.

B batch, K classes.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torchmetrics import Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix


class Metrics:
    """Accuracy, precision, recall, F1 and loss of single-label classification, with MMPretrain's names.

    Args:
        num_classes: K.
        device: Where logits will be.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        # With K = 1 there is nothing to confuse, and torchmetrics wants two classes at least.
        classes = max(num_classes, 2)
        self._confusion = MulticlassConfusionMatrix(classes, validate_args=False).to(device)
        self._top5 = MulticlassAccuracy(classes, top_k=min(5, num_classes), average="micro").to(device)
        # A sum over a million images is no place for single precision, but Apple's GPUs have no other.
        self._precision = torch.float32 if device.type == "mps" else torch.float64
        self._loss = SumMetric(nan_strategy="disable").set_dtype(self._precision).to(device)
        self._num_classes = num_classes

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count a batch: `logits` (B, K), `labels` (B,)."""
        logits = logits.float()
        self._loss.update(F.cross_entropy(logits.to(self._precision), labels, reduction="sum"))
        if self._num_classes == 1:
            logits = F.pad(logits, (0, 1), value=-torch.inf)
        self._confusion.update(logits, labels)
        self._top5.update(logits, labels)

    def compute(self) -> dict[str, float]:
        """Return the figures over all that was counted, by every process; all but the loss in percent.

        `accuracy/top5` is of the best five classes, or of all where there are fewer. Precision, recall and F1 are
        averaged over the classes that have images.
        """
        matrix = self.confusion_matrix().double()
        hits, true, predicted = matrix.diag(), matrix.sum(1), matrix.sum(0)
        present = true > 0
        precision = hits / predicted.clamp(min=1)
        recall = hits / true.clamp(min=1)
        f1 = 2 * hits / (true + predicted).clamp(min=1)
        return {
            "accuracy/top1": 100 * float(hits.sum() / true.sum().clamp(min=1)),
            "accuracy/top5": 100 * float(_computed(self._top5)),
            "single-label/precision": 100 * float(precision[present].mean()),
            "single-label/recall": 100 * float(recall[present].mean()),
            "single-label/f1-score": 100 * float(f1[present].mean()),
            "loss": float(_computed(self._loss) / true.sum().clamp(min=1)),
        }

    def confusion_matrix(self) -> torch.Tensor:
        """Return the counts (K, K), int64 on the CPU: rows are true, columns predicted classes."""
        matrix = _computed(self._confusion)
        return matrix[: self._num_classes, : self._num_classes].cpu()


def _computed(metric: Metric) -> torch.Tensor:
    """Return what `metric` has counted; nothing is fine, too, as a process may have no image that can be read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method")
        value: torch.Tensor = metric.compute()
    return value
