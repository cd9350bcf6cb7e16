"""How a run gets on between two reports."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence


class Meter:
    """Loss and speed since the last report; speed since the beginning for the time left.

    Args:
        step: At which the run begins or goes on.
        losses: Of the steps before it that were not reported.
    """

    def __init__(self, step: int, losses: Sequence[float] = ()) -> None:
        self._first_step = step
        self._begin = self._last = time.monotonic()
        self.losses = list(losses)  # since the last report
        self._images = 0

    def add(self, loss: float) -> None:
        """Count the loss of a step that was taken."""
        self.losses.append(loss)

    def count(self, num_images: int) -> None:
        """Count the images of a step."""
        self._images += num_images

    def skip(self) -> None:
        """Leave the time since the last call out of the speed."""
        self._last = time.monotonic()

    def take(self, step: int) -> tuple[float | None, float, float]:
        """Return mean loss (None: no step was taken) and images a second since then, and seconds a step in all."""
        loss = math.fsum(self.losses) / len(self.losses) if self.losses else None
        now = time.monotonic()
        speed = self._images / max(now - self._last, 1e-9)
        per_step = (now - self._begin) / (step - self._first_step)
        self.losses, self._images, self._last = [], 0, now
        return loss, speed, per_step
