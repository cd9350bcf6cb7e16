"""A part of a set of images: the folds of a cross-validation, or a fraction held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2t_vit.data.decode import Mode
from t2t_vit.data.sets.image_set import ImageSet
from t2t_vit.errors import DatasetError

#: The parts are the same in every run, whatever its own seed: models of other seeds can be compared.
_SEED = 0


class Part(ImageSet):
    """Some of the pictures of a set, with all its classes.

    Args:
        whole: The set.
        indices: Numbers of the pictures in it.
    """

    def __init__(self, whole: ImageSet, indices: Sequence[int]) -> None:
        self.whole = whole
        self.indices = indices
        self.classes = whole.classes
        self.labels = [whole.labels[index] for index in indices]

    def load(self, index: int, mode: Mode) -> Image.Image:
        """Return picture `index` in `mode`."""
        return self.whole.load(self.indices[index], mode)

    def name(self, index: int) -> str:
        """Return what picture `index` is called in the whole set."""
        return self.whole.name(self.indices[index])

    def key(self, index: int) -> str:
        """Return what tells picture `index` from the others of the whole set."""
        return self.whole.key(self.indices[index])


def fold_of(whole: ImageSet, num_folds: int, fold: int, split: str) -> Part:
    """Return one fold of `whole` (the `val` split), or all the others (`train`).

    Raises:
        DatasetError: There are fewer pictures than folds.
    """
    if len(whole) < num_folds:
        raise DatasetError(f"{len(whole)} training images cannot be split into {num_folds} folds; use fewer folds")
    held_out = _folds(whole.labels, num_folds) == fold
    return Part(whole, np.flatnonzero(held_out if split == "val" else ~held_out).tolist())


def fraction_of(whole: ImageSet, val_fraction: float, split: str) -> Part:
    """Return `val_fraction` of the pictures of each class of `whole` (the `val` split), or the others (`train`).

    Every class of two pictures or more has at least one in either; a single one is trained on.

    Raises:
        DatasetError: No class has two pictures.
    """
    labels = np.asarray(whole.labels)
    shuffled = np.random.default_rng(_SEED).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    held_out = np.zeros(len(labels), dtype=bool)
    _, counts = np.unique(labels, return_counts=True)
    for indices in np.split(by_class, np.cumsum(counts)[:-1]):
        count = min(max(round(val_fraction * len(indices)), 1), len(indices) - 1)
        held_out[indices[:count]] = True
    if not held_out.any():
        raise DatasetError(
            f"{len(whole)} training images of {len(counts)} classes cannot be split for validation: no class has two; "
            "add images, or set runtime.validate=False"
        )
    return Part(whole, np.flatnonzero(held_out if split == "val" else ~held_out).tolist())


def _folds(labels: Sequence[int], num_folds: int) -> NDArray[np.int64]:
    """Return the fold of each picture: the classes one after the other are dealt out like shuffled cards."""
    shuffled = np.random.default_rng((_SEED, num_folds)).permutation(len(labels))
    by_class = shuffled[np.argsort(np.asarray(labels)[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[by_class] = np.arange(len(labels)) % num_folds
    return folds
