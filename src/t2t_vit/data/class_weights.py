"""How much each class counts where rare ones are to count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def class_weights(labels: Sequence[int], num_classes: int) -> list[float]:
    """Return the inverse of each class's frequency, such that the mean over all images is 1; 0 for a class without any.

    Args:
        labels: Of each image, 0 to `num_classes` - 1.
        num_classes: K.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=num_classes)
    present = counts > 0
    weights = np.zeros(num_classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return [float(weight) for weight in weights]
