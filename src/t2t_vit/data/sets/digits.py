"""Real images without a download: scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np
from PIL import Image

from t2t_vit.data.decode import Mode, from_pil
from t2t_vit.data.sets.image_set import ImageSet


class Digits(ImageSet):
    """scikit-learn's handwritten digits: 1,797 grey pictures of 8×8 pixels, every fifth of them held out.

    Args:
        split: `train` (1,438 pictures) or `val` (the 359 held out).

    Source: UCI, Optical Recognition of Handwritten Digits.
    """

    def __init__(self, split: str) -> None:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        held_out = np.arange(len(labels)) % 5 == 4
        self._positions = np.flatnonzero(held_out if split == "val" else ~held_out)
        grey = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # the file has 0 to 16
        self._pictures = grey[self._positions]
        self.labels = [int(label) for label in labels[self._positions]]
        self.classes = tuple(str(digit) for digit in range(10))

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        return from_pil(Image.fromarray(self._pictures[index]), mode)

    def name(self, index: int) -> str:
        """Return "digit NUMBER", the number in scikit-learn's order."""
        return f"digit {self._positions[index]}"
